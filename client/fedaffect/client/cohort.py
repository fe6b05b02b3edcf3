"""A cohort: what all clients of one federation hold, prepared once and memory-mapped afterwards."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.dialogues import DIALOGUE, UTTERANCE, Dialogues, Turns
from fedaffect.edge.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_INDEX = "cohort.json"


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Sequences of feature vectors of one stream, one after the other.

    Parameters
    ----------
    tokens : float16 or float32 array, shape (S, W)
        All tokens of all samples; of raw input int32 or uint8 too.
    offsets : int64 array, shape (N + 1,)
        Sample i owns rows ``offsets[i]:offsets[i + 1]``.
    """

    tokens: NDArray[Any]
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
    tokens : mapping of str to Tensor, shape (U, T_m, W_m)
        One entry a stream. U is B, unless whole dialogues are there of which some utterances are only heard.
    present : mapping of str to Tensor of bool, shape (U, T_m)
        False for padding and for what a sample lacks.
    labels : Tensor of int64, shape (B,)
    soft_labels : Tensor of float32, shape (B, C), optional
        Class probabilities, where several people voted.
    ratings : Tensor of float32, shape (B, R), optional
        Where ratings are learned too; NaN where there is none.
    turns : Turns, optional
        For models whose unit is a dialogue: which utterances make which, and which B of them are asked about.
    """

    tokens: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    labels: Tensor
    soft_labels: Tensor | None = None
    ratings: Tensor | None = None
    turns: Turns | None = None

    def scored_by(self, model: nn.Module, present: Mapping[str, Tensor] | None = None) -> Tensor:
        """A model's scores of what is asked about, shape (B, C + R).

        Parameters
        ----------
        model : Module
        present : mapping of str to Tensor of bool, shape (U, T_m), optional
            What of the batch it is shown, if not all.
        """
        shown = self.present if present is None else present
        scores: Tensor = model(self.tokens, shown) if self.turns is None else model(self.tokens, shown, self.turns)
        return scores

    @property
    def held(self) -> Tensor:
        """Whether a sample has a token at all, shape (B,)."""
        import torch

        return torch.stack([mask.any(dim=1) for mask in self.present.values()]).any(dim=0)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            {k: v.to(device, non_blocking=True) for k, v in self.tokens.items()},
            {k: v.to(device, non_blocking=True) for k, v in self.present.items()},
            self.labels.to(device, non_blocking=True),
            None if self.soft_labels is None else self.soft_labels.to(device, non_blocking=True),
            None if self.ratings is None else self.ratings.to(device, non_blocking=True),
            None if self.turns is None else self.turns.to(device),
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
    dialogues : Dialogues, optional
        Dialogue, turn and speaker of each sample, where the corpus has dialogues.
    rating_names : tuple of str
        R ratings that are learned beside the class.
    ratings : float32 array, shape (N, R), optional
        NaN where nobody rated; None where R is 0.
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
    dialogues: Dialogues | None = None
    rating_names: tuple[str, ...] = ()
    ratings: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        wrong = [s for s, t in self.tables.items() if len(t.offsets) != n + 1 or len(self.present[s]) != n]
        said = () if self.dialogues is None else (self.dialogues.ids, self.dialogues.turns, self.dialogues.speakers)
        if wrong or any(len(each) != n for each in (self.train_labels, self.groups, *said)):
            raise DataError(
                f"the cohort's arrays disagree about the number of samples ({n} labels; {wrong or 'labels'})"
            )
        shape = None if self.ratings is None else self.ratings.shape
        if shape != ((n, len(self.rating_names)) if self.rating_names else None):
            raise DataError(f"the cohort names {len(self.rating_names)} ratings of {n} samples and holds {shape}")
        if len(self.client_names) != len(self.client_offsets) - 1:
            raise DataError(f"{len(self.client_names)} client names for {len(self.client_offsets) - 1} clients")

    @property
    def num_clients(self) -> int:
        """K."""
        return len(self.client_offsets) - 1

    @property
    def output_names(self) -> tuple[str, ...]:
        """What a model answers, C + R names: classes, then ratings."""
        return (*self.label_names, *self.rating_names)

    @property
    def widths(self) -> dict[str, int]:
        """Width of each stream's tokens."""
        return {stream: table.width for stream, table in self.tables.items()}

    def rows_of(self, client: int) -> NDArray[np.int64]:
        """Training rows of one client."""
        return self.client_rows[self.client_offsets[client] : self.client_offsets[client + 1]]

    def only(self, streams: Collection[str]) -> Cohort:
        """The same samples, of which nothing but these streams is there."""
        present = {s: held if s in streams else np.zeros_like(held) for s, held in self.present.items()}
        return replace(self, present=present)

    def counts(self, rows: NDArray[np.int64]) -> dict[str, int]:
        """Examples among these rows, in all (``""``) and by stream."""
        return {"": len(rows), **{s: int(present[rows].sum()) for s, present in self.present.items()}}

    def units(self, rows: NDArray[np.int64], unit: str) -> NDArray[np.int64] | None:
        """What stays together of some rows for a model of that unit, shape (n,); None where each stands alone.

        Parameters
        ----------
        rows : int64 array, shape (n,)
        unit : {"utterance", "dialogue"}
        """
        return self.dialogues.of(rows) if unit == DIALOGUE and self.dialogues is not None else None

    def gather(self, rows: NDArray[np.int64], *, train: bool, unit: str = UTTERANCE) -> Batch:
        """Samples as one padded batch.

        Parameters
        ----------
        rows : int64 array, shape (B,)
            What is asked about.
        train : bool
            Whether labels are those a client trains with, noise included.
        unit : {"utterance", "dialogue"}
            As the model says: with dialogues, the others' utterances in this cohort are there to be heard.
        """
        import torch

        asked, turns = rows, None
        if unit == DIALOGUE and self.dialogues is not None:
            rows, turns = self.dialogues.whole(asked)
        tokens, present = self.padded(rows)
        labels = (self.train_labels if train else self.labels)[asked]
        soft = None if self.soft_labels is None or not train else torch.from_numpy(self.soft_labels[asked])
        return Batch(
            {stream: torch.from_numpy(values) for stream, values in tokens.items()},
            {stream: torch.from_numpy(mask) for stream, mask in present.items()},
            torch.from_numpy(np.ascontiguousarray(labels)),
            soft,
            None if self.ratings is None else torch.from_numpy(self.ratings[asked]),
            turns,
        )

    def padded(self, rows: NDArray[np.int64]) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.bool_]]]:
        """Tokens of samples side by side, and which are there, by stream; zeros where nothing is.

        Parameters
        ----------
        rows : int64 array, shape (B,)

        Returns
        -------
        tokens : dict of str to float32 array, shape (B, T_m, W_m)
        present : dict of str to bool array, shape (B, T_m)
        """
        tokens: dict[str, NDArray[np.float32]] = {}
        present: dict[str, NDArray[np.bool_]] = {}
        for stream, table in self.tables.items():
            values, mask = table.padded(rows)
            held = self.present[stream][rows]
            if not held.all():
                mask &= held[:, None]
                values[~held] = 0.0
            tokens[stream], present[stream] = values, mask
        return tokens, present

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
                "rating_names": self.rating_names,
                "about": self.about,
                "soft_labels": self.soft_labels is not None,
                "dialogues": self.dialogues is not None,
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
        if self.ratings is not None:
            arrays["ratings"] = self.ratings
        if self.dialogues is not None:
            arrays |= {f"dialogue.{f.name}": getattr(self.dialogues, f.name) for f in fields(Dialogues)}
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
                dialogues=Dialogues(*(array(f"dialogue.{f.name}") for f in fields(Dialogues)))
                if index.get("dialogues")
                else None,
                rating_names=tuple(index.get("rating_names", ())),
                ratings=array("ratings") if index.get("rating_names") else None,
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
