from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store import Database


class Wall:
    """A wall clock that a test sets."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDAFFECT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def database(data_folder: Path) -> Iterator[Database]:
    with Database() as opened:
        yield opened


@pytest.fixture
def prediction() -> Prediction:
    return Prediction(
        label="joy",
        probabilities={"joy": 0.75, "anger": 0.25},
        confidence=0.75,
        source="edge",
        modalities=("text", "audio"),
        latency_ms=3.0,
        model_version="bundle-1",
        offload_reason="no-cloud",
    )
