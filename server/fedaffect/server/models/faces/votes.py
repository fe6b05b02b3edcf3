"""FER+ in memory: grey faces, the votes on them, and which of them the published rule keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fedaffect.client.corpora.archives import Archives
from fedaffect.client.corpora.ferplus import FerPlus
from fedaffect.edge.errors import DataError
from fedaffect.edge.labels import label_set
from fedaffect.server.models.faces.network import CLASSES, SIDE


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces of one split.

    Parameters
    ----------
    pictures : Tensor of uint8, shape (N, 1, 48, 48)
        Grey.
    votes : Tensor of float32, shape (N, 8)
        Shares of the votes, in the order of ``CLASSES``.
    labels : Tensor of int64, shape (N,)
        The emotion with most votes.
    published : Tensor of bool, shape (N,)
        Whether more than half of the repeated votes agree, which is what the published accuracy counts.
    """

    pictures: Tensor
    votes: Tensor
    labels: Tensor
    published: Tensor

    def __len__(self) -> int:
        return len(self.pictures)


def load_faces(data_dir: Path, splits: Iterable[str] = ("train", "dev", "test")) -> dict[str, Faces]:
    """Read FER+ from its official folder.

    Raises
    ------
    DataError
        If it is not there or damaged.
    """
    order = [label_set("ferplus8").labels.index(name) for name in CLASSES]
    found: dict[str, list[tuple[np.ndarray, list[float], int, bool]]] = {split: [] for split in splits}
    with Archives() as archives:
        for utterance in FerPlus(data_dir):
            if utterance.split not in found:
                continue
            if utterance.votes is None:
                raise DataError(f"{utterance.sample.id} has no votes; download FER+ again")
            picture = _grey(archives.resolve(utterance.sample.video))
            votes = [utterance.votes[place] for place in order]
            kept = utterance.attributes["published"] == "yes"
            found[utterance.split].append((picture, votes, CLASSES.index(utterance.label), kept))
    return {split: _stack(rows) for split, rows in found.items()}


def _grey(source: bytes | Path) -> np.ndarray:
    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
        if image.size != (SIDE, SIDE):
            return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("L"))
        return np.asarray(image.convert("L"))


def _stack(rows: list[tuple[np.ndarray, list[float], int, bool]]) -> Faces:
    pictures, votes, labels, published = zip(*rows, strict=True)
    return Faces(
        torch.from_numpy(np.stack(pictures))[:, None],
        torch.tensor(votes, dtype=torch.float32),
        torch.tensor(labels),
        torch.tensor(published),
    )
