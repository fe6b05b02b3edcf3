import numpy as np
import pytest

from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.selection import choose_clients


def test_the_same_seed_and_round_give_the_same_clients_whatever_came_before() -> None:
    rounds = [choose_clients(50, 5, seed=3, round_number=r) for r in range(1, 6)]
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    assert choose_clients(50, 5, seed=3, round_number=4) == rounds[3]
    assert len(set(rounds)) == 5
    assert choose_clients(50, 5, seed=4, round_number=4) != rounds[3]


def test_clients_are_distinct_ascending_and_all_of_them_if_all_are_wanted() -> None:
    chosen = choose_clients(100, 30, seed=0, round_number=1)
    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) == 30
    assert choose_clients(7, 7, seed=0, round_number=1) == tuple(range(7))


def test_everybody_is_chosen_equally_often() -> None:
    counts = np.bincount([k for r in range(1, 2001) for k in choose_clients(10, 3, 0, r)], minlength=10)
    # 2000 rounds x 3/10, standard deviation about 20.
    assert np.abs(counts - 600).max() < 100


def test_more_than_there_are() -> None:
    with pytest.raises(ConfigError, match="4 clients a round are more than the 3"):
        choose_clients(3, 4, 0, 1)
