from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedaffect.edge.cloud.messages import predict_request
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import Sample, Waveform
from fedaffect.edge.store import Journal, Kind, QueueLimits, StoreError

KEYS = {"audio": "key-of-audio"}
FEATURES = {"audio": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture
def answer(prediction: Prediction) -> Prediction:
    return replace(prediction, request_id="r1")


@pytest.fixture
def journal() -> Iterator[Journal]:
    opened = Journal(keep_examples=True, upload_examples=True, defer_predictions=True)
    yield opened
    opened.close()


def waiting(journal: Journal) -> list[tuple[Kind, str]]:
    return [(entry.kind, entry.idempotency_key) for entry in journal.queue.entries()]


def deliver(journal: Journal) -> None:
    for entry in journal.queue.lease():
        journal.queue.delivered(entry)


def test_nothing_is_opened_before_it_is_needed(data_folder: Path) -> None:
    Journal().close()
    assert not data_folder.exists()


def test_consented_feedback_labels_the_example_and_lets_it_travel(journal: Journal, answer: Prediction) -> None:
    journal.keep(answer, FEATURES, KEYS)
    receipt = journal.feedback("r1", "sadness", consent=True, privacy="features")
    assert (receipt.labelled, receipt.queued, receipt.notes) == (True, (Kind.FEEDBACK, Kind.EXAMPLE), ())
    (example,) = journal.examples.examples()
    assert (example.label, example.consent) == ("sadness", True)
    told, shown = (entry.message() for entry in journal.queue.entries())
    assert (told.label, told.consent, told.model_version, len(told.features)) == ("sadness", True, "bundle-1", 0)
    assert shown.features["audio"].encoder_key == "key-of-audio"
    assert np.array_equal(np.frombuffer(shown.features["audio"].values, "<f2").reshape(2, 3), FEATURES["audio"])


@pytest.mark.parametrize(("consent", "upload"), [(False, True), (True, False)])
def test_features_travel_only_with_consent_and_where_asked_for(answer: Prediction, consent: bool, upload: bool) -> None:
    journal = Journal(keep_examples=True, upload_examples=upload)
    journal.keep(answer, FEATURES, KEYS)
    assert journal.feedback("r1", "joy", consent=consent, privacy="raw").queued == (Kind.FEEDBACK,)
    assert [len(entry.message().features) for entry in journal.queue.entries()] == [0]
    journal.close()


def test_never_means_that_only_the_device_knows(journal: Journal, answer: Prediction) -> None:
    journal.keep(answer, FEATURES, KEYS)
    assert journal.feedback("r1", "joy", consent=True).queued == ()
    assert journal.examples.examples()[0].label == "joy"
    assert waiting(journal) == []
    with pytest.raises(DataError, match="no example 'r2'"):
        journal.feedback("r2", "joy")


def test_what_is_not_kept_can_still_be_told(journal: Journal) -> None:
    receipt = journal.feedback("elsewhere", "joy", consent=True, privacy="features")
    assert (receipt.labelled, receipt.queued) == (False, (Kind.FEEDBACK,))
    assert "no example of request elsewhere" in receipt.notes[0]


def test_said_again_it_is_the_same_and_said_otherwise_it_is_news(journal: Journal, answer: Prediction) -> None:
    journal.keep(answer, FEATURES, KEYS)

    def say(label: str) -> list[str]:
        journal.feedback("r1", label, privacy="features")
        keys = [entry.idempotency_key for entry in journal.queue.entries()]
        deliver(journal)
        return keys

    assert [say("joy"), say("joy"), say("anger"), say("joy")] == [
        ["r1.feedback.1"],
        ["r1.feedback.1"],
        ["r1.feedback.2"],
        ["r1.feedback.3"],
    ]


def test_the_last_word_takes_back_what_still_waits(journal: Journal, answer: Prediction) -> None:
    journal.keep(answer, FEATURES, KEYS)
    journal.feedback("r1", "joy", consent=True, privacy="features")
    assert len(waiting(journal)) == 2
    journal.feedback("r1", "joy", consent=False, privacy="features")
    assert waiting(journal) == [(Kind.FEEDBACK, "r1.feedback.2")]
    journal.feedback("r1", "joy", consent=False, privacy="never")
    assert waiting(journal) == []


def test_a_question_waits_once(journal: Journal) -> None:
    request = predict_request(Sample(id="a", text="so happy"), request_id="r1")
    assert journal.defer(request)
    assert not journal.defer(request)
    assert waiting(journal) == [(Kind.PREDICTION, "r1.prediction")]


def test_mistakes_change_nothing(journal: Journal, answer: Prediction) -> None:
    journal.keep(answer, FEATURES, KEYS)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"request_id": "r1", "label": "joi"}, "did you mean 'joy'"),
        ({"request_id": "r1", "label": "joy", "privacy": "some"}, "unknown privacy"),
        ({"request_id": "my words\n", "label": "joy", "privacy": "raw"}, "request id|idempotency key"),
    ]
    for about, says in wrong:
        with pytest.raises(ConfigError, match=says):
            journal.feedback(**about)
    assert journal.examples.examples()[0].label is None
    assert waiting(journal) == []


