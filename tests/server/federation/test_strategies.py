from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client import plugins
from fedaffect.client.algorithms.registry import ALGORITHMS
from fedaffect.client.wire import ARRAYS, CONTROL, METRICS
from fedaffect.edge.errors import ConfigError, RunError, TrainingError
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.strategies import registry
from fedaffect.server.federation.strategies.flower import ChosenNodes
from fedaffect.server.federation.strategies.registry import (
    StrategyEntry,
    build_strategy,
    complete_options,
    strategy_entry,
)
from fedaffect.server.federation.strategies.scaffold import Scaffold
from fedaffect.server.federation.strategies.state import restore_state, save_state


@pytest.fixture
def grid() -> ChosenNodes:
    return ChosenNodes(InProcessGrid(5).get_node_ids()[1:4])


def record(*values: float) -> ArrayRecord:
    return ArrayRecord({"w": Array(np.array(values, np.float32))})


def mean_reply(to: Message, arrays: ArrayRecord, control: ArrayRecord | None = None, clients: int = 3) -> Message:
    metrics = MetricRecord({"num-examples": 30, "num-clients": clients, "train_loss": 0.5})
    content = RecordDict({ARRAYS: arrays, METRICS: metrics})
    if control is not None:
        content[CONTROL] = control
    return Message(content, reply_to=to)


@pytest.mark.parametrize("name", registry.PLUGINS.names())
def test_every_strategy_is_built_and_asks_for_an_algorithm_that_clients_have(name: str, grid: ChosenNodes) -> None:
    strategy, entry = build_strategy(RunSettings.of(strategy=name, clients_per_round=5), clients=5)
    assert entry.algorithm in ALGORITHMS
    assert all(hasattr(strategy, attribute) for attribute in entry.state)
    messages = list(strategy.configure_train(1, record(1.0, 2.0), ConfigRecord({"lr": 0.1}), grid))
    assert sorted(m.metadata.dst_node_id for m in messages) == sorted(grid.get_node_ids())
    assert messages[0].content.config_records["config"]["server-round"] == 1


def test_what_each_algorithm_needs_travels_in_the_config(grid: ChosenNodes) -> None:
    for name, option, key in (("fedprox", "mu", "proximal-mu"), ("fedrs", "alpha", "fedrs-alpha")):
        strategy, _ = build_strategy(RunSettings.of(strategy=name, strategy_options={option: 0.25}), clients=5)
        messages = list(strategy.configure_train(1, record(1.0), ConfigRecord(), grid))
        assert messages[0].content.config_records["config"][key] == 0.25


def test_unknown_names_and_options_list_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'fedyogi'.*scaffold"):
        strategy_entry("fedyogy")
    with pytest.raises(ConfigError, match=r"'sever-lr'; did you mean 'server-lr'\? known: beta-1, beta-2"):
        build_strategy(RunSettings.of(strategy="fedadam", strategy_options={"sever_lr": 1.0}), 5)
    with pytest.raises(ConfigError, match="whole number"):
        complete_options(strategy_entry("krum"), {"malicious": 0.5})
    with pytest.raises(ConfigError, match=r"trim .*0 or more"):
        complete_options(strategy_entry("fedtrimmedavg"), {"trim": -0.1})
    with pytest.raises(ConfigError, match="fedtrimmedavg refuses its options"):
        build_strategy(RunSettings.of(strategy="fedtrimmedavg", strategy_options={"trim": 0.5}), 5)
    with pytest.raises(ConfigError, match=r"bulyan against 1 malicious clients needs 7 a round, not 5"):
        build_strategy(RunSettings.of(strategy="bulyan", strategy_options={"malicious": 1}, clients_per_round=5), 9)


def _build_mine(options: object, config: RunSettings, clients: int) -> FedAvg:
    return FedAvg()


MINE = StrategyEntry(_build_mine)


