"""Whole runs of strategies that leave each client a model of its own, over real client code in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, MessageType
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.wire import ARRAYS, MASKED, METRICS, SERVER_ROUND
from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.strategies.registry import require_suited, strategy_entry
from fedaffect.server.fleet.runs.submission import checked_settings
from fedaffect.server.trained_fusion import fusion_at

CLIENTS = 6
HEAD = {"head.weight", "head.bias"}
STRATEGIES = ("fedper", "fedrep", "ditto")
ConfigOf = Callable[..., RunSettings]


class Listening(InProcessGrid):
    """Hears every reply."""

    def __init__(self, clients: int = CLIENTS, contexts: dict[int, Context] | None = None) -> None:
        super().__init__(clients, contexts)
        self.replies: list[tuple[int, Message, Message]] = []

    def reply(self, partition: int, message: Message, context: Context) -> Message:
        made = super().reply(partition, message, context)
        self.replies.append((partition, message, made))
        return made

    def trained(self) -> list[tuple[int, Message]]:
        return [(k, made) for k, asked, made in self.replies if asked.metadata.message_type == MessageType.TRAIN]


def run(config: RunSettings, cohort: Path, grid: InProcessGrid | None = None) -> RunFolder:
    folder = RunFolder.create(config)
    run_federation(grid or InProcessGrid(CLIENTS), config, cohort, folder)
    return folder


def arrays_of(folder: RunFolder, number: int) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in folder.checkpoints.load(number).arrays.items()}


def kept_by(contexts: dict[int, Context]) -> dict[int, dict[str, bytes]]:
    return {
        k: {name: array.numpy().tobytes() for name, array in c.state.array_records["state"].items()}
        for k, c in contexts.items()
        if "state" in c.state.array_records
    }


@pytest.mark.parametrize("strategy", ["fedper", "fedrep"])
@pytest.mark.parametrize("how", [{}, {"compression": "int8"}, {"dp": "central", "epsilon": 8.0}])
def test_no_message_that_leaves_a_client_holds_its_head(
    cohort_folder: Path, config_of: ConfigOf, strategy: str, how: dict[str, Any]
) -> None:
    grid = Listening()
    folder = run(config_of(rounds=2, strategy=strategy, local_epochs=2, **how), cohort_folder, grid)
    trained, size = grid.trained(), folder.summary()["trainable_parameters"]
    assert trained
    heads = {
        bytes(tensor)
        for kept in kept_by(grid.contexts).values()
        for name, tensor in kept.items()
        if name.endswith("/head")
    }
    assert heads, "clients keep one"
    for _, _, made in grid.replies:
        for record in made.content.array_records.values():
            assert not HEAD & set(record)
            sent = [array.numpy() for array in record.values()]
            assert sum(array.size for array in sent) < size
            assert not any(head in array.tobytes() for head in heads for array in sent)
        assert set(made.content) <= {ARRAYS, METRICS, "compressed"}
    start = folder.checkpoints.load(1).arrays
    assert all(np.array_equal(start[name], folder.checkpoints.load(2).arrays[name]) for name in HEAD)
    moved = [
        name for name, array in start.items() if not np.array_equal(array, folder.checkpoints.load(2).arrays[name])
    ]
    assert moved
    assert not HEAD & set(moved)


def test_dittos_messages_are_fedavgs(cohort_folder: Path, config_of: ConfigOf) -> None:
    plain, own = Listening(), Listening()
    average = run(config_of(name="fedavg"), cohort_folder, plain)
    ditto = run(config_of(name="ditto", strategy="ditto"), cohort_folder, own)
    assert arrays_of(average, 4) == arrays_of(ditto, 4)
    for (client, ours), (same, theirs) in zip(plain.trained(), own.trained(), strict=True):
        assert client == same
        assert set(ours.content) == set(theirs.content)
        assert ours.content.metric_records == theirs.content.metric_records
        for name, array in ours.content.array_records[ARRAYS].items():
            assert array.numpy().tobytes() == theirs.content.array_records[ARRAYS][name].numpy().tobytes()
    assert any(name.endswith("/model") for kept in kept_by(own.contexts).values() for name in kept)
    assert average.summary()["bytes_up_per_client_update"] == ditto.summary()["bytes_up_per_client_update"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_resumed_run_reaches_the_same_arrays_and_the_same_personal_layers(
    cohort_folder: Path, config_of: ConfigOf, strategy: str
) -> None:
    more = {"strategy": strategy, "local_epochs": 2, "keep_optimizer": True, "optimizer": "adamw", "lr": 0.01}
    untouched: dict[int, Context] = {}
    whole = run(config_of(name="whole", **more), cohort_folder, InProcessGrid(CLIENTS, untouched))
    devices: dict[int, Context] = {}
    trained: list[int] = []

    def stop_in_round_3(partition: int, message: Message) -> None:
        # Some clients of the round have trained already: their personal layers must not advance twice.
        if message.content.config_records["config"][SERVER_ROUND] == 3 and len(trained) == 8:
            raise KeyboardInterrupt
        trained.append(partition)

    halves = RunFolder.create(config_of(name="halves", **more))
    with pytest.raises(KeyboardInterrupt):
        run_federation(InProcessGrid(CLIENTS, devices, stop_in_round_3), halves.config, cohort_folder, halves)
    run_federation(InProcessGrid(CLIENTS, devices), halves.config, cohort_folder, halves, resume=True)
    assert arrays_of(whole, 4) == arrays_of(halves, 4)
    newest = [{k: sorted(kept.items())[-1] for k, kept in kept_by(c).items()} for c in (untouched, devices)]
    assert newest[0] == newest[1]
    assert whole.summary()["on_clients"] == halves.summary()["on_clients"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_clients_evaluate_what_is_theirs_beside_what_is_shared(
    cohort_folder: Path, config_of: ConfigOf, strategy: str
) -> None:
    settings = {"strategy": strategy, "rounds": 3, "clients_per_round": 4, "local_epochs": 3, "lr": 0.1}
    folder = run(config_of(**settings), cohort_folder)
    summary = folder.summary()
    found = summary["on_clients"]
    assert found["round"] == 3, "what clients keep is that of the last round"
    personal = found["personal"]
    assert personal["figures"] != found["figures"]
    assert {"accuracy_mean", "uar_mean", "accuracy_worst_decile", "uar_worst_decile"} <= set(personal["clients"])
    assert personal["clients"]["clients"] == CLIENTS
    said = summary["personal"]
    assert set(said["layers"]) == (set() if strategy == "ditto" else HEAD)
    assert "never took part" in said["unseen"]
    if strategy != "ditto":
        # The server's head never learned.
        assert personal["figures"]["loss"] < found["figures"]["loss"]


def test_a_client_that_never_took_part_counts_with_what_the_server_has(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    found = run(config_of(strategy="fedper", rounds=1), cohort_folder).summary()["on_clients"]
    assert found["personal"]["without"] == 3
    shared = {one["name"]: one for one in found["clients"]["each"]}
    same = [one == shared[one["name"]] for one in found["personal"]["clients"]["each"]]
    assert sum(same) >= 3


def test_rounds_are_chosen_by_what_clients_would_use(cohort_folder: Path, config_of: ConfigOf) -> None:
    settings = {"strategy": "fedper", "rounds": 2, "clients_per_round": CLIENTS, "lr": 0.1}
    by_server = run(config_of(name="server", **settings), cohort_folder).metrics()
    by_clients = run(config_of(name="clients", evaluate="clients", **settings), cohort_folder).metrics()
    assert by_clients[-1]["dev"]["loss"] < by_server[-1]["dev"]["loss"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_masked_sums_are_of_the_shared_part(cohort_folder: Path, config_of: ConfigOf, strategy: str) -> None:
    settings = {"strategy": strategy, "rounds": 2, "clients_per_round": 5, "local_epochs": 2}
    plain = run(config_of(name="plain", **settings), cohort_folder)
    grid = Listening()
    masked = run(config_of(name="masked", secagg=True, **settings), cohort_folder, grid)
    for name, array in plain.checkpoints.load(2).arrays.items():
        np.testing.assert_allclose(array, masked.checkpoints.load(2).arrays[name], rtol=0, atol=1e-4, err_msg=name)
    shared = masked.summary()["trainable_parameters"] - masked.summary()["personal"]["parameters"]
    words = {m.content[MASKED][MASKED].numpy().size for _, m in grid.trained() if MASKED in m.content}
    assert len(words) == 1
    assert shared <= words.pop() < shared + 100
    assert masked.summary()["on_clients"] is None


def test_fewer_bytes_go_up(cohort_folder: Path, config_of: ConfigOf) -> None:
    sent = [
        run(config_of(name=name, strategy=name, rounds=1, model="linear", model_options={}), cohort_folder).summary()
        for name in ("fedavg", "fedper")
    ]
    saved = sent[0]["bytes_up_per_client_update"] - sent[1]["bytes_up_per_client_update"]
    assert saved > 4 * sent[1]["personal"]["parameters"]


def test_what_does_not_fit_is_said_in_one_line(cohort_folder: Path, config_of: ConfigOf, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no layers beside head\.\*.*use --strategy ditto"):
        run(config_of(strategy="fedper", model="head", model_options={}), cohort_folder)
    with pytest.raises(BundleError, match=r"left what its heads learned on its clients.*began with --start-from"):
        fusion_at(run(config_of(strategy="fedper", rounds=1, name="heads"), cohort_folder).path)
    with pytest.raises(ConfigError, match=r"fedrep gives .* raise --local-epochs"):
        run(config_of(strategy="fedrep", local_epochs=1), cohort_folder)
    with pytest.raises(ConfigError, match="--centralized has one client; use --strategy fedavg"):
        require_suited(config_of(strategy="ditto", mode="centralized"), strategy_entry("ditto"))
    with pytest.raises(ConfigError, match="--mode async averages updates of any age"):
        run(config_of(strategy="fedper", mode="async"), cohort_folder)
    with pytest.raises(ConfigError, match=r"ditto is of simulations.*edge personal"):
        checked_settings({"dataset": "meld", "strategy": "ditto", "name": "x"}, tmp_path)
