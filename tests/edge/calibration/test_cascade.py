"""Edge and cloud as a cascade, on constructed predictions; on real corpora it is a benchmark."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fedaffect.edge.calibration import softmax
from fedaffect.edge.calibration.cascade import cascade
from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.errors import DataError
from fedaffect.edge.labels import label_set

CLASSES = len(label_set("shared7"))


def constructed(n: int, seed: int, subsets: tuple[str, ...] = ("audio", "video"), right: float = 0.93) -> Predictions:
    """An overconfident edge whose doubt is honest in its order, and a cloud that is right in 93 of 100."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, CLASSES)) * 3
    labels = (softmax(scores).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    answers = np.where(rng.random(n) < right, labels, (labels + 1) % CLASSES)
    names = tuple(np.array(subsets)[np.arange(n) % len(subsets)].tolist())
    return Predictions(scores * 2, labels, names, np.eye(CLASSES)[answers] * 5)


def test_constructed_cascade_recovers_most_of_the_gap_and_beats_chance() -> None:
    rows = cascade(constructed(4000, 0), constructed(4000, 1), 0.35, 0.9)
    assert [row.name for row in rows] == ["all", "audio", "video"]
    for row in rows:
        assert row.chosen.accuracy > row.chosen.random_accuracy + 0.05
        assert row.chosen.share == pytest.approx(0.35, abs=0.04)
        assert row.within.share <= 0.35
        assert row.error_after < row.error_before / 2
        assert 0.2 < row.share_for_gap < 0.9
    assert rows[0].samples == sum(row.samples for row in rows[1:])
    assert rows[0].chosen.accuracy == pytest.approx(np.average([r.chosen.accuracy for r in rows[1:]]), abs=1e-9)


def test_the_test_rows_choose_nothing() -> None:
    dev, test = constructed(1000, 0, ("text",)), constructed(1000, 1, ("text",))
    flipped = Predictions(test.logits, (test.labels + 1) % CLASSES, test.subsets, test.cloud_logits)
    (first,), (second,) = cascade(dev, test, 0.35, 0.9), cascade(dev, flipped, 0.35, 0.9)
    assert first.chosen.threshold == second.chosen.threshold
    assert first.chosen.share == second.chosen.share


def test_a_cloud_that_is_worse_is_told_as_it_is() -> None:
    (row,) = cascade(constructed(800, 0, ("text",), 0.1), constructed(800, 1, ("text",), 0.1), 0.35, 0.9)
    assert row.curve.gap < 0
    assert math.isnan(row.share_for_gap)
    assert row.chosen.share < 0.02


def test_files_without_the_cloud_or_without_development_rows_are_refused() -> None:
    found = constructed(100, 0)
    alone = Predictions(found.logits, found.labels, found.subsets)
    with pytest.raises(DataError, match="cloud_logits"):
        cascade(alone, alone, 0.35, 0.9)
    with pytest.raises(DataError, match="no development rows for video"):
        cascade(constructed(100, 0, ("audio",)), found, 0.35, 0.9)


def test_the_benchmark_prints_the_table_and_draws(tmp_path: Path) -> None:
    for split, seed in (("dev", 0), ("test", 1)):
        constructed(600, seed).write(tmp_path / f"{split}.npz")
    command = [sys.executable, "-m", "benchmarks.cascade", "table", "dev.npz", "test.npz", "--svg", "c.svg"]
    search = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(command, cwd=tmp_path, env=search, capture_output=True, text=True, check=True)
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 5
    assert "RAVDESS speech" in lines[3]
    assert len({line.count("|") for line in lines}) == 1
    assert ElementTree.parse(tmp_path / "c.svg").getroot().tag.endswith("svg")
