from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.edge.store.conftest import Wall

from fedaffect.edge.cloud.messages import feedback_request, predict_request
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import Sample
from fedaffect.edge.store import Database, Kind, Queue, QueueFull, QueueLimits

DAY_S = 86_400.0


def feedback(key: str, rows: int = 0) -> pb.FeedbackRequest:
    features = {"audio": np.ones((rows, 50))} if rows else None
    return feedback_request(
        idempotency_key=key,
        request_id=f"of-{key}",
        label="joy",
        consent=True,
        features=features,
        encoder_keys={"audio": "a"},
    )


def deferred(key: str) -> pb.PredictRequest:
    return predict_request(Sample(id=key, text="so happy"), request_id=key)


def keys(queue: Queue) -> list[str]:
    return [entry.idempotency_key for entry in queue.entries()]


def test_what_was_put_is_there_after_the_file_was_closed(data_folder: Path) -> None:
    with Database() as first:
        assert Queue(first).put(Kind.FEEDBACK, feedback("a", rows=3), "a")
    with Database() as second:
        (entry,) = Queue(second).lease()
        assert entry.message() == feedback("a", rows=3)
        assert (entry.kind, entry.request_id) == (Kind.FEEDBACK, "of-a")


def test_a_key_waits_once(database: Database) -> None:
    queue = Queue(database)
    assert queue.put("feedback", feedback("a"), "a")
    assert not queue.put("feedback", feedback("a"), "a")
    assert keys(queue) == ["a"]
    queue.delivered(queue.lease()[0])
    assert queue.put("feedback", feedback("a"), "a")


def test_a_payload_of_another_kind_is_refused(database: Database) -> None:
    with pytest.raises(ConfigError, match="PredictRequest"):
        Queue(database).put(Kind.PREDICTION, feedback("a"), "a")


def test_a_leased_entry_is_nobody_elses_until_its_sender_is_late(database: Database, wall: Wall) -> None:
    queue = Queue(database, wall_clock=wall)
    queue.put(Kind.FEEDBACK, feedback("a"), "a")
    (entry,) = queue.lease()
    assert entry.attempts == 0
    wall.now_s += 60
    assert queue.lease() == []
    wall.now_s += 61
    (again,) = queue.lease()
    assert (again.idempotency_key, again.attempts) == ("a", 1)


def test_a_postponed_entry_waits_longer_each_time_and_never_for_ever(database: Database, wall: Wall) -> None:
    queue = Queue(database, wall_clock=wall)
    queue.put(Kind.FEEDBACK, feedback("a"), "a")
    for _ in range(14):
        (entry,) = queue.lease()
        queue.postponed(entry, "no network", at_least_s=10.0)
        (waiting,) = queue.entries()
        assert 10.0 <= waiting.due_in_s <= 10.0 + min(3600.0, 5.0 * 2.0**entry.attempts)
        assert waiting.last_error == "no network"
        wall.now_s += waiting.due_in_s + 1e-3


def test_all_due_now_when_the_network_is_back(database: Database, wall: Wall) -> None:
    queue = Queue(database, wall_clock=wall)
    queue.put(Kind.FEEDBACK, feedback("a"), "a")
    queue.postponed(queue.lease()[0], "no network", at_least_s=3000.0)
    assert queue.lease() == []
    assert queue.retry_now() == 1
    assert [entry.idempotency_key for entry in queue.lease()] == ["a"]


def test_too_old_is_dropped_and_counted(database: Database, wall: Wall) -> None:
    queue = Queue(database, QueueLimits(age_s=3 * DAY_S), wall_clock=wall)
    queue.put(Kind.FEEDBACK, feedback("a"), "a")
    wall.now_s += 2 * DAY_S
    queue.put(Kind.FEEDBACK, feedback("b"), "b")
    wall.now_s += 2 * DAY_S
    # A look drops nothing.
    assert keys(queue) == ["a", "b"]
    assert [entry.idempotency_key for entry in queue.lease()] == ["b"]
    assert keys(queue) == ["b"]
    assert queue.dropped() == {"age": 1}


