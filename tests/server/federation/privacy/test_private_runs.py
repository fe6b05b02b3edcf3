"""Whole runs under privacy, over real client code in one process."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.serverapp.strategy import FedAdam
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.cohort import Cohort
from fedaffect.client.privacy.accounting import Spending, epsilon
from fedaffect.client.task import ClientTask
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.privacy.central import CentralPrivacy
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

ConfigOf = Callable[..., RunSettings]
FIELDS = {"unit", "epsilon", "delta", "accountant", "noise_multiplier", "clipping"}


@pytest.fixture(scope="session")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.small_cohorts import constructed_cohort

    return constructed_cohort(tmp_path_factory.mktemp("privacy") / "cohort", clients=6, examples=16)


@pytest.fixture
def config_of(config_of: ConfigOf) -> ConfigOf:
    return lambda **settings: config_of(**{"epsilon": 8.0, **settings})


def run(config: RunSettings, cohort: Path, grid: InProcessGrid | None = None, **more: object) -> RunFolder:
    folder = RunFolder.create(config)
    run_federation(grid or InProcessGrid(Cohort.load(cohort).num_clients), config, cohort, folder, **more)
    return folder


def weights_of(folder: RunFolder, number: int) -> torch.Tensor:
    return flat(folder.checkpoints.load(number).arrays)


def flat(arrays: Mapping[str, np.ndarray]) -> torch.Tensor:
    return torch.cat([torch.from_numpy(np.array(arrays[name])).reshape(-1) for name in sorted(arrays)])


def test_local_privacy_says_what_an_utterance_has_spent(cohort_folder: Path, config_of: ConfigOf) -> None:
    folder = run(config_of(dp="local"), cohort_folder)
    privacy = folder.summary()["privacy"]
    assert set(privacy) >= FIELDS
    assert privacy["unit"] == "utterance"
    # Three of six in each of four rounds: everybody twice, four steps each (two epochs) at a rate of a half.
    assert privacy["rounds_of_a_client"] == 2
    spent = epsilon([Spending(privacy["noise_multiplier"], 0.5, 8)], 1e-5)
    assert privacy["epsilon"] == pytest.approx(spent)
    assert 7.8 < privacy["epsilon"] <= 8.0
    assert privacy["epsilon_by"]["prv"] < privacy["epsilon_by"]["rdp"]
    assert privacy["private"] is True
    assert all(record["train_loss"] is None for record in folder.metrics())
    assert folder.summary()["on_clients"] is None, "clients' own figures are covered by no budget"


@pytest.mark.slow
def test_nobody_takes_part_more_often_than_was_planned(cohort_folder: Path, config_of: ConfigOf) -> None:
    asked: dict[int, int] = {}

    def count(partition: int, message: object) -> None:
        asked[partition] = asked.get(partition, 0) + 1

    folder = run(config_of(dp="local", rounds=5, clients_per_round=4), cohort_folder, InProcessGrid(6, fault=count))
    assert max(asked.values()) <= folder.summary()["privacy"]["rounds_of_a_client"] == 4
    assert max(asked.values()) - min(asked.values()) <= 1


@pytest.mark.slow
def test_seeded_noise_repeats_and_says_that_it_is_not_private(cohort_folder: Path, config_of: ConfigOf) -> None:
    for kind in ("local", "central"):
        made = [run(config_of(dp=kind, dp_noise="seeded", name=f"{kind}-{n}"), cohort_folder) for n in range(2)]
        assert torch.equal(weights_of(made[0], 4), weights_of(made[1], 4))
        assert made[0].summary()["privacy"]["private"] is False
        secure = [run(config_of(dp=kind, name=f"{kind}-secure-{n}"), cohort_folder) for n in range(2)]
        assert not torch.equal(weights_of(secure[0], 4), weights_of(secure[1], 4))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"clipping": "adaptive"},
        {"dp_sampling": "in-turn"},
        {"dp_mechanism": "ftrl"},
        {"strategy": "fedadam"},
        {"accountant": "prv"},
    ],
    ids=lambda s: "-".join(map(str, s.values())) or "poisson",
)
def test_central_privacy_says_what_a_client_has_spent(
    cohort_folder: Path, config_of: ConfigOf, settings: dict[str, str]
) -> None:
    folder = run(config_of(dp="central", rounds=3, **settings), cohort_folder)
    privacy = folder.summary()["privacy"]
    assert set(privacy) >= FIELDS
    assert privacy["unit"] == "client"
    assert 7.5 < privacy["epsilon"] <= 8.0
    assert privacy["epsilon_by"]["prv"] <= privacy["epsilon_by"]["rdp"] * 1.001
    lines = [record["privacy"]["epsilon"] for record in folder.metrics()]
    assert lines == sorted(lines)
    moved = folder.metrics()[-1]["privacy"]["clip_norm"] != 1.0
    assert moved == (settings.get("clipping") == "adaptive")
    assert not (folder.path / "noise.key").exists(), "the key takes the noise off"


@pytest.mark.slow
def test_a_bound_that_moves_moves_alike_behind_masks(cohort_folder: Path, config_of: ConfigOf) -> None:
    adaptive = {"dp": "central", "clipping": "adaptive", "clip_norm": 0.05, "clients_per_round": 4, "rounds": 4}
    made = [
        run(config_of(**adaptive, dp_noise="seeded", secagg=masked, name=f"masked-{masked}"), cohort_folder)
        for masked in (False, True)
    ]
    norms = [[record["privacy"]["clip_norm"] for record in folder.metrics()] for folder in made]
    assert norms[0] == norms[1]
    assert len(set(norms[0])) == 4


def test_sampling_amplifies_and_a_fleet_is_accounted_without_it(cohort_folder: Path, config_of: ConfigOf) -> None:
    layout = ClientTask(cohort_folder, "linear").layout
    made = {
        name: CentralPrivacy(config_of(dp="central", rounds=20), layout, 600, 10, Path(), chosen_by_server=ours)
        for name, ours in (("simulation", True), ("fleet", False))
    }
    assert made["simulation"].accountant.poisson
    assert not made["fleet"].accountant.poisson
    assert made["simulation"].noise_multiplier < 0.5 * made["fleet"].noise_multiplier
    # A device may have been there every time.
    assert made["fleet"].accountant.spending(20) == Spending(made["fleet"].noise_multiplier, 1.0, 20)


def test_the_noisy_mean_is_over_the_number_expected(cohort_folder: Path, config_of: ConfigOf) -> None:
    """With hardly any noise, the released update is sum / K, whoever came."""
    config = config_of(dp="central", epsilon=float("inf"), rounds=2, clip_norm=0.05, dp_sampling="in-turn",
                       max_failed_share=1.0)  # fmt: skip
    fails = {"left": 2}

    def fault(partition: int, message: object) -> None:
        if fails["left"]:
            fails["left"] -= 1
            raise RuntimeError("lost")

    folder = run(config, cohort_folder, InProcessGrid(6, fault=fault))
    task = ClientTask(cohort_folder, "cmt", config.model.model_options)
    moved = (weights_of(folder, 1) - flat(task.layout.unflatten(task.initial_weights(0)))).norm()
    assert folder.metrics()[0]["clients"] == 1
    # One client of three came: its update of norm 0.05 counts a third, not whole.
    assert float(moved) == pytest.approx(0.05 / 3, rel=0.01)


def test_a_client_cannot_weigh_more_or_push_farther_than_others(cohort_folder: Path, config_of: ConfigOf) -> None:
    """Devices that do not clip are turned away where the server sees them."""
    from flwr.app import Message

    class Cheating(InProcessGrid):
        def _answer(self, message: Message) -> Message:
            reply = super()._answer(message)
            if message.metadata.message_type == "train" and self.nodes[message.metadata.dst_node_id] == 0:
                from fedaffect.client.wire import ARRAYS, METRICS

                for array in reply.content.array_records[ARRAYS].values():
                    array.data = (array.numpy() * 3).tobytes()
                reply.content.metric_records[METRICS]["num-examples"] = 10_000
            return reply

    config = config_of(dp="central", rounds=2, clients_per_round=6, dp_sampling="in-turn", clip_norm=0.1)
    folder = run(config, cohort_folder, Cheating(6))
    first = folder.metrics()[0]
    assert first["clients"] == 5
    assert list(first["rejected"]) == ["person0"]


@pytest.mark.slow
def test_a_round_of_nobody_is_noise_alone(cohort_folder: Path, config_of: ConfigOf) -> None:
    config = config_of(dp="central", rounds=8, clients_per_round=1, clip_norm=0.1, dp_noise="seeded")
    folder = run(config, cohort_folder)
    clients = [record["clients"] for record in folder.metrics()]
    assert 0 in clients, "a sixth each of six clients: nobody in one round of three"
    empty = 1 + clients.index(0)
    before = weights_of(folder, empty - 1) if empty > 1 else None
    if before is not None:
        step = weights_of(folder, empty) - before
        expected = folder.summary()["privacy"]["noise_multiplier"] * 0.1
        assert float(step.std()) == pytest.approx(expected, rel=0.1)


def test_a_strategy_that_remembers_knows_what_the_noise_of_nobody_is_added_to(
    cohort_folder: Path, config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[dict[str, Any]] = []
    aggregate = FedAdam.aggregate_train

    def noting(self: FedAdam, *args: Any) -> Any:
        known.append(dict(self.current_arrays or {}))
        return aggregate(self, *args)

    monkeypatch.setattr(FedAdam, "aggregate_train", noting)
    config = config_of(dp="central", strategy="fedadam", rounds=12, clients_per_round=1, dp_noise="seeded")
    folder = run(config, cohort_folder)
    clients = [record["clients"] for record in folder.metrics()]
    assert 0 in clients, "a sixth each of six clients: nobody in one round of three"
    for number, arrays in enumerate(known[1:], start=1):
        begun = folder.checkpoints.load(number).arrays
        assert all(np.array_equal(arrays[name], values) for name, values in begun.items()), f"round {number + 1}"


class StopError(Exception):
    """Stands for a server that is killed after a round."""


class Stopper:
    def started(self, *args: object) -> None: ...

    def finished(self, *args: object) -> None: ...

    def round_finished(self, record: object) -> None:
        if record.round == 2:  # type: ignore[attr-defined]
            raise StopError


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_bound_and_its_tree(cohort_folder: Path, config_of: ConfigOf) -> None:
    for name, more in (("adaptive", {"clipping": "adaptive"}), ("tree", {"dp_mechanism": "ftrl"})):
        config = config_of(dp="central", rounds=4, dp_noise="secure", name=name, **more)

        folder = RunFolder.create(config)
        with pytest.raises(StopError):
            run_federation(InProcessGrid(6), config, cohort_folder, folder, [Stopper()])
        assert (folder.path / "noise.key").exists() == (name == "tree")
        norm = folder.metrics()[-1]["privacy"]["clip_norm"]
        run_federation(InProcessGrid(6), config, cohort_folder, folder, resume=True)
        lines = [record["privacy"]["clip_norm"] for record in folder.metrics()]
        assert len(lines) == 4
        assert lines[1] == norm
        if name == "adaptive":
            # It moves each round; noise may bring it back to where it was before.
            assert all(one != next_one for one, next_one in pairwise(lines))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"dp": "local"},
        {"dp": "central"},
        {"dp": "central", "clipping": "adaptive"},
        {"dp": "central", "dp_mechanism": "ftrl"},
    ],
    ids=lambda s: "-".join(s.values()),
)
def test_a_seeded_run_that_stopped_ends_with_the_arrays_of_one_that_did_not(
    cohort_folder: Path, config_of: ConfigOf, settings: dict[str, str]
) -> None:
    whole = run(config_of(**settings, dp_noise="seeded", rounds=3, name="whole"), cohort_folder)
    config = config_of(**settings, dp_noise="seeded", rounds=3, name="stopped")
    folder = RunFolder.create(config)
    with pytest.raises(StopError):
        run_federation(InProcessGrid(6), config, cohort_folder, folder, [Stopper()])
    run_federation(InProcessGrid(6), config, cohort_folder, folder, resume=True)
    assert torch.equal(weights_of(folder, 3), weights_of(whole, 3))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"dp": "central", "strategy": "krum"}, "no mean with fixed weights"),
        ({"dp": "central", "strategy": "fedmedian"}, "no mean with fixed weights"),
        ({"dp": "central", "strategy": "qfedavg"}, "no mean with fixed weights"),
        ({"dp": "central", "strategy": "scaffold"}, "one vector, not two"),
        ({"dp": "central", "keep_optimizer": True}, "each round's data once"),
        ({"dp": "local", "loss": "balanced"}, "bound of one example"),
        ({"dp": "local", "strategy": "fedrs"}, "bound of one example"),
    ],
)
def test_what_breaks_a_bound_ends_before_a_client_is_asked(
    cohort_folder: Path, config_of: ConfigOf, settings: dict[str, object], says: str
) -> None:
    grid = InProcessGrid(6)
    with pytest.raises(ConfigError, match=says):
        run(config_of(**settings), cohort_folder, grid)
    assert grid.pushed == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"dp": "local", "context": 2}, "neither bound holds"),
        ({"dp": "local", "normalise": "client"}, "bound of one example"),
        ({"dp": "central", "normalise": "client", "partition": "iid:4"}, "change others' updates"),
        ({"dp": "local", "evaluate": "clients"}, "no budget covers"),
        ({"dp": "local", "mode": "local-only"}, "nothing leaves"),
        ({"dp": "local", "dp_sampling": "poisson"}, "amplifies nothing"),
        ({"dp": "local", "clipping": "adaptive"}, "unknown clipping"),
        ({"dp": "central", "mode": "centralized"}, "one client among many"),
        ({"dp": "central", "dp_mechanism": "ftrl", "dp_sampling": "poisson"}, "does not bound"),
        ({"dp": "central", "dp_mechanism": "ftrl", "clipping": "adaptive"}, "bound that moves"),
        ({"dp": "central", "clipping": "per-layer"}, "unknown clipping|whole updates"),
        ({"dp": "local", "epsilon": None}, "needs --epsilon"),
        ({"dp": None}, "add --dp"),
        ({"dp": "both"}, "unknown --dp"),
        ({"dp": "local", "epsilon": 0.0}, "above 0"),
        ({"dp": "local", "delta": 1.0}, "between 0 and 1"),
        ({"dp": "local", "clip_norm": 0.0}, "--clip-norm"),
    ],
)
def test_settings_that_promise_nothing_are_refused(config_of: ConfigOf, settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config_of(**settings)


def test_a_corpus_whose_default_is_context_trains_without_it_under_privacy() -> None:
    assert RunSettings.of(dataset="meld").data.context == 6
    assert RunSettings.of(dataset="meld", dp="local", epsilon=8.0).data.context == 0
