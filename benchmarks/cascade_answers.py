"""What a bundle and a model of the cloud answer to the held-out rows of three corpora."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import TokenTable
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.errors import BundleError
from fedaffect.edge.labels import label_set
from fedaffect.server.models.alignment.material import CORPORA, LABELS, Material, read_material
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.loading import open_encoder
from fedaffect.server.models.full_model.model import FullModel

# The corpora of the shared federation that have both a development and a test split.
CHOSEN = ("ravdess", "ferplus", "meld")
_BATCH = 64
# A probability that rounds to 0 has no logarithm.
_LEAST = 1e-12

Answer = Callable[[Sequence[NDArray[np.float32]]], NDArray[np.float64]]


def answer_corpora(bundle_folder: Path, cloud_folder: Path, data: Path, device: str = "cpu") -> dict[str, Predictions]:
    """Both models' answers to the same rows, by split.

    Features come from the cache where they were made before. Rows of RAVDESS are split by actor as the shared
    federation splits them, so that nobody trained on who is tested.

    Parameters
    ----------
    bundle_folder : Path
        Of the edge, with a fusion over the shared classes.
    cloud_folder : Path
        A model folder.
    data : Path
        Holds a folder for each corpus, by name.
    device : str
        Of the cloud's model, as torch names it.

    Returns
    -------
    dict of str to Predictions
        ``dev`` and ``test``.

    Raises
    ------
    BundleError
        If either predicts other classes.
    DataError
        If a corpus cannot be read.
    """
    bundle, compute = Bundle.load(bundle_folder), Compute(device)
    fusion, cloud = bundle.fusion(), FullModel.load(cloud_folder, compute)
    shared = label_set(LABELS).labels
    for what, labels in ((bundle_folder, fusion.labels), (cloud_folder, cloud.labels)):
        if tuple(labels) != shared:
            raise BundleError(f"{what} predicts {', '.join(labels)}; give one that predicts {', '.join(shared)}")
    parts: dict[str, list[Predictions]] = {"dev": [], "test": []}
    for corpus in CHOSEN:
        modality, faces = CORPORA[corpus], "whole"
        click.echo(corpus, err=True)
        edge = read_material(corpus, data / corpus, [bundle.encoder(modality, faces=faces)])
        theirs = read_material(corpus, data / corpus, [_cloud_encoder(cloud, modality, compute, faces)])

        def edge_scores(tokens: Sequence[NDArray[np.float32]], modality: str = modality) -> NDArray[np.float64]:
            return np.stack([fusion({modality: each}) for each in tokens]).astype(np.float64)

        def cloud_scores(tokens: Sequence[NDArray[np.float32]], modality: str = modality) -> NDArray[np.float64]:
            probabilities = np.asarray(cloud.fuse([{modality: each} for each in tokens]), np.float64)
            return np.log(np.maximum(probabilities, _LEAST))

        for split, found in parts.items():
            found.append(answer_rows(split, edge, theirs, edge_scores, cloud_scores))
    return {split: joined(found) for split, found in parts.items()}


def _cloud_encoder(cloud: FullModel, modality: str, compute: Compute, faces: str) -> Encoder:
    # Pictures of FER+ are faces already; the served model's own encoder would look for one.
    return open_encoder(modality, cloud.profile, compute, faces=faces)


def answer_rows(split: str, edge: Material, cloud: Material, edge_answer: Answer, cloud_answer: Answer) -> Predictions:
    """Answers to the rows of one split in which both encoders found something.

    Parameters
    ----------
    split : str
        ``dev`` or ``test``.
    edge, cloud : Material
        One corpus through either encoder.
    edge_answer, cloud_answer : callable
        From sequences of tokens, each (T, W), to scores (B, C).
    """
    rows = np.intersect1d(edge.of_split(split), cloud.of_split(split))
    logits = _scores(edge.tables[0], rows, edge_answer)
    cloud_logits = _scores(cloud.tables[0], rows, cloud_answer)
    return Predictions(logits, edge.labels[rows], (edge.modality,) * len(rows), cloud_logits)


def _scores(table: TokenTable, rows: NDArray[np.int64], answer: Answer) -> NDArray[np.float64]:
    scores = []
    for start in range(0, len(rows), _BATCH):
        spans = [(table.offsets[row], table.offsets[row + 1]) for row in rows[start : start + _BATCH]]
        scores.append(answer([table.tokens[first:last].astype(np.float32) for first, last in spans]))
    return np.concatenate(scores)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Several sets of predictions as one; all of them with the cloud's answers.

    Parameters
    ----------
    parts : sequence of Predictions
        One or more.
    """
    cloud = [part.cloud_logits for part in parts if part.cloud_logits is not None]
    return Predictions(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.labels for part in parts]),
        tuple(name for part in parts for name in part.subsets),
        np.concatenate(cloud),
    )
