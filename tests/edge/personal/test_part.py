"""Answers that follow what was said of answers before, on a device with its own file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.edge.conftest import LABELS, Maker
from tests.edge.store.test_commands import run

from fedaffect.edge import EdgeRuntime
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.personal import newer_than
from fedaffect.edge.store import Database, ExampleStore, Journal, default_path

WORDS = tuple(
    f"i {do} {so}" for do in ("am", "am so", "did", "think", "am really") for so in ("happy", "sad", "so", "today")
)


@pytest.fixture(scope="module")
def folder(make_bundle: Maker) -> Path:
    return make_bundle()


@pytest.fixture
def bundle(folder: Path) -> Bundle:
    return Bundle.load(folder, trust=None)


@pytest.fixture
def runtime(bundle: Bundle) -> Iterator[EdgeRuntime]:
    with EdgeRuntime.load(bundle, journal=Journal(keep_examples=True), personal=True) as runtime:
        yield runtime


def correct_all(runtime: EdgeRuntime, *, consent: bool = True) -> str:
    """Say of every answer but one that it was the same other one; which."""
    meant = LABELS.labels[-1]
    for words in WORDS:
        label = meant if words != WORDS[0] else LABELS.labels[0]
        runtime.feedback(runtime.predict(words).request_id, label, consent=consent)
    return meant


def is_personal(runtime: EdgeRuntime) -> bool:
    return any("personal" in note for note in runtime.predict("you think so").notes)


def test_answers_follow_corrections_until_they_are_forgotten(runtime: EdgeRuntime) -> None:
    before = runtime.predict("you think so")
    meant = correct_all(runtime)
    after = runtime.predict("you think so")
    assert after.probabilities[meant] > before.probabilities[meant]
    assert after.notes[-1] == f"personal: by {len(WORDS)} answers that were labelled here"
    assert sum(after.probabilities.values()) == pytest.approx(1)
    with Database() as database:
        ExampleStore(database).forget([], everything=True)
    again = runtime.predict("you think so")
    assert again.probabilities == before.probabilities
    assert again.notes == before.notes


def test_only_what_may_be_learned_from_counts(runtime: EdgeRuntime) -> None:
    correct_all(runtime, consent=False)
    assert not is_personal(runtime)
    correct_all(runtime)
    assert is_personal(runtime)


def test_nothing_of_it_is_written_down(runtime: EdgeRuntime) -> None:
    correct_all(runtime)
    before = tables()
    assert is_personal(runtime)
    runtime.predict("you think so")
    after = tables()
    for name in {*after} - {"examples", "features", "clock", "sqlite_sequence"}:
        assert after[name] == before[name]


def tables() -> dict[str, list[object]]:
    connection = sqlite3.connect(f"file:{default_path()}?mode=ro", uri=True)
    try:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    finally:
        connection.close()


def test_a_stream_is_personal_too_and_another_bundle_learns_anew(runtime: EdgeRuntime, make_bundle: Maker) -> None:
    correct_all(runtime)
    (answer,) = runtime.stream(text="you think so")
    assert any("personal" in note for note in answer.notes)
    runtime.swap(Bundle.load(make_bundle(seed=1), trust=None))
    other = EdgeRuntime.load(runtime.bundle, personal=True)
    with other:
        assert other.predict("you think so").probabilities == runtime.predict("you think so").probabilities


def test_what_the_encoders_cannot_judge_stays_as_it_is(runtime: EdgeRuntime) -> None:
    before = runtime.predict("somebody ran")
    correct_all(runtime)
    after = runtime.predict("somebody ran")
    assert any("unknown" in note for note in after.notes)
    assert (after.probabilities, after.notes) == (before.probabilities, before.notes)


def test_it_is_off_unless_asked_for(bundle: Bundle, runtime: EdgeRuntime) -> None:
    correct_all(runtime)
    with EdgeRuntime.load(bundle) as shared, EdgeRuntime.load(bundle, personal=True) as personal:
        assert not is_personal(shared)
        assert is_personal(personal)


def test_a_device_without_a_file_gets_none(bundle: Bundle) -> None:
    with EdgeRuntime.load(bundle, personal=True) as runtime:
        assert not is_personal(runtime)
    assert not default_path().exists()


def test_a_file_that_cannot_be_read_costs_no_answer(bundle: Bundle) -> None:
    default_path().parent.mkdir(parents=True, exist_ok=True)
    default_path().write_bytes(b"no database at all, and long enough to be looked at" * 40)
    with EdgeRuntime.load(bundle, personal=True) as runtime:
        answer = runtime.predict("you think so")
    assert np.isfinite(list(answer.probabilities.values())).all()
    assert any("nothing is personal" in note for note in answer.notes)


def test_show_and_reset(runtime: EdgeRuntime, folder: Path) -> None:
    show = ("personal", "show", "--bundle", str(folder), "--allow-unsigned")
    assert "0 labelled examples" in run(*show)
    meant = correct_all(runtime)
    said = run(*show)
    assert f"from {len(WORDS)} labels" in said
    assert meant in said
    facts = json.loads(run(*show, "--json"))
    assert facts["used"]
    assert facts["labels"] == sum(facts["said_for"][meant].values()) + 1 == len(WORDS)
    assert "begins again" in run("personal", "reset", "--yes")
    assert "0 labelled examples" in run(*show)
    assert not is_personal(runtime)
    with Database() as database:
        assert newer_than(database) == len(WORDS)
        assert len(ExampleStore(database).examples()) > len(WORDS)
    correct_all(runtime)
    assert is_personal(runtime)
