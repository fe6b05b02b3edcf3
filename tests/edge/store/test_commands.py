from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fedaffect.edge.cli.edge import edge
from fedaffect.edge.cloud.errors import CloudUnreachable
from fedaffect.edge.cloud.messages import feedback_request
from fedaffect.edge.errors import ConfigError, DataError, FedAffectError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store import Database, ExampleStore, Kind, Queue


def run(*arguments: str, error: type[FedAffectError] | None = None) -> str:
    done = CliRunner().invoke(edge, list(arguments))
    if error is None:
        assert done.exit_code == 0, done.exception
    else:
        assert isinstance(done.exception, error), done.exception
        return str(done.exception)
    return done.output


@pytest.fixture
def filled(data_folder: Path, prediction: Prediction) -> None:
    with Database() as database:
        store = ExampleStore(database)
        for request_id in ("r1", "r2"):
            store.add(request_id, {"audio": np.ones((2, 3))}, {"audio": "key"}, prediction)
        store.label("r1", "sadness", consent=True)
        told = feedback_request(idempotency_key="k1", request_id="r1", label="sadness", consent=True)
        Queue(database).put(Kind.FEEDBACK, told, "k1")


def test_examples_are_listed_exported_and_forgotten(filled: None, tmp_path: Path) -> None:
    assert "sadness" in run("examples", "list")
    (labelled,) = json.loads(run("examples", "list", "--json", "--labelled"))
    assert (labelled["request_id"], labelled["label"], labelled["consent"]) == ("r1", "sadness", True)
    assert "2 examples" in run("examples", "export", str(tmp_path / "mine.npz"))
    assert "no example r9" in run("examples", "forget", "r1", "r9", "--yes", error=DataError)
    assert "1 examples forgotten" in run("examples", "forget", "r1", "--yes")
    assert "1 examples forgotten" in run("examples", "forget", "2", "--yes")
    assert json.loads(run("examples", "list", "--json")) == []
    assert json.loads(run("queue", "list", "--json"))["entries"] == []


def test_forget_asks_first_and_wants_to_know_what(filled: None) -> None:
    assert CliRunner().invoke(edge, ["examples", "forget", "--all"], input="n\n").exit_code != 0
    assert len(json.loads(run("examples", "list", "--json"))) == 2
    assert "--older-than 30d" in run("examples", "forget", "--yes", error=ConfigError)
    assert "no age" in run("examples", "forget", "--older-than", "soon", "--yes", error=ConfigError)
    assert "0 examples" in run("examples", "forget", "--older-than", "1d", "--yes")
    assert "2 examples" in run("examples", "forget", "--all", "--yes")


def test_the_export_is_named_for_what_it_is(filled: None, tmp_path: Path) -> None:
    assert "mine.npz" in run("examples", "export", str(tmp_path / "mine.zip"), error=ConfigError)


def test_the_queue_is_listed_and_cleared(filled: None) -> None:
    assert "feedback" in run("queue", "list")
    (entry,) = json.loads(run("queue", "list", "--json"))["entries"]
    assert (entry["kind"], entry["idempotency_key"], entry["attempts"]) == ("feedback", "k1", 0)
    assert "0 entries" in run("queue", "clear", "--kind", "prediction", "--yes")
    assert "1 entries" in run("queue", "clear", "--yes")


@pytest.mark.slow
def test_sending_to_nobody_keeps_what_waits(filled: None) -> None:
    assert "no way to the cloud" in run("queue", "send", "--cloud", "http://127.0.0.1:9", error=CloudUnreachable)
    (entry,) = json.loads(run("queue", "list", "--json"))["entries"]
    assert entry["attempts"] == 1
    assert "no way to the cloud" in entry["last_error"]


def test_the_last_answer_is_right_or_was_something_else(filled: None) -> None:
    said = run("feedback", "--last", "joy", "--consent")
    assert "labelled joy, may be learned from" in said
    assert "of the answer" in said
    told = json.loads(run("feedback", "--last", "joy", "--consent", "--json"))
    assert (told["request_id"], told["label"], told["consent"], told["notes"]) == ("r2", "joy", True, [])
    with Database() as database:
        found = {example.request_id: (example.label, example.consent) for example in ExampleStore(database).examples()}
    assert found == {"r1": ("sadness", True), "r2": ("joy", True)}
    answered = json.loads(run("examples", "list", "--json"))[0]["predicted"]
    assert f"labelled {answered}, may not" in run("feedback", "r1", "--right")
    assert "give REQUEST (or --last) and LABEL (or --right), not 1" in run("feedback", "r1", error=ConfigError)
    assert "give neither REQUEST nor LABEL, not 1" in run("feedback", "--last", "--right", "joy", error=ConfigError)
    assert "no example 'r9'" in run("feedback", "r9", "--right", error=DataError)


def test_without_an_answer_that_was_kept_there_is_no_last_one(data_folder: Path) -> None:
    assert "predict --keep" in run("feedback", "--last", "joy", error=DataError)
