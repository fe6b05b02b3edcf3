"""Constructed predictions of an overconfident edge and a better cloud, and a bundle that they fit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.bundle import Manifest, SigningKey, sign
from fedaffect.edge.calibration import softmax
from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.labels import label_set


def constructed_predictions(n: int = 3000, temperature: float = 3.0, seed: int = 0) -> Predictions:
    """Four classes; the edge's scores are ``temperature`` times too large, the cloud is right in 9 of 10."""
    rng = np.random.default_rng(seed)
    true_scores = rng.normal(size=(n, 4)) * 1.5
    labels = (softmax(true_scores).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    answers = np.where(rng.random(n) < 0.9, labels, (labels + 1) % 4)
    subsets = tuple(np.array(["audio", "text", "text+audio"])[np.arange(n) % 3].tolist())
    return Predictions(true_scores * temperature, labels, subsets, np.eye(4)[answers] * 5)


@pytest.fixture(scope="session")
def predictions() -> Predictions:
    return constructed_predictions()


@pytest.fixture
def answering_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that says which four classes it predicts."""
    folder = shutil.copytree(tiny_bundle, tmp_path / "answering")
    replace(Manifest.read(folder), label_set=label_set("shared4")).write(folder)
    sign(folder, SigningKey.own())
    return folder
