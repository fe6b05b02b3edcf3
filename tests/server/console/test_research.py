"""Run folders of simulations as pages see them: listed, live, compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.support.console_pages import ConsolePage, refusal
from tests.support.recorded import LABELS, recorded_run
from tests.support.small_engine import SmallEngine

from fedaffect.server.console.mounting import console_beside
from fedaffect.server.registry import Registry
from fedaffect.server.serving.app import background
from fedaffect.simulation.comparison.compare import compare, sides_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("research") / "runs"
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(LABELS), 240)
    for name, right in (("good", 0.9), ("bad", 0.3)):
        predicted = np.where(rng.random(240) < right, labels, rng.integers(0, len(LABELS), 240))
        recorded_run(folder, name, labels, predicted, dataset="synthetic", rounds=4)
    (folder / "broken").mkdir()
    (folder / "broken" / "config.toml").write_text("[data]\ndataset = 3\n")
    (folder.parent / "outside").mkdir()
    shutil.copytree(folder / "good", folder.parent / "outside" / "secret")
    return folder


@pytest.fixture(scope="module")
def page(runs: Path) -> Iterator[ConsolePage]:
    with (
        Registry.open(f"sqlite:///{runs.parent / 'server.db'}") as registry,
        background(SmallEngine(), registry=registry, mounting=console_beside(runs)) as server,
        ConsolePage(server.rest_url) as opened,
    ):
        yield opened


def test_runs_are_listed_and_shown(page: ConsolePage) -> None:
    listed = {each["name"]: each for each in page.get("/research").json()["runs"]}
    assert set(listed) == {"bad", "broken", "good"}
    assert listed["broken"]["damaged"]
    assert listed["good"]["finished"]
    assert listed["good"]["test"]["uar"] > listed["bad"]["test"]["uar"]
    shown = page.get("/research/run", name="good").json()
    assert [each["round"] for each in shown["rounds"]] == [1, 2, 3, 4]
    assert shown["rounds"][2]["dev"]["uar"] == pytest.approx(0.6)
    assert set(shown["per_class"]) == set(LABELS)
    assert shown["settings"]["dataset"] == "synthetic"


def test_two_are_compared_as_the_command_compares_them(page: ConsolePage, runs: Path) -> None:
    (found,) = page.post("/research/compare", {"runs": ["good", "bad"]}).json()["comparisons"]
    (wanted,) = compare([*sides_of(runs / "good"), *sides_of(runs / "bad")])
    assert found["verdict"] == wanted.verdict()
    assert len(found["rows"][0]) == len(found["headings"])
    alone = page.post("/research/compare", {"runs": ["good"]})
    assert refusal(alone) == (422, "InvalidRequest")
    assert "nothing to compare with" in alone.json()["error"]["message"]


@pytest.mark.parametrize("name", ["../outside/secret", "/etc", "", ".", "good/../../outside/secret", "none\0"])
def test_nothing_outside_the_folder_is_read(page: ConsolePage, name: str) -> None:
    assert page.get("/research/run", name=name).status_code == 422
    assert page.post("/research/compare", {"runs": ["good", name]}).status_code == 422


def test_rounds_are_told_as_they_are_written(page: ConsolePage, runs: Path) -> None:
    growing = runs / "growing"
    try:
        with page.events("/research/events") as events:
            assert next(events).kind == "open"
            shutil.copytree(runs / "good", growing, ignore=shutil.ignore_patterns("summary.json", "predictions.npz"))
            assert next(events).kind == "runs"
            with (growing / "metrics.jsonl").open("a") as file:
                line = {"round": 5, "clients": 8, "failures": 0, "train_loss": 0.1, "dev": {"uar": float("nan")}}
                file.write(json.dumps(line) + "\n")
            told = next(events)
            assert (told.kind, told.data["run"], told.data["before"], told.data["finished"]) == (
                "rounds",
                "growing",
                4,
                False,
            )
            assert [each["round"] for each in told.data["rounds"]] == [5]
            assert told.data["rounds"][0]["dev"] is None
            shutil.copy(runs / "good" / "summary.json", growing)
            assert next(events).data["finished"] is True
    finally:
        shutil.rmtree(growing)


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    with (
        Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry,
        background(SmallEngine(), registry=registry, mounting=console_beside(tmp_path / "none")) as server,
        ConsolePage(server.rest_url) as page,
    ):
        listed = page.get("/research").json()
        assert listed["runs"] == []
        assert "fedaffect simulate" in listed["problem"]
        with page.events("/research/events") as events:
            assert next(events).kind == "open"