def test_an_example_too_many_costs_nothing_but_itself(answer: Prediction) -> None:
    journal = Journal(keep_examples=True, upload_examples=True, limits=QueueLimits(size_bytes=200))
    journal.keep(answer, {"audio": np.ones((40, 30), np.float32)}, KEYS)
    receipt = journal.feedback("r1", "joy", consent=True, privacy="features")
    assert receipt.queued == (Kind.FEEDBACK,)
    assert "does not travel" in receipt.notes[0]
    assert waiting(journal) == [(Kind.FEEDBACK, "r1.feedback.1")]
    journal.close()


def test_media_are_kept_only_where_the_user_asked(journal: Journal, answer: Prediction, tmp_path: Path) -> None:
    sample = Sample(id="a", text="so happy", audio=Waveform(np.zeros(160, np.float32), 16_000))
    id = journal.keep(answer, FEATURES, KEYS, sample)
    assert journal.examples.media(id) == {}
    asked = Journal(tmp_path / "asked.sqlite3", keep_examples=True, keep_media=True)
    id = asked.keep(answer, FEATURES, KEYS, sample)
    media = asked.examples.media(id)
    assert media["text"] == b"so happy"
    assert media["audio"].startswith(b"fLaC")
    asked.close()


def test_what_was_said_is_forgotten_with_the_example(journal: Journal, answer: Prediction, data_folder: Path) -> None:
    journal.keep(replace(answer, request_id="secret-request"), FEATURES, KEYS)
    journal.feedback("secret-request", "joy", consent=True, privacy="features")
    assert journal.examples.forget(["secret-request"]) == 1
    assert waiting(journal) == []
    assert not any(b"secret-request" in file.read_bytes() for file in data_folder.iterdir())


@pytest.mark.parametrize(
    "asked",
    [
        {"keep_media": True},
        {"stream_stride_s": 3.0},
        {"keep_examples": True, "stream_stride_s": 0.0},
        {"keep_examples": True, "stream_stride_s": float("nan")},
    ],
)
def test_what_cannot_be_kept_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Journal(**asked)


def test_a_journal_that_could_not_be_opened_is_tried_again(tmp_path: Path, answer: Prediction) -> None:
    in_the_way = tmp_path / "folder"
    in_the_way.write_text("")
    journal = Journal(in_the_way / "device.sqlite3", keep_examples=True)
    with pytest.raises(StoreError, match="cannot be opened"):
        journal.keep(answer, FEATURES, KEYS)
    in_the_way.unlink()
    journal.keep(answer, FEATURES, KEYS)
    assert journal.examples.find("r1") is not None
    assert journal.examples.find("r2") is None
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        journal.keep(answer, FEATURES, KEYS)


def test_a_file_that_another_process_holds_keeps_nobody_for_long(
    journal: Journal, answer: Prediction, data_folder: Path
) -> None:
    journal.keep(answer, FEATURES, KEYS)
    other = sqlite3.connect(data_folder / "device.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another process"):
        journal.feedback("r1", "joy")
    other.execute("ROLLBACK")
    other.close()
    assert journal.feedback("r1", "joy").labelled
