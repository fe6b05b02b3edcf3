import math
from itertools import combinations, pairwise
from pathlib import Path

import pytest
import torch

from fedaffect.client.privacy.noise import grid
from fedaffect.server.federation.privacy.tree import TreeNoise, covering_nodes, noise_key, tree_sensitivity
from fedaffect.server.federation.selection import choose_in_turn, choose_poisson


def rounds_under(node: int) -> set[int]:
    """The rounds that a Fenwick node sums."""
    return set(range(node - (node & -node) + 1, node + 1))


@pytest.mark.parametrize("rounds", [1, 2, 5, 8, 13])
def test_nodes_cover_each_prefix_once(rounds: int) -> None:
    for prefix in range(1, rounds + 1):
        covered = [r for node in covering_nodes(prefix) for r in rounds_under(node)]
        assert sorted(covered) == list(range(1, prefix + 1))


def test_the_sensitivity_bounds_every_way_to_take_part() -> None:
    """Against all subsets of rounds: one client adds a unit vector to each node over each of its rounds."""
    rounds = 12
    for k, separation in ((1, 1), (2, 1), (3, 1), (3, 4), (4, 3)):
        bound = tree_sensitivity(rounds, k, separation)
        worst = 0.0
        for chosen in combinations(range(1, rounds + 1), k):
            if any(b - a < separation for a, b in pairwise(chosen)):
                continue
            squares = sum(len(rounds_under(node) & set(chosen)) ** 2 for node in range(1, rounds + 1))
            worst = max(worst, math.sqrt(squares))
        assert worst <= bound + 1e-9
        assert bound <= 1.6 * worst, "a bound that is far too loose would cost utility"


def test_increments_add_up_to_the_noise_of_the_prefix() -> None:
    tree = TreeNoise(bytes(32))
    g = grid(1.0, 1.0, 50)
    total = torch.zeros(50)
    for round in range(1, 12):
        total += tree.increment(round, 50, g)
        expected = sum((tree._node(node, 50, g) for node in covering_nodes(round)), torch.zeros(50))
        assert torch.equal(total, expected)


def test_noise_grows_with_the_logarithm_of_rounds_only() -> None:
    tree, g = TreeNoise(bytes(32)), grid(1.0, 1.0, 20_000)
    total = torch.zeros(20_000)
    for round in range(1, 17):
        total += tree.increment(round, 20_000, g)
    # Round 16 is one node; sixteen independent noises would have a deviation of 4.
    assert float((total * g.unit).std()) == pytest.approx(1.0, rel=0.05)


def test_the_key_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    key = noise_key(tmp_path / "noise.key")
    assert len(key) == 32
    assert noise_key(tmp_path / "noise.key") == key
    assert (tmp_path / "noise.key").stat().st_mode & 0o077 == 0
    assert noise_key(tmp_path / "other.key") != key


@pytest.mark.parametrize(("known", "wanted", "rounds"), [(10, 3, 20), (7, 7, 3), (86, 9, 100), (5, 4, 9)])
def test_taking_turns_keeps_count_and_distance(known: int, wanted: int, rounds: int) -> None:
    when: dict[int, list[int]] = {k: [] for k in range(known)}
    for number in range(1, rounds + 1):
        chosen = choose_in_turn(known, wanted, 3, number)
        assert len(set(chosen)) == wanted
        for client in chosen:
            when[client].append(number)
    assert max(map(len, when.values())) <= math.ceil(rounds * wanted / known)
    gaps = [b - a for numbers in when.values() for a, b in pairwise(numbers)]
    assert not gaps or min(gaps) >= known // wanted


def test_poisson_takes_each_by_itself() -> None:
    import numpy as np

    assert choose_poisson(np.array([0.1, 0.5, 0.2]), 0.25) == (0, 2)
    assert choose_poisson(np.array([0.9]), 0.25) == ()
