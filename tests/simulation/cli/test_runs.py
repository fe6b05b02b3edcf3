from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.simulation.cli.conftest import Fedaffect
from tests.support.recorded import answers, recorded_run

from fedaffect.client.figures import FIGURES
from fedaffect.simulation.recorded_run import SWEEP


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    out = tmp_path / "runs"
    recorded_run(out, "one", *answers(200, 0.6, 1), strategy="fedavg")
    recorded_run(out, "two", *answers(200, 0.8, 2), strategy="fedprox")
    for seed in (0, 1, 2):
        recorded_run(out / "swept", f"lr=0.1,seed={seed}", *answers(200, 0.6, seed), seed=seed)
        recorded_run(out / "swept", f"lr=0.2,seed={seed}", *answers(200, 0.61, seed + 5), seed=seed)
    (out / "swept" / SWEEP).write_text("{}")
    return out


def test_list_shows_every_run_those_of_sweeps_too(fedaffect: Fedaffect, runs: Path) -> None:
    done = fedaffect("runs", "list")
    assert done.code == 0, done.err
    for word in ("one", "two", "swept/lr=0.2,seed=2", "synthetic data", "fedprox", "UAR"):
        assert word in done.out
    listed = json.loads(fedaffect("runs", "list", "--json", "--out", runs).out)
    assert len(listed) == 8
    assert listed[0]["name"] == "one"
    assert listed[0]["test"].keys() == set(FIGURES)
    for heading in ("macro precision", "macro recall", "cross-entropy"):
        assert heading in done.out


def test_list_says_what_a_run_differs_in_where_its_name_does_not(fedaffect: Fedaffect, tmp_path: Path) -> None:
    for name in ("mine", "lr0.5-and-8-epochs", None):
        recorded_run(tmp_path / "runs", name, *answers(200, 0.6, 1), lr=0.5, local_epochs=8)  # type: ignore[arg-type]
    rows = {line.split()[1]: line for line in fedaffect("runs", "list").out.splitlines() if "synthetic data" in line}
    assert len(rows) == 3
    said = {name: ("lr0.5" in row.split(name)[1], "local-epochs8" in row.split(name)[1]) for name, row in rows.items()}
    assert said.pop("mine") == (True, True)
    assert said.pop("lr0.5-and-8-epochs") == (False, True)
    assert list(said.values()) == [(False, False)]


def test_an_unfinished_run_is_listed_as_such(fedaffect: Fedaffect, runs: Path) -> None:
    (runs / "one" / "summary.json").unlink()
    assert "4, unfinished" in fedaffect("runs", "list").out
    assert "--resume" in fedaffect("runs", "show", "one").out


def test_show_gives_settings_and_each_label(fedaffect: Fedaffect, runs: Path) -> None:
    done = fedaffect("runs", "show", "one")
    for word in ("fedavg", "batch-size", "sadness", "recall", "best round 3"):
        assert word in done.out
    assert [line for line in done.out.splitlines() if all(f"{name} 0." in line for name in FIGURES.values())]
    shown = json.loads(fedaffect("runs", "show", runs / "one", "--json").out)
    assert shown.keys() == {"config", "summary"}


def test_a_name_is_a_run_before_it_is_a_folder(fedaffect: Fedaffect, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    recorded_run(tmp_path, "three", *answers(200, 0.6, 1))
    assert "fedavg" in fedaffect("runs", "show", "one").out
    assert fedaffect("runs", "show", "./one").code == 2
    assert fedaffect("runs", "show", "three").code == fedaffect("runs", "show", "./three").code == 0


def test_compare_says_plainly_what_it_found(fedaffect: Fedaffect, runs: Path) -> None:
    done = fedaffect("runs", "compare", "one", "two")
    assert done.code == 0, done.err
    for word in ("two minus one", "McNemar exact, seed 0", "bootstrap of owners", "two is better than one by"):
        assert word in done.out
    (compared,) = json.loads(fedaffect("runs", "compare", "swept", "--json").out)
    assert (compared["first"], compared["second"]) == ("lr=0.1", "lr=0.2")
    assert compared["seeds"]["uar"]["seeds"] == [0, 1, 2]
    assert compared["could_be_chance"] is True
    assert "could be chance" in fedaffect("runs", "compare", "swept").out
    assert "never below 0.25" in fedaffect("runs", "compare", "swept").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "three"), ("'three'", "one, swept, two")),
        (("compare", "one"), ("nothing to compare",)),
        (("compare", "one", "none"), ("'none'",)),
        (("list", "--out", "nowhere"), ("nowhere",)),
    ],
)
def test_mistakes_are_one_line(
    fedaffect: Fedaffect, runs: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    done = fedaffect("runs", *arguments)
    assert done.code == 2
    assert done.err.count("\n") == 1
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("file", ["summary.json", "config.toml", "metrics.jsonl"])
def test_a_damaged_run_is_listed_as_such_and_does_not_hide_the_others(
    fedaffect: Fedaffect, runs: Path, file: str
) -> None:
    (runs / "one" / "summary.json").unlink()
    (runs / "one" / file).write_text('{"test": \n')
    done = fedaffect("runs", "list")
    assert done.code == 0, done.err
    assert "damaged" in done.out
    assert "two" in done.out
    assert file in done.err
    assert done.err.count("\n") == 1
    one, *others = json.loads(fedaffect("runs", "list", "--json").out)
    assert (one["name"], one["finished"]) == ("one", False)
    assert file in one["damaged"]
    assert [run["finished"] for run in others] == [True] * 7


def test_a_run_of_a_version_with_fewer_figures_is_listed_as_such(fedaffect: Fedaffect, runs: Path) -> None:
    path = runs / "one" / "summary.json"
    summary = json.loads(path.read_text())
    del summary["test"]["macro_precision"]
    path.write_text(json.dumps(summary))
    done = fedaffect("runs", "list")
    assert done.code == 0, done.err
    assert "another version" in done.err
    assert "two" in done.out
    assert "--overwrite" in fedaffect("runs", "compare", "one", "two").err


def test_what_is_asked_for_by_name_must_be_sound(fedaffect: Fedaffect, runs: Path) -> None:
    (runs / "one" / "summary.json").write_text('{"test": ')
    done = fedaffect("runs", "show", "one")
    assert done.code == 2
    assert "summary.json" in done.err
