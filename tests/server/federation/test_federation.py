"""Whole runs over real client code, in one process."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flwr.app import Context, Message, RecordDict
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.app import app
from fedaffect.client.cohort import Cohort
from fedaffect.client.state_store import StateFolder
from fedaffect.client.update import ClientState
from fedaffect.client.wire import ARRAYS, CONTROL, METRICS, SERVER_ROUND
from fedaffect.edge.cli.cache import cache
from fedaffect.edge.errors import ConfigError, FedAffectError, RunError, TrainingError
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.federation.grid import GridCapabilities
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

CLIENTS = 6
ConfigOf = Callable[..., RunSettings]


class Watcher:
    def __init__(self) -> None:
        self.records: list[RoundRecord] = []
        self.summary: dict[str, object] = {}

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        self.parameters = parameters

    def round_finished(self, record: RoundRecord) -> None:
        self.records.append(record)

    def finished(self, summary: dict[str, object]) -> None:
        self.summary = summary


def run(config: RunSettings, cohort: Path, grid: InProcessGrid | None = None, **more: object) -> RunFolder:
    folder = RunFolder.create(config)
    run_federation(grid or InProcessGrid(Cohort.load(cohort).num_clients), config, cohort, folder, **more)
    return folder


def arrays_of(folder: RunFolder, round_number: int) -> dict[str, bytes]:
    checkpoint = folder.checkpoints.load(round_number)
    return {name: array.tobytes() for name, array in checkpoint.arrays.items()}


def test_a_run_learns_and_leaves_everything_that_the_issue_lists(cohort_folder: Path, config_of: ConfigOf) -> None:
    watcher = Watcher()
    config = config_of(rounds=6, clients_per_round=6, optimizer="adamw", lr=5e-3)
    folder = run(config, cohort_folder, observers=[watcher])
    summary = folder.summary()
    listed = "dataset labels modalities partition clients rounds model strategy seed engine trainable_parameters test"
    listed += " best_round client_updates_per_second bytes_up_per_client_update bytes_down_per_client_update"
    assert set(f"{listed} peak_rss_mb wall_s".split()) <= set(summary)
    assert {"accuracy", "uar", "macro_f1", "weighted_f1", "per_class", "confusion", "owners"} <= set(summary["test"])
    # Three classes in the constructed data; chance is a third.
    assert summary["test"]["uar"] > 0.6
    assert folder.checkpoints.rounds() == [1, 2, 3, 4, 5, 6]
    assert [record["round"] for record in folder.metrics()] == [1, 2, 3, 4, 5, 6]
    assert [record.to_dict() for record in watcher.records] == folder.metrics()
    assert watcher.summary == summary
    assert summary["trainable_parameters"] == watcher.parameters
    # Each parameter is four bytes, and little else travels.
    size = 4 * watcher.parameters
    assert size < summary["bytes_up_per_client_update"] < 1.5 * size + 10_000
    assert size < summary["bytes_down_per_client_update"] < 1.5 * size + 10_000


def test_the_best_round_is_chosen_on_dev_and_its_arrays_are_tested(cohort_folder: Path, config_of: ConfigOf) -> None:
    folder = run(config_of(rounds=5, optimizer="adamw", lr=5e-3, select_by="accuracy"), cohort_folder)
    summary = folder.summary()
    on_dev = [record["dev"]["accuracy"] for record in folder.metrics()]
    assert summary["best_round"] == 1 + int(np.argmax(on_dev))
    assert summary["dev"]["accuracy"] == pytest.approx(max(on_dev))
    predictions = folder.predictions()
    right = (predictions["labels"] == predictions["predictions"]).mean()
    assert summary["test"]["accuracy"] == pytest.approx(right)
    assert len(predictions["rows"]) == len(predictions["groups"]) == len(predictions["probabilities"])


def test_without_a_dev_split_the_last_round_counts(tmp_path: Path, cohort_folder: Path, config_of: ConfigOf) -> None:
    cohort = Cohort.load(cohort_folder)
    object.__setattr__(cohort, "splits", {"test": cohort.splits["test"], "test-argmax": cohort.splits["dev"]})
    cohort.save(tmp_path / "no-dev")
    summary = run(config_of(rounds=2), tmp_path / "no-dev").summary()
    assert summary["best_round"] == 2
    assert "last round" in summary["best_round_rule"]
    assert set(summary["test_views"]) == {"test-argmax"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("fedavg", {}),
        ("fedavgm", {"momentum": 0.9}),
        ("fedadam", {"server-lr": 0.01}),
        ("fedyogi", {}),
        ("scaffold", {}),
    ],
)
def test_a_resumed_run_reaches_the_very_same_arrays(
    cohort_folder: Path, config_of: ConfigOf, strategy: str, options: dict[str, float]
) -> None:
    config = config_of(strategy=strategy, strategy_options=options, name="whole")
    whole = run(config, cohort_folder)

    config = config_of(strategy=strategy, strategy_options=options, name="halves")
    devices: dict[int, Context] = {}

    def stop_in_round_3(partition: int, message: Message) -> None:
        # Some clients of the round have trained already: their states must not advance twice.
        if message.content.config_records["config"][SERVER_ROUND] == 3 and len(trained) == 8:
            raise KeyboardInterrupt
        trained.append(partition)

    trained: list[int] = []
    halves = RunFolder.create(config)
    with pytest.raises(KeyboardInterrupt):
        run_federation(InProcessGrid(CLIENTS, devices, stop_in_round_3), config, cohort_folder, halves)
    assert halves.checkpoints.rounds() == [1, 2]
    reopened = RunFolder.open(halves.path)
    run_federation(InProcessGrid(CLIENTS, devices), config, cohort_folder, reopened, resume=True)

    for number in (3, 4):
        assert arrays_of(whole, number) == arrays_of(reopened, number)
    assert [r["round"] for r in reopened.metrics()] == [1, 2, 3, 4]
    assert [r["dev"] for r in reopened.metrics()] == [r["dev"] for r in whole.metrics()]
    assert arrays_of(whole, 1) != arrays_of(whole, 4)


@pytest.mark.slow
def test_a_finished_run_can_be_prolonged(cohort_folder: Path, config_of: ConfigOf) -> None:
    long = run(config_of(name="long", rounds=3), cohort_folder)
    short = run(config_of(name="short", rounds=2), cohort_folder)
    folder = RunFolder.open(short.path)
    run_federation(InProcessGrid(CLIENTS), config_of(name="short", rounds=3), cohort_folder, folder, resume=True)
    assert arrays_of(folder, 3) == arrays_of(long, 3)
    assert RunFolder.open(short.path).config.federation.rounds == 3


def test_resuming_with_other_settings_names_them(cohort_folder: Path, config_of: ConfigOf) -> None:
    folder = run(config_of(rounds=1), cohort_folder)
    with pytest.raises(RunError, match=r"--strategy: fedavg, fedprox; --lr: 0\.05, 0\.1"):
        run_federation(
            InProcessGrid(CLIENTS), config_of(rounds=1, lr=0.1, strategy="fedprox"), cohort_folder, folder, resume=True
        )
    assert folder.summary()["strategy"] == "fedavg"


def test_a_strategy_with_client_states_does_not_resume_where_they_are_lost(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    class Forgetful(InProcessGrid):
        capabilities = GridCapabilities()

    config = config_of(rounds=1, strategy="scaffold")
    folder = run(config, cohort_folder)
    with pytest.raises(RunError, match="states"):
        run_federation(Forgetful(CLIENTS), config, cohort_folder, folder, resume=True)


def test_a_checkpoint_older_than_what_clients_still_keep_is_refused_before_any_training(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    config = config_of(rounds=1, strategy="scaffold")
    folder = run(config, cohort_folder)
    store = StateFolder(folder.client_states)
    store.save(4, ClientState(1, {"control": torch.zeros(2)}))
    run_federation(InProcessGrid(CLIENTS), config, cohort_folder, folder, resume=True)
    for round_number in (3, 5):
        store.save(4, ClientState(round_number, {"control": torch.zeros(2)}))
    before = folder.metrics()
    with pytest.raises(RunError, match=r"4\.safetensors .* checkpoint of round 3"):
        run_federation(InProcessGrid(CLIENTS), config, cohort_folder, folder, resume=True)
    assert folder.metrics() == before


STRATEGIES = [
    ("fedavgm", {"momentum": 0.5}),
    ("fedprox", {"mu": 0.1}),
    ("fedadagrad", {}),
    ("qfedavg", {"q": 0.2}),
    ("fedmedian", {}),
    ("fedtrimmedavg", {"trim": 0.2}),
    ("krum", {"malicious": 1}),
    ("multikrum", {"malicious": 1, "select": 2}),
    ("bulyan", {}),
    ("fedrs", {"alpha": 0.5}),
]


@pytest.mark.parametrize(("strategy", "options"), STRATEGIES)
def test_every_strategy_runs_and_gives_the_same_arrays_twice(
    cohort_folder: Path, config_of: ConfigOf, strategy: str, options: dict[str, float]
) -> None:
    first, second = (
        run(
            config_of(strategy=strategy, strategy_options=options, rounds=2, clients_per_round=4, name=name),
            cohort_folder,
        )
        for name in ("first", "second")
    )
    assert arrays_of(first, 2) == arrays_of(second, 2)
    assert arrays_of(first, 1) != arrays_of(first, 2)
    for array in first.checkpoints.load(2).arrays.values():
        assert array.dtype == np.float32


def test_failing_clients_are_counted_and_the_rest_goes_on(cohort_folder: Path, config_of: ConfigOf) -> None:
    def fail(partition: int, message: Message) -> None:
        if partition == 2:
            raise RuntimeError("out of battery")

    folder = run(
        config_of(rounds=2, clients_per_round=6, max_failed_share=0.2),
        cohort_folder,
        InProcessGrid(CLIENTS, fault=fail),
    )
    assert [(r["clients"], r["failures"]) for r in folder.metrics()] == [(5, 1), (5, 1)]
    assert "out of battery" in folder.metrics()[0]["first_failure"]
    assert folder.summary()["client_failures"] == 2


def test_when_all_clients_fail_the_first_reason_is_told(cohort_folder: Path, config_of: ConfigOf) -> None:
    def fail(partition: int, message: Message) -> None:
        raise RuntimeError("out of battery")

    config = config_of()
    with pytest.raises(TrainingError, match="out of battery"):
        run(config, cohort_folder, InProcessGrid(CLIENTS, fault=fail))
    assert not (config.output.out / "run").exists()


def test_a_diverging_client_stops_the_run_and_is_named(cohort_folder: Path, config_of: ConfigOf) -> None:
    config = config_of(lr=1e30)
    with pytest.raises(TrainingError, match=r"client 'person\d' .*round 1.*--lr") as caught:
        run(config, cohort_folder)
    assert "\n" not in str(caught.value)
    assert not (config.output.out / "run").exists()


def test_more_clients_a_round_than_exist(cohort_folder: Path, config_of: ConfigOf) -> None:
    with pytest.raises(ConfigError, match=r"--clients-per-round 7 .* 6 clients"):
        run(config_of(clients_per_round=7), cohort_folder)


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_whole_round(
    cohort_folder: Path, config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(rounds=3)
    folder = RunFolder.create(config)
    written = 0
    write = os.write

    def until_full(descriptor: int, data: memoryview) -> int:
        nonlocal written
        if written > 60_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # A disk that fills up takes part of a write first.
        done = write(descriptor, data[:4096])
        written += done
        return done

    monkeypatch.setattr(os, "write", until_full)
    with pytest.raises(RunError, match="No space left") as caught:
        run_federation(InProcessGrid(CLIENTS), config, cohort_folder, folder)
    monkeypatch.undo()
    assert "\n" not in str(caught.value)
    committed = folder.checkpoints.rounds()
    assert committed
    assert committed[-1] < 3
    for number in committed:
        folder.checkpoints.load(number)
    assert not list(folder.path.rglob("*.part"))
    run_federation(InProcessGrid(CLIENTS), config, cohort_folder, RunFolder.open(folder.path), resume=True)
    whole = run(config_of(rounds=3, name="whole"), cohort_folder)
    assert arrays_of(folder, 3) == arrays_of(whole, 3)


def test_the_server_never_asks_for_more_than_the_fusion_layer(cohort_folder: Path, config_of: ConfigOf) -> None:
    grid = InProcessGrid(CLIENTS)
    run(config_of(rounds=1, strategy="scaffold"), cohort_folder, grid)
    sent = [m for m in grid.pushed if m.metadata.message_type == "train"]
    assert len(sent) == 3
    assert set(sent[0].content.array_records) == {ARRAYS, CONTROL}


def test_scaffolds_control_variate_is_what_the_clients_said(cohort_folder: Path, config_of: ConfigOf) -> None:
    grid = InProcessGrid(CLIENTS)
    folder = run(config_of(rounds=1, strategy="scaffold"), cohort_folder, grid)
    replies = [
        app(m, Context(1, 1, {"partition-id": grid.nodes[m.metadata.dst_node_id]}, type(m.content)(), {}))
        for m in grid.pushed
        if m.metadata.message_type == "train"
    ]
    checkpoint = folder.checkpoints.load(1)
    for name in checkpoint.arrays:
        changes = [r.content.array_records[CONTROL][name].numpy() for r in replies]
        assert np.allclose(checkpoint.state[f"control/{name}"], np.mean(changes, axis=0) * 3 / CLIENTS, atol=1e-6)
    weights = [int(r.content.metric_records[METRICS]["num-examples"]) for r in replies]
    values = [r.content.array_records[ARRAYS]["head.bias"].numpy() for r in replies]
    assert np.allclose(checkpoint.arrays["head.bias"], np.average(values, axis=0, weights=weights), atol=1e-6)


def test_evaluation_by_the_clients_gives_the_servers_figures(cohort_folder: Path, config_of: ConfigOf) -> None:
    # Every development row belongs to one of the clients, so both see the same rows.
    server = run(config_of(rounds=2, name="server"), cohort_folder).metrics()
    clients = run(config_of(rounds=2, name="clients", evaluate="clients"), cohort_folder).metrics()
    for ours, theirs in zip(server, clients, strict=True):
        assert ours["dev"] == pytest.approx(theirs["dev"], rel=1e-5)


@pytest.mark.slow
def test_centralized_wants_one_client_and_local_only_trains_each_alone(
    tmp_path: Path, cohort_folder: Path, config_of: ConfigOf
) -> None:
    with pytest.raises(ConfigError, match="--centralized"):
        run(config_of(mode="centralized"), cohort_folder)
    pooled = constructed_cohort(tmp_path / "pooled", clients=1, examples=64)
    central = run(config_of(mode="centralized", name="central", rounds=2), pooled).summary()
    assert central["mode"] == "centralized"
    assert central["clients"] == 1
    settings = {"mode": "local-only", "rounds": 2, "local_epochs": 3}
    alone = run(config_of(name="alone", lr_schedule="cosine", **settings), cohort_folder)
    summary = alone.summary()
    # The schedule does nothing here, and the summary owns up to it.
    assert summary["test"] == run(config_of(name="constant", **settings), cohort_folder).summary()["test"]
    for words in ("6 epochs", "constant learning rate of 0.05 (the cosine schedule", "after the last epoch"):
        assert words in summary["local_only_rule"]
    each = summary["test"]["owners"]["each"]
    assert len(each) == CLIENTS
    assert summary["test"]["uar"] == pytest.approx(np.mean([client["uar"] for client in each]))
    assert json.loads((alone.path / "summary.json").read_text())["client_updates"] == CLIENTS


def test_only_newest_and_best_checkpoints_stay_if_asked(cohort_folder: Path, config_of: ConfigOf) -> None:
    folder = run(config_of(rounds=4, keep_checkpoints="last"), cohort_folder)
    assert set(folder.checkpoints.rounds()) == {4, folder.summary()["best_round"]}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fedavg", "fedmedian"])
def test_replies_in_memory_do_not_grow_with_the_clients_of_a_round(
    tmp_path: Path, config_of: ConfigOf, strategy: str
) -> None:
    class Counting(InProcessGrid):
        def __init__(self, clients: int) -> None:
            super().__init__(clients)
            self.replies: list[weakref.ref[RecordDict]] = []
            self.most = 0

        def _answer(self, message: Message) -> Message:
            reply = super()._answer(message)
            if message.metadata.message_type == "train":
                gc.collect(0)
                self.replies.append(weakref.ref(reply.content))
                self.most = max(self.most, sum(ref() is not None for ref in self.replies))
            return reply

    cohort = constructed_cohort(tmp_path / "many", clients=48, examples=2)
    grid = Counting(48)
    config = config_of(rounds=1, strategy=strategy, clients_per_round=48, evaluate="server", model="linear")
    run(config.changed(model_options={}), cohort, grid)
    assert len(grid.replies) == 48
    # One at a time, and the reply being added; of what a median needs all of, the arrays alone are kept.
    assert grid.most <= 2


def test_a_cosine_schedule_reaches_the_clients(cohort_folder: Path, config_of: ConfigOf) -> None:
    grid = InProcessGrid(CLIENTS)
    run(config_of(rounds=4, lr_schedule="cosine", lr=0.1), cohort_folder, grid)
    rates = {m.content.config_records["config"][SERVER_ROUND]: m.content.config_records["config"]["lr"]
             for m in grid.pushed if m.metadata.message_type == "train"}  # fmt: skip
    assert rates[1] == pytest.approx(0.1)
    assert rates[3] == pytest.approx(0.05)


@pytest.mark.slow
def test_fewer_nodes_than_clients_is_said(cohort_folder: Path, config_of: ConfigOf, monkeypatch: object) -> None:
    monkeypatch.setattr("fedaffect.server.federation.flower_grid._NODES_TIMEOUT_S", 0.1)
    with pytest.raises(FedAffectError, match="4 nodes are online"):
        run(config_of(), cohort_folder, InProcessGrid(4))


def test_no_prune_takes_a_cohort_from_its_run(cohort_folder: Path, config_of: ConfigOf) -> None:
    cohort = Path(shutil.copytree(cohort_folder, cache_folder() / "cohorts" / "mosi-1"))
    said: list[str] = []

    class Pruning(Watcher):
        def round_finished(self, record: RoundRecord) -> None:
            said.append(CliRunner().invoke(cache, ["prune", "--all"], catch_exceptions=False).output)

    run(config_of(rounds=1), cohort, observers=[Pruning()])
    assert ["1 in use stay" in each for each in said] == [True]
    assert (cohort / "cohort.json").is_file()
    CliRunner().invoke(cache, ["prune", "--all"], catch_exceptions=False)
    assert not cohort.exists()
