"""Who is next and what it costs: properties of the queue and the budget, without clocks or threads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.server.serving.scheduling.budget import BatchBudget, CostModel
from fedaffect.server.serving.scheduling.fair_queue import FairQueue, Waiting

CLIENTS = ("ana", "ben", "cem")
requests = st.lists(
    st.tuples(st.sampled_from(CLIENTS), st.floats(0, 100), st.floats(0.001, 10)), min_size=1, max_size=60
)


def drained(queue: FairQueue[int]) -> list[Waiting[int]]:
    out = []
    while (waiting := queue.pop()) is not None:
        out.append(waiting)
    return out


@settings(deadline=None)
@given(requests)
def test_everyone_comes_out_once_and_each_client_by_deadline(asked: list[tuple[str, float, float]]) -> None:
    queue: FairQueue[int] = FairQueue()
    for number, (client, deadline_s, cost_s) in enumerate(asked):
        queue.push(Waiting(number, client, deadline_s, cost_s))
    assert len(queue) == len(asked)
    assert queue.backlog_s == pytest.approx(sum(cost for _, _, cost in asked))
    out = drained(queue)
    assert sorted(waiting.item for waiting in out) == list(range(len(asked)))
    for client in CLIENTS:
        mine = [(waiting.deadline_s, waiting.item) for waiting in out if waiting.client == client]
        assert mine == sorted(mine)
    assert len(queue) == 0
    assert queue.backlog_s == 0


@settings(deadline=None)
@given(requests, st.data())
def test_who_leaves_from_the_middle_is_never_served(asked: list[tuple[str, float, float]], data: st.DataObject) -> None:
    queue: FairQueue[int] = FairQueue()
    entered = [Waiting(number, client, at, cost) for number, (client, at, cost) in enumerate(asked)]
    for waiting in entered:
        queue.push(waiting)
    gone = data.draw(st.sets(st.integers(0, len(asked) - 1)))
    for number in gone:
        assert queue.discard(entered[number])
        assert not queue.discard(entered[number])
    assert len(queue) == len(asked) - len(gone)
    for client in CLIENTS:
        mine_s = sum(w.cost_s for w in entered if w.client == client and w.item not in gone)
        assert queue.client_backlog_s(client) == pytest.approx(mine_s, abs=1e-6)
    assert {waiting.item for waiting in drained(queue)} == set(range(len(asked))) - gone


@settings(deadline=None)
@given(st.floats(0.5, 4), st.lists(st.floats(0.1, 1), min_size=80, max_size=80))
def test_compute_is_shared_by_weight_among_those_who_always_wait(weight: float, costs: list[float]) -> None:
    queue: FairQueue[int] = FairQueue({"ana": weight})
    for number, cost_s in enumerate(costs):
        queue.push(Waiting(number, "ana" if number % 2 else "ben", 1.0, cost_s))
    had = {"ana": 0.0, "ben": 0.0}
    while queue.client_backlog_s("ana") > 0 and queue.client_backlog_s("ben") > 0:
        waiting = queue.pop()
        assert waiting is not None
        had[waiting.client] += waiting.cost_s
    # Start-time fair queueing: never further apart than a request of each (Goyal, Vin and Cheng, 1996).
    assert abs(had["ana"] / weight - had["ben"]) <= 1 / weight + 1 + 1e-6


def test_one_request_does_not_wait_for_a_crowd() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.push(Waiting(f"crowd {number}", "crowd", 1.0, 1.0))
    assert [queue.pop().item for _ in range(5)] == [f"crowd {n}" for n in range(5)]  # type: ignore[union-attr]
    queue.push(Waiting("lone", "lone", 50.0, 1.0))
    assert "lone" in [queue.pop().item for _ in range(2)]  # type: ignore[union-attr]


def test_asking_one_by_one_earns_no_more_than_a_share() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(50):
        queue.push(Waiting(f"{number}", "crowd", 1.0, 1.0))
    served = []
    for _ in range(20):
        # The one comes again before anybody else is chosen.
        if queue.client_backlog_s("one") == 0:
            queue.push(Waiting("one", "one", 0.0, 1.0))
        served.append(queue.pop().client)  # type: ignore[union-attr]
    assert 9 <= served.count("one") <= 11


def test_the_last_of_whoever_has_most_gives_way() -> None:
    queue: FairQueue[str] = FairQueue()
    assert queue.heaviest() is None
    queue.push(Waiting("a", "ana", 1.0, 5.0))
    for name, deadline_s in (("b1", 1.0), ("b2", 3.0), ("b3", 2.0)):
        queue.push(Waiting(name, "ben", deadline_s, 2.0))
    heaviest = queue.heaviest()
    assert heaviest is not None
    assert heaviest.item == "b2"


def test_a_line_does_not_keep_what_left_it() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.push(Waiting(0, "ana", 0.0, 1.0))
    for number in range(1000):
        waiting = Waiting(number, "ana", 1.0 + number, 1.0)
        queue.push(waiting)
        queue.discard(waiting)
    assert len(queue._lines["ana"].heap) < 40


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-4, 1e-2), st.floats(1e-4, 1e-2), st.lists(st.integers(1, 200), min_size=40, max_size=40))
def test_costs_are_learned_by_modality(text_s: float, audio_s: float, lengths: list[int]) -> None:
    costs = CostModel()
    assert not costs.known
    assert costs.estimate_s({"text": 10}) == 0
    for number, length in enumerate(lengths):
        kind, rate = ("text", text_s) if number % 2 else ("audio", audio_s)
        costs.observe({kind: length}, {kind: rate * length}, 1)
    assert costs.estimate_s({"text": 7, "audio": 11}) == pytest.approx(7 * text_s + 11 * audio_s)
    # One that was never seen is taken for an average request.
    assert costs.estimate_s({"text": 7, "video": 3}) == pytest.approx(7 * text_s + costs.request_s)


@pytest.mark.parametrize(("fixed_s", "each_s", "least", "most"), [(0.0, 1.0, 1, 1), (1.0, 0.02, 16, 32)])
def test_the_budget_finds_whether_batches_pay(fixed_s: float, each_s: float, least: int, most: int) -> None:
    budget = BatchBudget(32)
    for _ in range(1500):
        size = budget.next_size(waiting=64)
        budget.observe(size, size * (fixed_s + each_s), fixed_s + each_s * size)
    assert least <= budget.size <= most


def test_the_budget_does_not_try_what_the_queue_cannot_fill() -> None:
    budget = BatchBudget(32)
    assert {budget.next_size(waiting=1) for _ in range(100)} == {1}
