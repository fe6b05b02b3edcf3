"""``fedaffect.simulate`` and ``open_run``: names and objects, one run and several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.simulation.cli.conftest import no_ray, one_ray  # noqa: F401 - fixtures
from tests.support.own_plugins import PLAIN, STILL, Notes, Unmoved, double_model, mean_model, pairs
from torch import nn

import fedaffect
from fedaffect.edge.errors import ConfigError, RunError
from fedaffect.server import RoundRecord, StrategyEntry
from fedaffect.simulation import Partition, RecordedRun, Rows

SMALL: dict[str, Any] = {
    "model_options": {"width": 16, "heads": 2, "feedforward": 32},
    **{"rounds": 2, "clients_per_round": 4, "batch_size": 8, "lr": 0.01, "actors": 1, "progress": False},
}


on_ray = pytest.mark.usefixtures("one_ray")
here = pytest.mark.usefixtures("no_ray")
# Ray and Flower's engine let the garbage collector close their processes.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Flower's engine ends the Ray of the fixture; the workers of the next one find these tests' plug-ins too.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))


@pytest.fixture(scope="module")
def own(one_ray: None, tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:  # noqa: F811
    given: dict[str, Any] = {**SMALL, "model_options": {}, "clients_per_round": 2}
    out = tmp_path_factory.mktemp("own") / "runs"
    return fedaffect.simulate(
        dataset=Notes(), strategy=PLAIN, model=mean_model, partition=pairs, out=out, name="own", **given
    )


@here
def test_a_run_hands_back_all_that_it_left(tmp_path: Path) -> None:
    seen: list[RoundRecord] = []
    run = fedaffect.simulate(dataset=Notes, on_round=seen.append, name="first", **SMALL)
    assert [record.round for record in seen] == [line["round"] for line in run.rounds] == [1, 2]
    assert run.folder.resolve() == tmp_path / "runs" / "first"
    assert run.report.stat().st_size > 0
    assert run.summary is not None
    # The corpus says its own modalities and labels.
    assert (run.config.data.modalities, run.config.data.labels) == (("text",), "shared4")
    predictions = run.predictions
    assert predictions is not None
    share = float(np.mean(predictions.labels == predictions.predicted))
    assert share == pytest.approx(run.summary["test"]["accuracy"])
    arrays = run.checkpoint(1).arrays
    model = run.model(1)
    assert not model.training
    for name, parameter in model.named_parameters():
        assert np.array_equal(parameter.detach().numpy(), arrays[name])
    best = dict(run.model().named_parameters())
    assert all(
        np.array_equal(best[n].detach().numpy(), a) for n, a in run.checkpoint(run.summary["best_round"]).arrays.items()
    )
    assert fedaffect.open_run("first").summary == fedaffect.open_run(run.folder).summary == run.summary
    with pytest.raises(RunError, match="round 9 has no checkpoint"):
        run.checkpoint(9)
    with pytest.raises(RunError, match=r"frist' is not a run folder.*did you mean 'first'\?"):
        fedaffect.open_run("frist")


def test_a_model_whose_layers_train_one_client_at_a_time_is_refused_in_cohorts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'mfer' has GRU layers.*leave --cohort-size out"):
        fedaffect.simulate(dataset=Notes, model="mfer", cohort_size=4, name="refused", **{**SMALL, "model_options": {}})
    assert not (tmp_path / "runs" / "refused").exists()


@on_ray
def test_objects_take_part_and_stand_in_the_settings(own: RecordedRun) -> None:
    assert own.summary is not None
    assert own.summary["clients"] == 2
    assert own.summary["trainable_parameters"] == 6 * 4 + 4
    assert own.config.federation.strategy == "@tests.support.own_plugins.build_plain"
    assert own.config.model.model == "@tests.support.own_plugins.mean_model"
    assert (own.config.data.dataset, own.config.data.partition) == ("@notes", "@tests.support.own_plugins.pairs")
    with torch.no_grad():
        scores = own.model()({"text": torch.zeros(5, 3, 6)}, {"text": torch.ones(5, 3, dtype=torch.bool)})
    assert scores.shape == (5, 4)


@on_ray
def test_a_run_with_objects_goes_on_only_with_them(own: RecordedRun) -> None:
    again: dict[str, Any] = {"resume": own.folder, "progress": False}
    with pytest.raises(ConfigError, match="is a Python object that the run was given; pass the object again"):
        fedaffect.simulate(**again)
    run = fedaffect.simulate(dataset=Notes(), strategy=PLAIN, model=mean_model, partition=pairs, **again)
    assert run.rounds == own.rounds
    with pytest.raises(ConfigError, match="mean_model is a Python object"):
        fedaffect.open_run(own.folder).model()
    assert isinstance(fedaffect.open_run(own.folder, model=mean_model).model(), nn.Module)


@on_ray
def test_a_strategy_brings_its_own_local_algorithm() -> None:
    run = fedaffect.simulate(
        dataset=Notes, strategy=STILL, algorithm=Unmoved, optimizer="sgd", weight_decay=0.0, name="still", **SMALL
    )
    first, second = run.checkpoint(1).arrays, run.checkpoint(2).arrays
    assert all(np.allclose(first[name], second[name]) for name in first)


@here
def test_seeds_and_folds_give_each_run(tmp_path: Path) -> None:
    swept = fedaffect.simulate(dataset=Notes, seeds=(0, 1), name="both", **{**SMALL, "rounds": 1})
    assert list(swept.runs) == ["seed=0", "seed=1"]
    values = [run.summary["test"]["uar"] for run in swept.runs.values() if run.summary]
    assert swept.groups[0]["test"]["uar"]["mean"] == pytest.approx(np.mean(values))
    run = fedaffect.simulate(dataset=Notes, folds=3, name="crossed", **{**SMALL, "rounds": 1, "clients_per_round": 2})
    assert len(run.folds) == 3
    assert run.predictions is not None
    with pytest.raises(RunError, match=r"3 folds.*\.folds\[0\]"):
        run.model()
    assert isinstance(run.folds[1].model(), nn.Module)


def _not_a_partition(rows: Rows, seed: int) -> Any:
    return {"everybody": rows.training}


def _too_few_scores(widths: Any, num_classes: int) -> nn.Module:
    return mean_model(widths, num_classes - 1)


def _no_strategy(options: Any, config: Any, clients: int) -> Any:
    return "fedavg"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"partition": _not_a_partition}, "returns a dict; return Partition.of_clients"),
        ({"model": _too_few_scores}, r"gives \(2, 3\) of torch.float32; .* float32 scores \(2, 4\)"),
        ({"model": double_model}, "has parameters of torch.float64"),
        ({"strategy": StrategyEntry(_no_strategy)}, "builds a str, not a flwr"),
        ({"strategy": PLAIN.build}, "given as strategy is not a StrategyEntry"),
        ({"dataset": 7}, "given as corpus is not a class with an 'info'"),
        ({"rounds": "many"}, "rounds"),
        ({"on_round": 5}, "on_round is called with each round, and 5 cannot be"),
        ({"seeds": 5}, "seeds is a list of whole numbers, not 5"),
        ({"sweep": 5}, "sweep gives each setting a list of values"),
        ({"sweep": {"lr": 0.1}}, "sweep gives each setting a list of values"),
    ],
)
def test_what_is_wrong_with_an_object_is_said(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fedaffect.simulate(**{"dataset": Notes, **SMALL, "model_options": {}, "name": "wrong", **given})
    assert not Path("runs/wrong").exists()


def _of(rows: Rows, held: list[int], sizes: list[int], excluded: Any = ()) -> Partition:
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    names = tuple(f"client {k}" for k in range(len(sizes)))
    return Partition(names, offsets, np.array(held, np.int64), np.array(excluded, np.int64))


@pytest.mark.parametrize(
    ("divide", "words"),
    [
        (
            lambda rows, seed: _of(rows, [*rows.training[:2], rows.training[0]], [2, 1]),
            "1 rows to more than one client",
        ),
        (lambda rows, seed: _of(rows, list(rows.of_split("test")[:2]), [1, 1]), "2 rows that are not for training"),
        (lambda rows, seed: _of(rows, list(rows.training[:2]), [2, 0]), "1 of 2 clients would hold no"),
        (lambda rows, seed: _of(rows, list(rows.training[:3]), [1, 1]), "offsets run from 0 to 2 for 3 rows"),
        (lambda rows, seed: _of(rows, list(rows.training[:2][::-1]), [2]), "holds its rows in no order"),
        (lambda rows, seed: _of(rows, [0], [1], [0]), "excludes 1 rows of neither dev nor test"),
    ],
)
def test_a_partition_that_is_none_is_refused_by_what_is_wrong(divide: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fedaffect.simulate(**{"dataset": Notes, **SMALL, "model_options": {}, "partition": divide, "name": "wrong"})


@here
def test_another_division_under_the_same_name_makes_another_cohort() -> None:
    def divider(parts: int) -> Any:
        def divide(rows: Rows, seed: int) -> Partition:
            return Partition.numbered(rows.training, np.arange(len(rows.training)) % parts, parts)

        return divide

    clients = []
    for parts in (2, 3):
        settings = {**SMALL, "clients_per_round": 2, "rounds": 1}
        run = fedaffect.simulate(dataset=Notes, partition=divider(parts), name=f"in-{parts}", **settings)
        clients.append((run.summary or {})["clients"])
    assert clients == [2, 3]


@pytest.mark.parametrize("run", [5, None, "", " ", b"run", "no such run", "a\0b"])
def test_what_is_no_run_is_said_to_be_none(tmp_path: Path, run: Any) -> None:
    with pytest.raises(RunError, match=r"a run is its folder or its name|is not a run folder"):
        fedaffect.open_run(run, out=tmp_path)


@on_ray
def test_both_engines_give_objects_the_same_arrays(own: RecordedRun) -> None:
    # Last, as Flower's engine ends the Ray of the fixture: each run after it would start one.
    settings: dict[str, Any] = {**SMALL, "model_options": {}, "clients_per_round": 2, "engine": "flower"}
    given: dict[str, Any] = {"dataset": Notes(), "strategy": PLAIN, "model": mean_model, "partition": pairs}
    other = fedaffect.simulate(**given, **settings, name="flower")
    for name, array in own.checkpoint(2).arrays.items():
        assert np.array_equal(array, other.checkpoint(2).arrays[name])
