"""The shared federation from corpora to a run folder, and what is measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from fedaffect.client.corpora.registry import folder_of
from fedaffect.client.models.cmt import CrossModalTransformer, cross_modal_transformer
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.federation.observer import Observer
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.stopping import best_record
from fedaffect.server.models.alignment.answers import figures, logits_of
from fedaffect.server.models.alignment.material import CORPORA, LABELS, Material, read_material, without_repeats
from fedaffect.server.models.alignment.voices import VariedVoice
from fedaffect.simulation.engines import run as run_engine
from fedaffect.simulation.shared_emotions.clients import client_data
from fedaffect.simulation.shared_emotions.cohort import build_cohort
from fedaffect.simulation.shared_emotions.faces import VariedFace
from fedaffect.simulation.shared_emotions.sentences import SENTENCES
from fedaffect.simulation.shared_emotions.settings import SharedConfig

MODEL_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {"width": 128, "heads": 4, "layers": 1, "feedforward": 256, "dropout": 0.3, "token_dropout": 0.3}
)
# Chosen by corpora held out; RESULTS.md has the comparisons.
TRAINING: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "rounds": 24,
        "clients_per_round": 10,
        "local_epochs": 1,
        "batch_size": 32,
        # A client's rows are far more than a round needs; each round takes other ones.
        "max_steps": 16,
        "lr": 1e-3,
        "weight_decay": 0.05,
        "gradient_clip": 1.0,
        "modality_dropout": 0.1,
    }
)


@dataclass(frozen=True, slots=True)
class Held:
    """How a fusion does on one corpus.

    Parameters
    ----------
    corpus, split : str
    rows, classes : int
        How many rows, and how many classes occur among them: chance is one of them.
    figures : mapping of str to float
        With all shared classes to choose from.
    among : mapping of str to float
        With only those that occur.
    """

    corpus: str
    split: str
    rows: int
    classes: int
    figures: Mapping[str, float]
    among: Mapping[str, float]


def read_all(root: Path, bundle: Bundle, config: SharedConfig) -> list[Material]:
    """Every corpus under a folder that a bundle encodes; those that clients train on in copies too.

    Parameters
    ----------
    root : Path
        Has a folder for each corpus of ``CORPORA``, by its name.
    bundle : Bundle
    config : SharedConfig

    Raises
    ------
    DataError
        If a corpus is missing.
    """
    found = []
    for corpus, modality in CORPORA.items():
        if modality not in bundle.manifest.encoders:
            continue
        encoder = bundle.encoder(modality, faces="whole")
        copies = _copies(modality, encoder, config) if corpus in config.corpora else []
        found.append(read_material(corpus, folder_of(corpus, root), [encoder, *copies], True, cache_folder()))
    return found


def _copies(modality: str, encoder: Encoder, config: SharedConfig) -> list[Encoder]:
    if modality == "audio":
        return [VariedVoice(encoder, copy) for copy in range(1, config.voice_copies + 1)]
    if modality == "video":
        return [VariedFace(encoder, copy) for copy in range(1, config.face_copies + 1)]
    return []


def federate(
    materials: Sequence[Material],
    config: SharedConfig,
    run: RunSettings,
    observers: Sequence[Observer] = (),
    *,
    overwrite: bool = False,
) -> RunFolder:
    """Let clients learn from the corpora of the settings.

    A corpus that is left out gives all its rows to testing, and lines that it shares with others are not trained on.

    Parameters
    ----------
    materials : sequence of Material
        Of all corpora.
    config : SharedConfig
    run : RunSettings
        Of the federation; of fewer clients than a round asks for, all are asked.
    observers : sequence of Observer
    overwrite : bool
        Replace an older run of that name.
    """
    outside = [m.corpus for m in materials if m.corpus not in config.corpora]
    kept = without_repeats(materials, keep=next((c for c in outside if CORPORA[c] == "text"), None))
    inside = sorted((m for m in kept if m.corpus in config.corpora), key=lambda m: MODALITIES.index(m.modality))
    held = client_data(inside, config)
    run = run.changed(clients_per_round=min(int(run["clients_per_round"]), len(held)))
    folder = RunFolder.create(run, overwrite=overwrite)
    cohort = folder.path / "cohort"
    build_cohort(inside, held, config).save(cohort)
    run_engine(run, cohort, folder, observers)
    return folder


def trained_model(folder: RunFolder, widths: Mapping[str, int]) -> CrossModalTransformer:
    """The fusion of a finished run's best round, ready to infer."""
    config = folder.config
    number = int(best_record(folder.metrics(), config.evaluation.select_by)["round"])
    arrays = folder.checkpoints.load(number).arrays
    model = cross_modal_transformer(widths, len(label_set(config.data.labels)), **config.model.model_options)
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    return model.eval()


