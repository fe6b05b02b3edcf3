"""A bundle of tiny encoders and a small fusion of real weights, which training can start from. Nothing real."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from tests.support.steps import kept_step
from torch import Tensor

from fedaffect.client.models.registry import build_model
from fedaffect.edge.bundle import SIGNATURE, Calibration, Manifest, SigningKey, Source, sign
from fedaffect.edge.labels import label_set
from fedaffect.server.models.bundling.fusion import FusionWeights, finish_fusion
from fedaffect.server.models.bundling.step import StepModel

OPTIONS = {"width": 16, "heads": 2, "feedforward": 32, "dropout": 0.0, "token_dropout": 0.0}


def learning_bundle(
    encoders: Path,
    folder: Path,
    labels: str = "shared7",
    seed: int = 0,
    state: Mapping[str, Tensor] | None = None,
    step: bool = False,
    model: str = "cmt",
    options: Mapping[str, object] = OPTIONS,
    ratings: tuple[str, ...] = (),
) -> Path:
    """Write a signed bundle with the encoders of another, and return its folder; weights drawn if not given.

    With ``step`` devices without torch learn from it too.
    """
    folder.mkdir(parents=True)
    shutil.copytree(encoders, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(SIGNATURE))
    manifest = Manifest.read(folder)
    widths = {modality: entry.width for modality, entry in manifest.encoders.items()}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build_model(model, widths, len(label_set(labels)) + len(ratings), options)
    weights = FusionWeights(
        model,
        options,
        widths,
        label_set(labels),
        state or module.state_dict(),
        Source("made up by a test"),
        ratings=ratings,
    )
    scratch = folder.parent / f"{folder.name}-scratch"
    scratch.mkdir()
    made = replace(
        manifest,
        label_set=weights.labels,
        fusion=finish_fusion(weights, scratch, folder, kept_step(StepModel.of(weights)) if step else None),
        calibration=Calibration({"text": 2.0}, {}),
        version=f"t{seed}",
    )
    made.write(folder)
    sign(folder, SigningKey.own())
    return folder
