"""Predictions that calibration is fitted on: what the edge scored, what was true, what the cloud said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError, at
from fedaffect.edge.subsets import subset_key

FORMAT: Final = """\
A predictions file is .npz (no pickles) or .jsonl, one object a line. N samples, C classes in the bundle's order:

\b
  logits        (N, C)  scores of the edge before softmax and temperature
  labels        (N,)    what was true: class numbers from 0, or names; in jsonl `label` too
  modalities    (N,)    what the answer rests on: "audio", "text+audio", in jsonl a list too
  cloud_logits  (N, C)  the cloud's scores, or logarithms of its probabilities; may be left out
"""


@dataclass(frozen=True, slots=True)
class Predictions:
    """N answers of a device and, where the cloud was asked too, the cloud's.

    Parameters
    ----------
    logits : float64 array, shape (N, C)
        The edge's scores, no temperature applied.
    labels : int64 array, shape (N,)
        True classes.
    subsets : tuple of str, length N
        Modality subsets, as `subset_key` writes them.
    cloud_logits : float64 array, shape (N, C), optional
        The cloud's scores.
    """

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    subsets: tuple[str, ...]
    cloud_logits: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n, shape = len(self.labels), self.logits.shape
        if len(shape) != 2 or shape[0] != n or len(self.subsets) != n or self.labels.ndim != 1:
            raise DataError(
                f"logits {shape}, labels {self.labels.shape} and {len(self.subsets)} modalities do not belong "
                "together; give (N, C), (N,) and (N,)"
            )
        if n == 0:
            raise DataError("there are no predictions; give those of a development split")
        if self.cloud_logits is not None and self.cloud_logits.shape != shape:
            raise DataError(f"cloud_logits {self.cloud_logits.shape} are not of the shape of logits {shape}")
        for name, scores in (("logits", self.logits), ("cloud_logits", self.cloud_logits)):
            if scores is not None and not np.isfinite(scores).all():
                raise DataError(f"{name} hold NaN or infinite values; leave those samples out")
        if not (self.labels.min() >= 0 and self.labels.max() < shape[1]):
            raise DataError(f"labels name classes outside 0 to {shape[1] - 1}; count from 0 in the bundle's order")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def cloud_right(self) -> NDArray[np.bool_] | None:
        """Whether the cloud was right, shape (N,); None where it was not asked."""
        if self.cloud_logits is None:
            return None
        right: NDArray[np.bool_] = self.cloud_logits.argmax(axis=1) == self.labels
        return right

    def where(self, chosen: NDArray[np.bool_]) -> Predictions:
        """Some of them; ``chosen`` is of shape (N,) and holds one True at least."""
        subsets = tuple(np.asarray(self.subsets)[chosen].tolist())
        cloud = None if self.cloud_logits is None else self.cloud_logits[chosen]
        return Predictions(self.logits[chosen], self.labels[chosen], subsets, cloud)

    @classmethod
    def read(cls, path: Path, names: Sequence[str]) -> Predictions:
        """Read a predictions file.

        Parameters
        ----------
        path : Path
            ``.npz`` or ``.jsonl``; see `FORMAT`.
        names : sequence of str, length C
            The classes in order.

        Raises
        ------
        DataError
            If it is missing, damaged, or not of the format.
        """
        if path.suffix not in (".npz", ".jsonl"):
            raise DataError(f"{path} is neither .npz nor .jsonl; see fedaffect edge calibrate --help")
        try:
            found = _of_npz(path, names) if path.suffix == ".npz" else _of_lines(path, names)
        except FileNotFoundError:
            raise DataError(f"{path} is not there; give a predictions file") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise DataError(
                f"{path} is not a predictions file ({error}); see fedaffect edge calibrate --help"
            ) from error
        if found.logits.shape[1] != len(names):
            raise DataError(f"{path} scores {found.logits.shape[1]} classes, the bundle {len(names)}; score with it")
        return found

    def write(self, path: Path) -> None:
        """Write an ``.npz`` that `read` takes."""
        arrays: dict[str, NDArray[Any]] = {"logits": self.logits, "labels": self.labels}
        arrays["modalities"] = np.asarray(self.subsets)
        if self.cloud_logits is not None:
            arrays["cloud_logits"] = self.cloud_logits
        with path.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def _of_npz(path: Path, names: Sequence[str]) -> Predictions:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        if not hasattr(archive, "files"):
            raise ValueError("it holds one array, not several by name")
        logits, labels, modalities = archive["logits"], archive["labels"], archive["modalities"]
        cloud = archive["cloud_logits"].astype(np.float64) if "cloud_logits" in archive.files else None
    subsets = tuple(subset_key(str(m).split("+")) for m in modalities)
    return Predictions(logits.astype(np.float64), _classes(labels.tolist(), names), subsets, cloud)


def _of_lines(path: Path, names: Sequence[str]) -> Predictions:
    logits, labels, subsets, cloud = [], [], [], []
    for number, row in _rows(path):
        try:
            logits.append(np.asarray(row["logits"], np.float64))
            labels.append(row["label"] if "label" in row else row["labels"])
            given = row["modalities"]
            subsets.append(subset_key(given.split("+") if isinstance(given, str) else given))
            if "cloud_logits" in row:
                cloud.append(np.asarray(row["cloud_logits"], np.float64))
        except KeyError as error:
            raise DataError(f"{at(path, number)} lacks {error}; see fedaffect edge calibrate --help") from None
    if cloud and len(cloud) != len(logits):
        raise ValueError(f"{len(cloud)} of {len(logits)} lines have cloud_logits; give all or none")
    scores = np.stack(logits) if logits else np.zeros((0, len(names)))
    return Predictions(scores, _classes(labels, names), tuple(subsets), np.stack(cloud) if cloud else None)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{at(path, number)} is no JSON object; see fedaffect edge calibrate --help")
                yield number, row


def _classes(labels: Sequence[Any], names: Sequence[str]) -> NDArray[np.int64]:
    places = {name: place for place, name in enumerate(names)}
    classes = []
    for label in labels:
        if isinstance(label, str):
            if label not in places:
                raise DataError(f"label {label!r} is not one of the bundle's: {', '.join(names)}")
            classes.append(places[label])
        elif isinstance(label, int) and not isinstance(label, bool):
            classes.append(label)
        else:
            raise DataError(f"a label is a class number or a name, not {label!r}")
    return np.asarray(classes, np.int64)
