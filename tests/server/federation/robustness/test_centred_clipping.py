"""The robust mean itself: what it leaves alone, and how far anybody can pull it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.in_process_grid import InProcessGrid

from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.strategies.centred_clipping import bucket_means, centred_clip
from fedaffect.server.federation.strategies.registry import build_strategy


def updates(seed: int, clients: int = 9, size: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clients, size, generator=generator) + 1.0


def test_within_the_radius_it_is_the_mean() -> None:
    some = updates(0)
    torch.testing.assert_close(centred_clip(some, radius=1e3, iterations=1), some.mean(0), rtol=1e-5, atol=1e-5)


@given(st.integers(0, 1_000), st.floats(1.0, 1e6))
def test_two_of_nine_cannot_pull_it_away_however_hard(seed: int, force: float) -> None:
    honest = updates(seed)
    attacked = honest.clone()
    attacked[:2] = -force * honest[:2]
    usual = float((honest - honest.mean(0)).norm(dim=1).median())
    moved = float((centred_clip(attacked, 0.0, 3) - honest.mean(0)).norm())
    assert moved < usual
    if force > 100:
        assert float((attacked.mean(0) - honest.mean(0)).norm()) > 10 * usual


@pytest.mark.parametrize("force", [4.0, 1e6])
def test_who_is_furthest_can_be_left_out_altogether(force: float) -> None:
    honest = updates(3, clients=10)
    attacked = honest.clone()
    attacked[:3] = -force * honest[:3]
    with_drop, without = (centred_clip(attacked, 0.0, 3, drop) for drop in (0.3, 0.0))
    truth = honest[3:].mean(0)
    assert float((with_drop - truth).norm()) < 0.5 * float((without - truth).norm())


def test_buckets_are_disjoint_cover_everybody_and_keep_the_mean() -> None:
    some = updates(1, clients=8)
    means = bucket_means(some, 2, np.random.default_rng(0))
    assert means.shape == (4, 40)
    torch.testing.assert_close(means.mean(0), some.mean(0), rtol=1e-5, atol=1e-5)
    other = bucket_means(some, 2, np.random.default_rng(1))
    assert not torch.equal(means.sort(0).values, other.sort(0).values)
    assert bucket_means(some, 1, np.random.default_rng(0)) is some
    assert len(bucket_means(updates(1, clients=9), 2, np.random.default_rng(0))) == 5


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_arrays(cohort_folder: Path, config_of: Callable[..., RunSettings]) -> None:
    settings = {"strategy": "centred-clipping", "rounds": 3, "clients_per_round": 5}

    def last(folder: RunFolder) -> dict[str, bytes]:
        return {name: array.tobytes() for name, array in folder.checkpoints.load(3).arrays.items()}

    whole = RunFolder.create(config_of(name="whole", **settings))
    run_federation(InProcessGrid(6), whole.config, cohort_folder, whole)
    parts = RunFolder.create(config_of(name="parts", **{**settings, "rounds": 1}))
    run_federation(InProcessGrid(6), parts.config, cohort_folder, parts)
    config = config_of(name="parts", **settings)
    run_federation(InProcessGrid(6), config, cohort_folder, RunFolder.open(parts.path), resume=True)
    assert last(whole) == last(parts)


@pytest.mark.parametrize("iterations", [1, 5])
def test_nobody_differs_nothing_moves(iterations: int) -> None:
    same = torch.ones(4, 3)
    torch.testing.assert_close(centred_clip(same, 0.0, iterations), same[0])


def test_half_or_more_cannot_be_left_out() -> None:
    with pytest.raises(ConfigError, match="less than half"):
        build_strategy(RunSettings.of(strategy="centred-clipping", strategy_options={"drop": 0.5}), 8)
