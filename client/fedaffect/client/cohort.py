"""A cohort: what all clients of one federation hold, prepared once and memory-mapped afterwards."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.edge.errors import DataError

_INDEX = "cohort.json"


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Sequences of feature vectors of one stream, one after the other.

    Parameters
    ----------
    tokens : float16 or float32 array, shape (S, W)
        All tokens of all samples.
    offsets : int64 array, shape (N + 1,)
        Sample i owns rows ``offsets[i]:offsets[i + 1]``.
    """

    tokens: NDArray[np.float16] | NDArray[np.float32]
    offsets: NDArray[np.int64]

    @property
    def width(self) -> int:
        """W, the width of a token."""
        return int(self.tokens.shape[1])

    def lengths(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of tokens of each of these samples."""
        lengths: NDArray[np.int64] = self.offsets[rows + 1] - self.offsets[rows]
        return lengths

    def padded(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Samples side by side, padded with zeros to the longest (at least one token).

        Returns
        -------
        tokens : float32 array, shape (B, T, W)
        present : bool array, shape (B, T)
            False for padding.
        """
        lengths = self.lengths(rows)
        longest = max(1, int(lengths.max(initial=0)))
        steps = np.arange(longest)
        present = steps < lengths[:, None]  # (B, T)
        places = np.minimum(self.offsets[rows][:, None] + steps, max(0, len(self.tokens) - 1))
        if len(self.tokens) == 0:
            return np.zeros((len(rows), longest, self.width), np.float32), present
        tokens = self.tokens[places].astype(np.float32)  # (B, T, W)
        if not present.all():
            tokens[~present] = 0.0
        return tokens, present


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples ready for a fusion model.

    Parameters
    ----------
    tokens : mapping of str to Tensor, shape (B, T_m, W_m)
        One entry a stream.
    present : mapping of str to Tensor of bool, shape (B, T_m)
        False for padding and for what a sample lacks.
    labels : Tensor of int64, shape (B,)
    soft_labels : Tensor of float32, shape (B, C), optional
        Class probabilities, where several people voted.
    """

    tokens: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    labels: Tensor
    soft_labels: Tensor | None = None

    @property
    def held(self) -> Tensor:
        """Whether a sample has a token at all, shape (B,)."""
        return torch.stack([mask.any(dim=1) for mask in self.present.values()]).any(dim=0)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            {k: v.to(device, non_blocking=True) for k, v in self.tokens.items()},
            {k: v.to(device, non_blocking=True) for k, v in self.present.items()},
            self.labels.to(device, non_blocking=True),
            None if self.soft_labels is None else self.soft_labels.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True)
class Cohort:
    """Features, labels and who holds what.

    N samples, K clients, G natural owners, C classes.

    Parameters
    ----------
    tables : mapping of str to TokenTable
        Streams: ``text``, ``audio``, ``video``, and ``context`` for past utterances.
    present : mapping of str to bool array, shape (N,)
        False where a sample lacks the stream, by nature or by ``--missing-modality``.
    labels, train_labels : int64 arrays, shape (N,)
        True classes, and those a client trains with (label noise).
    client_offsets : int64 array, shape (K + 1,)
    client_rows : int64 array
        Training rows of client k are ``client_rows[client_offsets[k]:client_offsets[k + 1]]``.
    splits : mapping of str to int64 array
        Rows of ``dev`` and ``test``, and of further views of the test split.
    groups : int64 array, shape (N,)
        Natural owner (speaker, actor, video) of each sample.
    group_names, client_names, label_names : tuple of str
    about : mapping
        Where this came from; JSON.
    soft_labels : float32 array, shape (N, C), optional
    """

    tables: Mapping[str, TokenTable]
    present: Mapping[str, NDArray[np.bool_]]
    labels: NDArray[np.int64]
    train_labels: NDArray[np.int64]
    client_offsets: NDArray[np.int64]
    client_rows: NDArray[np.int64]
    splits: Mapping[str, NDArray[np.int64]]
    groups: NDArray[np.int64]
    group_names: tuple[str, ...]
    client_names: tuple[str, ...]
    label_names: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    soft_labels: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        wrong = [s for s, t in self.tables.items() if len(t.offsets) != n + 1 or len(self.present[s]) != n]
        if wrong or len(self.train_labels) != n or len(self.groups) != n:
            raise DataError(
                f"the cohort's arrays disagree about the number of samples ({n} labels; {wrong or 'labels'})"
            )
        if len(self.client_names) != len(self.client_offsets) - 1:
            raise DataError(f"{len(self.client_names)} client names for {len(self.client_offsets) - 1} clients")

    @property
    def num_clients(self) -> int:
        """K."""
        return len(self.client_offsets) - 1

    @property
    def widths(self) -> dict[str, int]:
        """Width of each stream's tokens."""
        return {stream: table.width for stream, table in self.tables.items()}

    def rows_of(self, client: int) -> NDArray[np.int64]:
        """Training rows of one client."""
        return self.client_rows[self.client_offsets[client] : self.client_offsets[client + 1]]

    def counts(self, rows: NDArray[np.int64]) -> dict[str, int]:
        """Examples among these rows, in all (``""``) and by stream."""
        return {"": len(rows), **{s: int(present[rows].sum()) for s, present in self.present.items()}}

    def gather(self, rows: NDArray[np.int64], *, train: bool) -> Batch:
        """Samples as one padded batch.

        Parameters
        ----------
        rows : int64 array, shape (B,)
        train : bool
            Whether labels are those a client trains with, noise included.
        """
        tokens: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for stream, table in self.tables.items():
            values, mask = table.padded(rows)
            held = self.present[stream][rows]
            if not held.all():
                mask &= held[:, None]
                values[~held] = 0.0
            tokens[stream] = torch.from_numpy(values)
            present[stream] = torch.from_numpy(mask)
        labels = (self.train_labels if train else self.labels)[rows]
        soft = None if self.soft_labels is None or not train else torch.from_numpy(self.soft_labels[rows])
        return Batch(tokens, present, torch.from_numpy(np.ascontiguousarray(labels)), soft)

    def save(self, folder: Path) -> None:
        """Write to a folder that appears whole or not at all.

        Parameters
        ----------
        folder : Path
            Must not exist yet; another process that wrote the same folder first wins.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, array in self._arrays().items():
                np.save(part / f"{name}.npy", array)
            index = {
                "streams": list(self.tables),
                "splits": list(self.splits),
                "group_names": self.group_names,
                "client_names": self.client_names,
                "label_names": self.label_names,
                "about": self.about,
                "soft_labels": self.soft_labels is not None,
            }
            (part / _INDEX).write_text(json.dumps(index, default=list))
            try:
                part.replace(folder)
            except OSError:
                if not (folder / _INDEX).is_file():
                    raise
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {
            "labels": self.labels,
            "train_labels": self.train_labels,
            "client_offsets": self.client_offsets,
            "client_rows": self.client_rows,
            "groups": self.groups,
        }
        for stream, table in self.tables.items():
            arrays[f"{stream}.tokens"] = table.tokens
            arrays[f"{stream}.offsets"] = table.offsets
            arrays[f"{stream}.present"] = self.present[stream]
        for split, rows in self.splits.items():
            arrays[f"split.{split}"] = rows
        if self.soft_labels is not None:
            arrays["soft_labels"] = self.soft_labels
        return arrays

    @classmethod
    def load(cls, folder: Path) -> Cohort:
        """Open a prepared folder; arrays stay on disk until touched.

        Raises
        ------
        DataError
            If it is missing or damaged.
        """
        try:
            index = json.loads((folder / _INDEX).read_text())

            def array(name: str) -> NDArray[Any]:
                return _open_array(folder / f"{name}.npy")

            return cls(
                tables={s: TokenTable(array(f"{s}.tokens"), array(f"{s}.offsets")) for s in index["streams"]},
                present={s: array(f"{s}.present") for s in index["streams"]},
                labels=array("labels"),
                train_labels=array("train_labels"),
                client_offsets=array("client_offsets"),
                client_rows=array("client_rows"),
                splits={s: array(f"split.{s}") for s in index["splits"]},
                groups=array("groups"),
                group_names=tuple(index["group_names"]),
                client_names=tuple(index["client_names"]),
                label_names=tuple(index["label_names"]),
                about=index["about"],
                soft_labels=array("soft_labels") if index["soft_labels"] else None,
            )
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"the prepared cohort {folder} is missing or damaged ({error}); delete it and run again"
            ) from error


def _open_array(path: Path) -> NDArray[Any]:
    # An empty array cannot be mapped. A plain view, because indexing np.memmap costs several times as much.
    array: NDArray[Any]
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        array = np.load(path, allow_pickle=False)
    return array.view(np.ndarray)
