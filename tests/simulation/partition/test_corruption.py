"""Missing modalities and wrong labels: at the rate asked for, from the seed, in training rows only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.partition import Partition
from fedaffect.simulation.partition.label_noise import flip_labels, read_matrix, transitions
from fedaffect.simulation.partition.missing import drop_modalities

HELD = 3000
N = 3600


def shares(clients: int = 300) -> Partition:
    rows = np.arange(HELD)
    return Partition.numbered(rows, rows % clients, clients)


def everything() -> dict[str, np.ndarray]:
    return {m: np.ones(N, bool) for m in ("text", "audio", "video")}


def test_a_client_lacks_a_modality_for_all_it_holds_at_the_rate() -> None:
    left = drop_modalities(everything(), shares(), 0.3, seed=1)
    by_client = np.stack([present[:HELD].reshape(-1, 300) for present in left.values()])  # (M, rows, K)
    assert (by_client == by_client[:, :1]).all()
    assert abs((~by_client[:, 0]).mean() - 0.3) < 0.05


@pytest.mark.parametrize("rate", [0.3, 0.9, 1.0])
def test_no_sample_loses_all_and_only_training_rows_change(rate: float) -> None:
    before = everything()
    before["text"][::2] = False  # by nature
    before["video"][::2] = False
    left = drop_modalities(before, shares(), rate, seed=1)
    assert np.any(list(left.values()), axis=0).all()
    assert all((left[m][HELD:] == before[m][HELD:]).all() and not (left[m] & ~before[m]).any() for m in left)
    assert before["audio"].all()  # the argument is untouched


def test_a_client_that_would_lose_everything_keeps_one() -> None:
    left = drop_modalities(everything(), shares(), 1.0, seed=1)
    assert (np.sum([present[:HELD] for present in left.values()], axis=0) == 1).all()
    assert all(present[:HELD].any() for present in left.values())


def test_missing_is_drawn_from_the_seed() -> None:
    a, b, c = (drop_modalities(everything(), shares(), 0.5, seed) for seed in (1, 1, 2))
    assert all((a[m] == b[m]).all() for m in a)
    assert any((a[m] != c[m]).any() for m in a)
    assert all(present.all() for present in drop_modalities(everything(), shares(), 0, 1).values())


def test_one_modality_cannot_go_missing() -> None:
    with pytest.raises(ConfigError, match="two modalities"):
        drop_modalities({"text": np.ones(N, bool)}, shares(), 0.5, 0)


def test_labels_flip_at_the_rate_to_all_other_classes_alike() -> None:
    labels = np.arange(N) % 4
    noisy = flip_labels(labels, np.arange(HELD), 4, 0.4, seed=3)
    wrong = noisy[:HELD] != labels[:HELD]
    assert abs(wrong.mean() - 0.4) < 0.03
    assert (noisy[HELD:] == labels[HELD:]).all()
    shifts = np.bincount((noisy - labels)[:HELD][wrong] % 4, minlength=4)
    assert shifts[0] == 0
    assert shifts[1:].min() > 0.28 * wrong.sum()
    assert (flip_labels(labels, np.arange(HELD), 4, 0.4, 3) == noisy).all()
    assert (flip_labels(labels, np.arange(HELD), 4, 0.4, 4) != noisy).any()
    assert (flip_labels(labels, np.arange(HELD), 4, 1.0, 3)[:HELD] != labels[:HELD]).all()


def test_noise_belongs_to_the_row_not_to_who_else_is_held() -> None:
    labels = np.arange(N) % 4
    few = np.arange(0, HELD, 7)
    assert (flip_labels(labels, few, 4, 0.4, 3)[few] == flip_labels(labels, np.arange(HELD), 4, 0.4, 3)[few]).all()


def test_a_matrix_says_where_labels_go(tmp_path: Path) -> None:
    path = tmp_path / "noise.csv"
    path.write_text("0.9,0.1,0\n0,0,3\n0.5,0.5,0\n")
    matrix = read_matrix(path)
    assert np.allclose(transitions(3, matrix), [[0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]])
    labels = np.arange(N) % 3
    noisy = flip_labels(labels, np.arange(N), 3, 0.5, 0, matrix)
    assert set(noisy[labels == 0]) == {0, 1}
    assert set(noisy[labels == 1]) == {1, 2}
    assert set(noisy[labels == 2]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("text", "why"),
    [("1,1\n1,1\n", "3 classes"), ("0,1,1\n0,5,0\n1,1,0\n", "row 2"), ("0,-1,1\n1,0,1\n1,1,0\n", "negative")],
)
def test_a_matrix_that_does_not_fit_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "noise.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        transitions(3, read_matrix(path))
    path.write_text("a,b\n")
    with pytest.raises(ConfigError, match="--label-noise-matrix"):
        read_matrix(path)
