"""One answer of two."""

from __future__ import annotations

import numpy as np
import pytest

from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.offload.pooling import pool


def test_the_pool_is_the_weighted_geometric_mean() -> None:
    edge, cloud = np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]]), np.array([[0.3, 0.6, 0.1], [0.1, 0.1, 0.8]])
    wanted = edge**0.25 * cloud**0.75
    np.testing.assert_allclose(pool(edge, cloud, 0.75), wanted / wanted.sum(axis=1, keepdims=True))


def test_the_ends_take_one_answer_alone() -> None:
    edge, cloud = np.array([0.7, 0.2, 0.1]), np.array([0.3, 0.6, 0.1])
    np.testing.assert_array_equal(pool(edge, cloud, 1.0), cloud)
    np.testing.assert_allclose(pool(edge, cloud, 0.0), edge)


def test_one_models_certainty_does_not_silence_the_other() -> None:
    pooled = pool(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), 0.6)
    assert pooled.argmax() == 1
    assert pooled[0] > 0.01
    assert np.isfinite(pooled).all()


def test_an_edge_that_knows_nothing_changes_no_order() -> None:
    cloud = np.random.default_rng(0).dirichlet(np.ones(7), 50)
    pooled = pool(np.full((50, 7), 1 / 7), cloud, 0.6)
    np.testing.assert_array_equal(pooled.argsort(axis=1), cloud.argsort(axis=1))


def test_errors_independent_of_each_other_become_fewer() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 4000)

    def answers() -> np.ndarray:  # type: ignore[type-arg]
        scores = np.exp(2.0 * np.eye(5)[labels] + rng.normal(size=(4000, 5)) * 1.2)
        return scores / scores.sum(axis=1, keepdims=True)

    edge, cloud = answers(), answers()
    right = [float((p.argmax(axis=1) == labels).mean()) for p in (edge, cloud, pool(edge, cloud, 0.5))]
    assert right[2] > max(right[:2]) + 0.03


def test_refused() -> None:
    with pytest.raises(ConfigError, match="lies in"):
        pool(np.ones(3) / 3, np.ones(3) / 3, 1.5)
    with pytest.raises(DataError, match="same classes"):
        pool(np.ones(3) / 3, np.ones(4) / 4)
