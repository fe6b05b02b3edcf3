"""What a runtime remembers by itself, and that it reaches the cloud once, over a network that fails."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from tests.edge.runtime.test_cascade import LABELS, UNSURE, Counting
from tests.support.relay import Network, relay_to

from fedaffect.edge import EdgeRuntime, Prediction, Sample
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.cloud import connect
from fedaffect.edge.cloud.messages import predict_request
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.offload import OffloadConfig, OffloadPolicy
from fedaffect.edge.runtime.probes import drawn_frames, probe_sample, spoken
from fedaffect.edge.store import Database, Journal, Kind, Queue, Sender
from fedaffect.server.registry import Registry
from fedaffect.server.registry.tables import FeedbackRow
from fedaffect.server.serving.app import background

NOBODY = "http://127.0.0.1:9"
SAD = Sample(id="a", text="i am sad")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry.open(f"sqlite:///{tmp_path}/registry.sqlite3")
    yield opened
    opened.close()


def opened(
    bundle: Bundle, journal: Journal, address: str | None = None, privacy: str = "features", **about: Any
) -> EdgeRuntime:
    cloud = None if address is None else connect(address)
    config = about.pop("config", UNSURE)
    return EdgeRuntime.load(
        bundle, cloud=cloud, policy=OffloadPolicy(config), privacy=privacy, journal=journal, **about
    )


def until(done: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
    """Far longer than it takes, for a busy machine."""
    for _ in range(600):
        if done():
            return
        meanwhile()
        time.sleep(0.1)
    raise AssertionError("it did not happen within a minute")


def entries() -> list[tuple[str, str]]:
    with Database() as database:
        return [(str(entry.kind), entry.request_id) for entry in Queue(database).entries()]


@pytest.mark.parametrize("privacy", ["features", "raw"])
def test_everything_arrives_once_when_the_cloud_is_back(
    answering_bundle: Bundle, registry: Registry, privacy: str
) -> None:
    engine, late = Counting(), list[tuple[str, Prediction]]()
    journal = Journal(keep_examples=True, upload_examples=True, defer_predictions=True)
    with (
        background(engine, registry=registry) as server,
        relay_to(server.rest_url) as relay,
        opened(
            answering_bundle,
            journal,
            f"http://127.0.0.1:{relay.port}",
            privacy,
            on_late_answer=lambda request_id, answer: late.append((request_id, answer)),
        ) as runtime,
    ):
        answer = runtime.predict(probe_sample())
        assert (answer.source, answer.offload_reason) == ("edge", "cloud-failed")
        assert answer.notes[-1] == "the cloud is asked later"
        receipt = runtime.feedback(answer.request_id, "sadness", consent=True)
        assert (receipt.labelled, receipt.queued) == (True, (Kind.FEEDBACK, Kind.EXAMPLE))
        assert len(journal.queue.entries()) == 3

        relay.network = Network.LOSSY
        until(lambda: relay.lost >= 3, runtime.deliver_now)
        relay.network = Network.THROUGH
        until(lambda: not journal.queue.entries() and bool(late), runtime.deliver_now)
        assert journal.queue.dropped() == {}
    assert len(engine.asked) == 1
    assert [(request_id, a.label, a.request_id) for request_id, a in late] == [
        (answer.request_id, LABELS[2], answer.request_id)
    ]
    with registry.reading() as session:
        told = list(session.scalars(select(FeedbackRow).where(FeedbackRow.consent)))
    assert {f.idempotency_key for f in told} == {f"{answer.request_id}.{kind}.1" for kind in ("feedback", "example")}
    assert [f.label for f in told] == ["sadness", "sadness"]
    assert sorted(bool(f.features) for f in told) == [False, True]


@pytest.mark.parametrize("privacy", ["features", "raw"])
def test_an_answer_lost_on_the_way_is_had_later_without_being_computed_again(
    answering_bundle: Bundle, privacy: str
) -> None:
    engine, late = Counting(), list[tuple[str, Prediction]]()
    journal = Journal(defer_predictions=True)
    with (
        background(engine) as server,
        relay_to(server.rest_url) as relay,
        opened(
            answering_bundle,
            journal,
            f"http://127.0.0.1:{relay.port}",
            privacy,
            on_late_answer=lambda request_id, answer: late.append((request_id, answer)),
        ) as runtime,
    ):
        relay.network = Network.LOSSY
        answer = runtime.predict(probe_sample())
        assert answer.offload_reason == "cloud-failed"
        assert len(engine.asked) == 1
        relay.network = Network.THROUGH
        until(lambda: bool(late), runtime.deliver_now)
        assert journal.queue.entries() == []
    assert [request_id for request_id, _ in late] == [answer.request_id]
    assert len(engine.asked) == 1


def test_what_waited_through_a_restart_is_delivered_by_the_next_runtime(
    answering_bundle: Bundle, registry: Registry
) -> None:
    with opened(answering_bundle, Journal(defer_predictions=True), NOBODY) as runtime:
        answer = runtime.predict(SAD)
    assert entries() == [("prediction", answer.request_id)]
    engine = Counting()
    with (
        background(engine, registry=registry) as server,
        opened(answering_bundle, Journal(), server.rest_url) as runtime,
    ):
        late: dict[str, Prediction] = {}
        until(lambda: bool(late), lambda: (runtime.deliver_now(), late.update(runtime.late_answers())))
        assert runtime.late_answers() == {}
    assert {request_id: a.source for request_id, a in late.items()} == {answer.request_id: "cloud"}


def test_a_late_answer_is_offered_until_it_is_taken(answering_bundle: Bundle) -> None:
    with opened(answering_bundle, Journal(defer_predictions=True), NOBODY) as runtime:
        answer = runtime.predict(SAD)
    offered: list[str] = []

    def take(request_id: str, late: Prediction) -> None:
        offered.append(request_id)
        if len(offered) == 1:
            raise RuntimeError("the app was not ready")

    with (
        background(Counting()) as server,
        opened(answering_bundle, Journal(), server.rest_url, on_late_answer=take) as runtime,
    ):
        until(lambda: len(offered) >= 2, runtime.deliver_now)
        until(lambda: not runtime.late_answers())
    assert offered == [answer.request_id] * 2


def test_the_clouds_own_answer_goes_under_the_same_request_id(answering_bundle: Bundle) -> None:
    journal = Journal(keep_examples=True, defer_predictions=True)
    with background(Counting()) as server, opened(answering_bundle, journal, server.rest_url) as runtime:
        answer = runtime.predict(SAD, deadline_ms=60_000)
        assert answer.source == "cloud"
        example = journal.examples.find(answer.request_id)
        assert journal.queue.entries() == []
    assert example is not None
    assert (example.predicted, example.model_version) == (LABELS[2], "counting-1")


def test_nothing_is_kept_or_waits_unless_asked_for(answering_bundle: Bundle) -> None:
    with opened(answering_bundle, journal := Journal(), NOBODY) as runtime:
        answer = runtime.predict(SAD)
        assert answer.offload_reason == "cloud-failed"
        assert journal.examples.examples() == []
        assert journal.queue.entries() == []
    assert len(answer.request_id) == 32
    assert answer.to_json()["request_id"] == answer.request_id


def test_each_call_has_its_own_request_id(runtime: EdgeRuntime) -> None:
    assert len({runtime.predict(SAD).request_id for _ in range(5)}) == 5


def test_never_lets_nothing_wait(answering_bundle: Bundle, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "own" / "device.sqlite3", defer_predictions=True, upload_examples=True)
    with opened(answering_bundle, journal, NOBODY, "never") as runtime:
        answer = runtime.predict(SAD)
        assert answer.offload_reason == "privacy"
        assert journal.queue.entries() == []
        with pytest.raises(DataError, match="no example"):
            runtime.feedback(answer.request_id, "joy", consent=True)
        half = next(iter(runtime.features(SAD).values())).astype("<f2").tobytes()
    written = b"".join(file.read_bytes() for file in (tmp_path / "own").iterdir())
    assert half not in written
    assert b"i am sad" not in written


def test_with_features_no_words_wait(answering_bundle: Bundle) -> None:
    journal = Journal(defer_predictions=True)
    with opened(answering_bundle, journal, NOBODY) as runtime:
        runtime.predict(SAD)
        (entry,) = journal.queue.entries()
    assert b"i am sad" not in entry.payload
    assert set(entry.message().features) == {"text"}


def test_media_that_waited_are_not_sent_once_privacy_is_tighter(answering_bundle: Bundle) -> None:
    with Database() as database:
        queue = Queue(database)
        queue.put(Kind.PREDICTION, predict_request(SAD, request_id="r1"), "r1")
        with background(engine := Counting()) as server:
            cloud = connect(server.rest_url)
            sent = Sender(queue, cloud, "features").drain()
            cloud.close()
        assert (sent.refused, engine.asked) == (1, [])
        assert "privacy 'features'" in queue.entries()[0].last_error
        with pytest.raises(ConfigError, match="privacy 'never'"):
            Sender(queue, cloud, "never")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (OffloadConfig(thresholds={"default": 0.0}), "confident"),
        (OffloadConfig(thresholds={"default": 1.1}, calls_per_minute=0), "budget"),
    ],
)
def test_what_the_cloud_was_not_wanted_for_does_not_wait(
    answering_bundle: Bundle, config: OffloadConfig, reason: str
) -> None:
    journal = Journal(defer_predictions=True)
    with opened(answering_bundle, journal, NOBODY, config=config) as runtime:
        assert runtime.predict(SAD).offload_reason == reason
        assert journal.queue.entries() == []


def test_what_no_deadline_leaves_time_for_waits(answering_bundle: Bundle) -> None:
    journal = Journal(defer_predictions=True)
    slow = OffloadConfig(thresholds={"default": 1.1}, expected_round_trip_ms=1e9)
    with opened(answering_bundle, journal, NOBODY, config=slow) as runtime:
        answer = runtime.predict(SAD, deadline_ms=60_000)
        assert answer.offload_reason == "deadline"
        assert [entry.request_id for entry in journal.queue.entries()] == [answer.request_id]


def test_a_refused_question_does_not_wait(answering_bundle: Bundle) -> None:
    journal = Journal(defer_predictions=True)
    with (
        background(Counting()) as server,
        opened(answering_bundle, journal, server.rest_url + "/elsewhere") as runtime,
    ):
        answer = runtime.predict(SAD)
        assert "refuses" in answer.notes[-1]
        assert journal.queue.entries() == []


def _no_folder(path: Path) -> None:
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.write_text("a file in the way")


def _damaged(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all\n" * 100)


@pytest.mark.parametrize("spoil", [_no_folder, _damaged])
def test_a_store_that_cannot_be_written_costs_a_note(
    answering_bundle: Bundle, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "spoilt" / "device.sqlite3"
    spoil(path)
    journal = Journal(path, keep_examples=True, defer_predictions=True)
    with opened(answering_bundle, journal, NOBODY) as runtime:
        answer = runtime.predict(SAD)
    assert answer.source == "edge"
    assert sum("it is not kept as an example: " in note for note in answer.notes) == 1
    assert sum("the cloud is not asked later either: " in note for note in answer.notes) == 1
    with EdgeRuntime.load(answering_bundle) as alone:
        assert answer.probabilities == alone.predict(SAD).probabilities


def test_a_store_that_another_process_holds_costs_a_note(answering_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "held.sqlite3"
    Database(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal = Journal(path, keep_examples=True)
    with opened(answering_bundle, journal) as runtime:
        assert "another process" in runtime.predict(SAD).notes[-1]
        other.execute("ROLLBACK")
        other.close()
        assert runtime.predict(SAD).notes == ()


def test_of_a_stream_a_window_a_stride_is_kept_and_only_where_asked(answering_bundle: Bundle, tmp_path: Path) -> None:
    for stride_s, kept in ((None, 0), (2.0, 3)):
        journal = Journal(
            tmp_path / f"{kept}.sqlite3", keep_examples=True, defer_predictions=True, stream_stride_s=stride_s
        )
        with opened(answering_bundle, journal, NOBODY) as runtime:
            answers = list(runtime.stream(drawn_frames(8.0), spoken(8.0), "i am sad"))
            examples = journal.examples.examples()
            assert journal.queue.entries() == []
        assert len(examples) == kept
        by_request = {a.request_id: a for a in answers}
        assert len(by_request) == len(answers) == 11
        assert all(e.predicted == by_request[e.request_id].label for e in examples)


def test_features_beyond_half_precision_are_kept_within_it(
    answering_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(answering_bundle, journal := Journal(keep_examples=True)) as runtime:
        text = runtime._current().encoders["text"]
        monkeypatch.setattr(text, "encode", lambda batch: [np.full((2, text.width), 1e6, np.float32) for _ in batch])
        answer = runtime.predict(SAD)
        (example,) = journal.examples.examples()
        assert answer.notes == ()
        assert journal.examples.features(example.id)["text"].max() == np.finfo(np.float16).max


def test_feedback_for_asyncio_and_without_a_journal(answering_bundle: Bundle, runtime: EdgeRuntime) -> None:
    with opened(answering_bundle, Journal(keep_examples=True)) as remembering:
        answer = remembering.predict(SAD)
        receipt = asyncio.run(remembering.afeedback(answer.request_id, "joy", consent=True))
        assert receipt.labelled
        with pytest.raises(ConfigError, match="did you mean 'joy'"):
            remembering.feedback(answer.request_id, "joyy")
    with pytest.raises(ConfigError, match=r"closed.*load"):
        remembering.feedback(answer.request_id, "joy")
    for call in (lambda: runtime.feedback("r", "joy"), runtime.late_answers, runtime.deliver_now):
        with pytest.raises(ConfigError, match="journal=Journal"):
            call()
    with pytest.raises(ConfigError, match="journal"):
        EdgeRuntime.load(answering_bundle, on_late_answer=lambda request_id, answer: None)