@pytest.mark.parametrize("jump_s", [-50 * 365 * DAY_S, -1.0, 56 * 365 * DAY_S])
def test_a_clock_that_jumps_neither_loses_nor_sticks_an_entry(database: Database, wall: Wall, jump_s: float) -> None:
    queue = Queue(database, QueueLimits(age_s=30 * DAY_S), wall_clock=wall)
    for key in ("fresh", "leased", "postponed"):
        queue.put(Kind.FEEDBACK, feedback(key), key)
        wall.now_s += 1
    by_key = {entry.idempotency_key: entry for entry in queue.lease()}
    queue.postponed(by_key["postponed"], "no network")
    queue.put(Kind.FEEDBACK, feedback("new"), "new")
    wall.now_s += jump_s
    assert keys(queue) == ["fresh", "leased", "postponed", "new"]
    seen: set[str] = set()
    for _ in range(3):
        wall.now_s += 3600
        for entry in queue.lease():
            seen.add(entry.idempotency_key)
            queue.delivered(entry)
    assert seen == {"fresh", "leased", "postponed", "new"}


def test_age_is_still_counted_after_the_clock_was_set_back(database: Database, wall: Wall) -> None:
    queue = Queue(database, QueueLimits(age_s=3 * DAY_S), wall_clock=wall)
    queue.put(Kind.FEEDBACK, feedback("a"), "a")
    wall.now_s -= 365 * DAY_S
    assert keys(queue) == ["a"]
    for _ in range(4):
        wall.now_s += DAY_S
        queue.retry_now()
    assert keys(queue) == []


def test_a_full_queue_lets_go_of_what_is_worth_least(database: Database) -> None:
    queue = Queue(database, QueueLimits(entries=4))
    queue.put(Kind.FEEDBACK, feedback("f1"), "f1")
    queue.put(Kind.EXAMPLE, feedback("e1"), "e1")
    queue.put(Kind.PREDICTION, deferred("p1"), "p1")
    queue.put(Kind.PREDICTION, deferred("p2"), "p2")
    (refused,) = (entry for entry in queue.entries() if entry.idempotency_key == "f1")
    queue.refused(refused, "unknown request")
    queue.put(Kind.PREDICTION, deferred("p3"), "p3")
    assert keys(queue) == ["e1", "p1", "p2", "p3"]
    queue.put(Kind.FEEDBACK, feedback("f2"), "f2")
    assert keys(queue) == ["e1", "p2", "p3", "f2"]
    for key in ("f3", "f4", "f5"):
        queue.put(Kind.FEEDBACK, feedback(key), key)
    assert keys(queue) == ["f2", "f3", "f4", "f5"]
    with pytest.raises(QueueFull, match="worth more than a prediction"):
        queue.put(Kind.PREDICTION, deferred("p4"), "p4")
    queue.put(Kind.FEEDBACK, feedback("f6"), "f6")
    assert keys(queue) == ["f3", "f4", "f5", "f6"]
    assert queue.dropped() == {"refused": 1, "full": 5}


def test_bytes_are_bounded_and_what_cannot_fit_is_told(database: Database) -> None:
    size = len(feedback("a", rows=10).SerializeToString())
    queue = Queue(database, QueueLimits(size_bytes=3 * size + 10))
    for key in "abcd":
        queue.put(Kind.EXAMPLE, feedback(key, rows=10), key)
    assert keys(queue) == ["b", "c", "d"]
    with pytest.raises(QueueFull, match="more than the whole queue"):
        queue.put(Kind.EXAMPLE, feedback("e", rows=100), "e")
    assert keys(queue) == ["b", "c", "d"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(list(Kind)), st.integers(0, 40), st.sampled_from(["put", "lease", "done", "refuse"])),
        max_size=14,
    )
)
def test_whatever_happens_the_bounds_hold_and_no_feedback_goes_before_the_rest(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Kind, int, str]]
) -> None:
    limits = QueueLimits(entries=5, size_bytes=9_000)
    with Database(tmp_path_factory.mktemp("queue") / "device.sqlite3") as opened:
        queue = Queue(opened, limits)
        put, delivered = Counter[str](), 0
        for number, (kind, rows, step) in enumerate(steps):
            before = queue.entries()
            if step == "put":
                key = f"k{number}"
                payload = deferred(key) if kind is Kind.PREDICTION else feedback(key, rows=rows)
                try:
                    put[kind] += queue.put(kind, payload, key)
                except QueueFull:
                    assert queue.entries() != []
                lost = {entry.id for entry in before} - {entry.id for entry in queue.entries()}
                if any(e.id in lost and e.kind is Kind.FEEDBACK and not e.refused for e in before):
                    assert all(e.kind is Kind.FEEDBACK for e in queue.entries())
            else:
                for entry in queue.lease(1):
                    if step == "done":
                        queue.delivered(entry)
                        delivered += 1
                    elif step == "refuse":
                        queue.refused(entry, "no")
            held = queue.entries()
            assert len(held) <= limits.entries
            assert sum(entry.size_bytes for entry in held) <= limits.size_bytes
        # Nothing vanishes without being counted.
        assert put.total() == delivered + sum(queue.dropped().values()) + len(queue.entries())


