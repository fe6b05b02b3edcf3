"""The command as its script calls it, a tiny corpus in a real one's layout, and one Ray for all."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray
from tests.support.without_ray import train_in_this_process

from fedaffect.edge.cli.main import main
from fedaffect.server.ray_session import ray_session

TINY = (
    *("--model-option", "width=16", "--model-option", "heads=2", "--model-option", "feedforward=32"),
    *("--clients-per-round", "4", "--batch-size", "8", "--lr", "0.01", "--actors", "1"),
)


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Fedaffect = Callable[..., Done]


def assert_one_line(done: Done, *words: str) -> None:
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err, done.err


@contextmanager
def _ray_leaves_its_files_open() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    session = ray_session(cores=2)
    with _ray_leaves_its_files_open():
        ray.shutdown()
        session.__enter__()
    yield
    with _ray_leaves_its_files_open():
        session.__exit__(None, None, None)


@pytest.fixture
def fedaffect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run the command in a folder of its own."""

    def run(*arguments: object) -> Done:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["fedaffect", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture(scope="session")
def mosi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MOSI's layout, filled with constructed vectors whose class shows: features only, so no encoders are needed."""
    folder = tmp_path_factory.mktemp("constructed") / "mosi"
    folder.mkdir()
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, videos, of_each in (("train", 12, 10), ("test", 12, 10)):
        labels = generator.integers(0, 2, videos * of_each)
        for name, width in (("text", 100), ("audio", 73), ("video", 100)):
            values = generator.normal(size=(len(labels), width)).astype(np.float32)
            values[:, :20] += (0.5 * (2 * labels - 1))[:, None]
            arrays[f"{split}_{name}"] = values
        arrays[f"{split}_label"] = labels
        arrays[f"{split}_utt"] = np.array([f"{split}{v}_{i}" for v in range(videos) for i in range(of_each)])
    np.savez(folder / "mosi_aligned.npz", **arrays)
    return folder


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients train in this process."""
    train_in_this_process(monkeypatch)


@pytest.fixture
def simulate_on_ray(fedaffect: Fedaffect, mosi: Path, one_ray: None) -> Fedaffect:
    """``fedaffect simulate`` on the tiny corpus with a tiny model."""

    def run(*arguments: object) -> Done:
        return fedaffect("simulate", "--dataset", "mosi", "--data-dir", mosi, *TINY, *arguments)

    return run


@pytest.fixture
def simulate(fedaffect: Fedaffect, mosi: Path, no_ray: None) -> Fedaffect:
    """The same, but that clients train in this process."""

    def run(*arguments: object) -> Done:
        return fedaffect("simulate", "--dataset", "mosi", "--data-dir", mosi, *TINY, *arguments)

    return run
