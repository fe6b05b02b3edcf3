from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedaffect.simulation.grid.schedule import chunks_by_cost


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=200), st.integers(1, 8), st.none() | st.integers(1, 9))
def test_every_client_once_and_heavy_ones_first(costs: list[int], workers: int, most: int | None) -> None:
    chunks = chunks_by_cost(range(len(costs)), costs, workers, most)
    flat = [client for chunk in chunks for client in chunk]
    assert sorted(flat) == list(range(len(costs)))
    assert [costs[c] for c in flat] == sorted(costs, reverse=True)
    assert most is None or max(len(chunk) for chunk in chunks) <= most


@given(st.lists(st.integers(1, 100), min_size=32, max_size=300), st.integers(1, 4))
def test_taking_chunks_when_free_ends_within_a_third_of_the_bound(costs: list[int], workers: int) -> None:
    finished = [0.0] * workers
    for chunk in chunks_by_cost(range(len(costs)), costs, workers):
        first = min(range(workers), key=finished.__getitem__)
        finished[first] += sum(costs[client] for client in chunk)
    assert max(finished) <= 4 / 3 * max(sum(costs) / workers, max(costs)) + 1


def test_few_calls_for_many_equal_clients() -> None:
    assert len(chunks_by_cost(range(1000), [32.0] * 1000, workers=2)) <= 32


@given(st.integers(1, 300), st.integers(1, 4), st.integers(2, 64))
def test_chunks_for_cohorts_fill_them_and_leave_no_worker_without(items: int, workers: int, least: int) -> None:
    chunks = chunks_by_cost(range(items), [32.0] * items, workers, least=least)
    assert sum(len(chunk) for chunk in chunks) == items
    assert len(chunks) >= min(items, workers) or items < 2 * workers
    assert all(len(chunk) >= min(least, items // workers) for chunk in chunks[:-1])
