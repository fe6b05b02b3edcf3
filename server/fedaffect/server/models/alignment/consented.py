"""What people said of the cloud's answers and allowed to be learned from, as samples of a model that takes features."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from fedaffect.client.cohort import TokenTable
from fedaffect.client.features.sequences import from_sequences
from fedaffect.edge.cloud.messages import read_sequences
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import DataError
from fedaffect.edge.labels import label_set
from fedaffect.server.models.alignment.material import Material
from fedaffect.server.models.full_model.card import ModelCard
from fedaffect.server.registry.feedback import Feedback

CORPUS: Final = "feedback"


@dataclass(frozen=True, slots=True)
class Consented:
    """N samples of several people, some of them held out.

    Parameters
    ----------
    tables : mapping of str to TokenTable
        By modality; a sample without it has no tokens.
    labels : int64 array, shape (N,)
        Places among the model's labels.
    owners : str array, shape (N,)
        With whose key each came.
    guard : bool array, shape (N,)
        Whether it is measured with, and never trained on.
    keys : tuple of str
        Idempotency keys.
    classes : int
        C, of the model.
    unused : mapping of str to int
        How many pieces of feedback are not among them, by why.
    """

    tables: Mapping[str, TokenTable]
    labels: NDArray[np.int64]
    owners: NDArray[np.str_]
    guard: NDArray[np.bool_]
    keys: tuple[str, ...]
    classes: int
    unused: Mapping[str, int]

    def digest(self, base: str) -> str:
        """Of these samples and the model that would learn from them, in hexadecimal."""
        return hashlib.sha256("\n".join([base, *sorted(self.keys)]).encode()).hexdigest()

    def materials(self) -> list[Material]:
        """What may be trained on, a material for each modality that has any; the guard set is its development rows."""
        votes = np.eye(self.classes, dtype=np.float32)
        everyone = np.arange(len(self.labels))
        return [
            Material(
                corpus=CORPUS,
                modality=modality,
                tables=(table,),
                labels=self.labels,
                votes=votes[self.labels],
                owners=self.owners,
                splits=np.where(table.lengths(everyone) > 0, np.where(self.guard, "dev", "train"), ""),
            )
            for modality, table in self.tables.items()
            if np.any(table.lengths(np.flatnonzero(~self.guard)) > 0)
        ]


def gather(told: Iterable[Feedback], card: ModelCard, guard_share: float) -> Consented:
    """Samples that a model can learn from.

    Which of them are held out follows from their request ids, so that one that was measured with is never trained on
    by a later run.

    Parameters
    ----------
    told : iterable of Feedback
        What was said last of each request.
    card : ModelCard
        The model's; it takes features.
    guard_share : float
        Of the samples, about.
    """
    shared = label_set(card.label_set)
    unused: Counter[str] = Counter()
    kept: list[tuple[Feedback, dict[str, NDArray[np.float16]], int]] = []
    for each in told:
        index = shared.index(each.label)
        if not each.consent:
            unused["without consent"] += 1
        elif each.features is None:
            unused["without features"] += 1
        elif index is None:
            unused[f"label {each.label} is not among the model's"] += 1
        elif isinstance(fitting := _features(each.features, card), str):
            unused[fitting] += 1
        else:
            kept.append((each, fitting, card.labels.index(shared.labels[index])))
    return Consented(
        tables={m: _table([f.get(m) for _, f, _ in kept], width) for m, width in card.widths.items()},
        labels=np.array([place for _, _, place in kept], np.int64),
        owners=np.array([each.caller for each, _, _ in kept], np.str_),
        guard=np.array([_held_out(each.request_id, guard_share) for each, _, _ in kept], bool),
        keys=tuple(each.idempotency_key for each, _, _ in kept),
        classes=len(card.labels),
        unused=dict(unused),
    )


def _table(sequences: Sequence[NDArray[np.float16] | None], width: int) -> TokenTable:
    return from_sequences([None if rows is None else rows.astype(np.float32) for rows in sequences], width)


def _features(serialised: bytes, card: ModelCard) -> dict[str, NDArray[np.float16]] | str:
    """Those of the encoders that the model was fitted behind, or why there are none."""
    try:
        features, keys = read_sequences(pb.FeedbackRequest.FromString(serialised).features)
    except (DecodeError, DataError):
        return "features that cannot be read"
    known = {m: rows for m, rows in features.items() if m in card.widths and card.widths[m] == rows.shape[1]}
    ours = {m: rows for m, rows in known.items() if card.encoder_keys.get(m, keys[m]) == keys[m]}
    return ours or "features of other encoders"


def _held_out(request_id: str, share: float) -> bool:
    digest = hashlib.sha256(f"guard {request_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