def measure(model: nn.Module, materials: Sequence[Material], trained: Sequence[str]) -> list[Held]:
    """Figures on each corpus: its development and test splits where clients trained on it, else all its rows.

    Parameters
    ----------
    model : nn.Module
    materials : sequence of Material
    trained : sequence of str
        Corpora that clients trained on.
    """
    found = []
    for material in materials:
        splits = ("dev", "test") if material.corpus in trained else ("all",)
        for split in splits:
            rows = np.flatnonzero(material.splits != "") if split == "all" else material.of_split(split)
            if len(rows):
                found.append(_held(model, material, split, rows))
    return found


def _held(model: nn.Module, material: Material, split: str, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Held:
    labels = material.labels[rows]
    logits = logits_of(model, {material.modality: material.tables[0]}, {material.modality: rows})
    occurring = np.unique(labels).tolist()
    return Held(
        material.corpus, split, len(rows), len(occurring), figures(logits, labels), figures(logits, labels, occurring)
    )


def sentence_recall(model: nn.Module, encoder: Encoder) -> dict[str, float]:
    """Recall of each emotion on the constructed sentences, and their mean under ``mean``."""
    labels = label_set(LABELS).labels
    recall = {}
    for emotion, sentences in SENTENCES.items():
        tokens = encoder.encode([encoder.prepare(sentence) for sentence in sentences])
        answers = [answer(model, {"text": values}).argmax() for values in tokens]
        recall[emotion] = float(np.mean([labels[int(a)] == emotion for a in answers]))
    return {**recall, "mean": float(np.mean(list(recall.values())))}


@torch.no_grad()
def answer(model: nn.Module, tokens: Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]) -> np.ndarray[Any, Any]:
    """Class scores (C,) of one sample's tokens, (T_m, W_m) by modality."""
    given = {m: torch.from_numpy(np.asarray(values, np.float32))[None] for m, values in tokens.items()}
    present = {m: torch.ones(values.shape[:2], dtype=torch.bool) for m, values in given.items()}
    scores: np.ndarray[Any, Any] = model(given, present)[0].numpy()
    return scores


def run_config(out: Path, name: str, seed: int, **changes: Any) -> RunSettings:
    """Settings of the federation under a name; the last round is the one that is kept.

    Development rows are of the corpora trained on. The number of rounds was chosen by corpora held out, so that the
    figure on those rows must not choose another.
    """
    settings: dict[str, Any] = {**TRAINING, "modalities": MODALITIES, "model_options": dict(MODEL_OPTIONS), **changes}
    return RunSettings.of(
        dataset="shared",
        labels=LABELS,
        partition="natural",
        seed=seed,
        eval_every=settings["rounds"],
        keep_checkpoints="last",
        out=out,
        name=name,
        **settings,
    )


def without(config: SharedConfig, corpus: str) -> SharedConfig:
    """The same settings with one corpus left out of training."""
    return replace(config, corpora=tuple(name for name in config.corpora if name != corpus))