def test_an_answer_is_kept_with_the_delivery_and_given_once(database: Database, prediction: Prediction) -> None:
    queue = Queue(database)
    queue.put(Kind.PREDICTION, deferred("p"), "p")
    queue.delivered(queue.lease()[0], prediction)
    assert queue.entries() == []
    assert queue.take_answers() == {"p": prediction}
    assert queue.take_answers() == {}


def test_clear_takes_one_kind_or_all_and_leaves_no_bytes(database: Database, data_folder: Path) -> None:
    queue = Queue(database)
    queue.put(Kind.PREDICTION, predict_request(Sample(id="p", text="my secret words"), request_id="p"), "p")
    queue.put(Kind.FEEDBACK, feedback("f"), "f")
    assert any(b"my secret words" in file.read_bytes() for file in data_folder.iterdir())
    assert queue.clear(Kind.PREDICTION) == 1
    assert keys(queue) == ["f"]
    assert not any(b"my secret words" in file.read_bytes() for file in data_folder.iterdir())
    assert queue.clear() == 1


def test_threads_share_one_queue_and_no_entry_is_leased_twice(database: Database) -> None:
    queue = Queue(database)
    for number in range(12):
        queue.put(Kind.FEEDBACK, feedback(f"k{number}"), f"k{number}")
    leased: list[str] = []

    def work() -> None:
        while entries := queue.lease(2):
            leased.extend(entry.idempotency_key for entry in entries)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(leased) == sorted(f"k{number}" for number in range(12))


# Says what it put only once it is put, and delivers every third.
WRITER = """
import sys
from fedaffect.edge.cloud.messages import feedback_request
from fedaffect.edge.store import Database, Kind, Queue

queue = Queue(Database())
for number in range(100_000):
    key = f"{sys.argv[1]}-{number}"
    queue.put(Kind.FEEDBACK, feedback_request(idempotency_key=key, request_id=key, label="joy", consent=False), key)
    sys.stdout.write(f"put {key}\\n")
    sys.stdout.flush()
    if number % 3 == 2:
        (entry,) = queue.lease(1)
        sys.stdout.write(f"sending {entry.idempotency_key}\\n")
        sys.stdout.flush()
        queue.delivered(entry)
        sys.stdout.write(f"delivered {entry.idempotency_key}\\n")
        sys.stdout.flush()
"""


@pytest.mark.slow
def test_a_kill_at_any_instant_loses_nothing_that_was_put(data_folder: Path) -> None:
    put: set[str] = set()
    sending: set[str] = set()
    delivered: set[str] = set()
    for life in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, f"life{life}"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert writer.stdout is not None
        said = [writer.stdout.readline()]
        # A different instant each time; what it had said until then counts.
        time.sleep(0.05 * (life + 1))
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        for what, _, key in (line.strip().partition(" ") for line in said if line.endswith("\n")):
            {"put": put, "sending": sending, "delivered": delivered}[what].add(key)
    with Database() as opened:
        assert opened.rows("PRAGMA integrity_check") == [("ok",)]
        waiting = set(keys(Queue(opened)))
    assert len(put) >= 3
    # What was under way when it died may or may not have been taken off; all else that was put waits.
    assert put - sending <= waiting
    assert not delivered & waiting