def test_packages_add_strategies_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("mine", f"{__name__}:MINE", registry.GROUP),
        EntryPoint("broken", f"{__name__}:_build_mine", registry.GROUP),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    monkeypatch.setattr(EntryPoint, "load", lambda point: globals()[point.value.rpartition(":")[2]])
    assert "mine" in registry.PLUGINS.names()
    assert strategy_entry("mine") is MINE
    with pytest.raises(ConfigError, match="is not a StrategyEntry"):
        strategy_entry("broken")


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedadagrad", "fedyogi", "scaffold"])
def test_memory_survives_bit_for_bit(name: str, grid: ChosenNodes) -> None:
    config = RunSettings.of(strategy=name)
    rng = np.random.default_rng(0)

    def a_round(strategy: FedAvg, number: int, arrays: ArrayRecord, values: np.ndarray) -> ArrayRecord:
        messages = list(strategy.configure_train(number, arrays, ConfigRecord(), grid))
        control = record(*values[::-1]) if name == "scaffold" else None
        result, _ = strategy.aggregate_train(number, [mean_reply(messages[0], record(*values), control)])
        assert result is not None
        return record(*result["w"].numpy())

    whole, entry = build_strategy(config, 5)
    values = rng.normal(size=(4, 3))
    arrays = record(0.0, 0.0, 0.0)
    for number in (1, 2):
        arrays = a_round(whole, number, arrays, values[number])
    saved, shape = save_state(whole, entry.state)
    resumed, _ = build_strategy(config, 5)
    restore_state(resumed, saved, shape)
    third = a_round(whole, 3, arrays, values[3])["w"].numpy()
    assert a_round(resumed, 3, arrays, values[3])["w"].numpy().tobytes() == third.tobytes()
    forgetful, _ = build_strategy(config, 5)
    if name != "scaffold":
        assert a_round(forgetful, 3, arrays, values[3])["w"].numpy().tobytes() != third.tobytes()
    else:
        a_round(forgetful, 3, arrays, values[3])
        assert forgetful.control["w"].tobytes() != whole.control["w"].tobytes()


def test_memory_of_another_strategy_is_refused(grid: ChosenNodes) -> None:
    adam, entry = build_strategy(RunSettings.of(strategy="fedadam"), 5)
    saved, shape = save_state(adam, entry.state)
    with pytest.raises(RunError, match="resume the same strategy"):
        restore_state(build_strategy(RunSettings.of(strategy="fedavg"), 5)[0], saved, shape)
    with pytest.raises(RunError, match="lacks"):
        restore_state(adam, {}, {"m_t": {"kind": "dict", "keys": ["w"]}})


def test_scaffold_moves_its_control_by_the_share_that_took_part(grid: ChosenNodes) -> None:
    strategy = Scaffold(clients=12, server_lr=0.5, min_train_nodes=1, min_available_nodes=1)
    first = next(iter(strategy.configure_train(1, record(1.0, 1.0), ConfigRecord(), grid)))
    assert first.content.array_records[CONTROL]["w"].numpy().tolist() == [0.0, 0.0]
    arrays, _ = strategy.aggregate_train(1, [mean_reply(first, record(3.0, 5.0), record(4.0, 8.0), clients=3)])
    # Equation 5: x + eta_g (mean - x) and c + (3 / 12) dc.
    assert arrays is not None
    assert arrays["w"].numpy().tolist() == [2.0, 3.0]
    second = next(iter(strategy.configure_train(2, arrays, ConfigRecord(), grid)))
    assert second.content.array_records[CONTROL]["w"].numpy().tolist() == [1.0, 2.0]


def test_scaffold_refuses_clients_that_run_something_else(grid: ChosenNodes) -> None:
    strategy = Scaffold(clients=3, min_train_nodes=1, min_available_nodes=1)
    first = next(iter(strategy.configure_train(1, record(1.0), ConfigRecord(), grid)))
    with pytest.raises(TrainingError, match="no control variates"):
        strategy.aggregate_train(1, [mean_reply(first, record(1.0))])
