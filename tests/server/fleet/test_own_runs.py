"""A run without a corpus: devices learn from what they hold, from the bundle that they have on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Error, Message, MessageType
from tests.support.fleet_runs import FleetGrid, enrol
from tests.support.learning_bundle import learning_bundle
from tests.support.own_devices import DEVICES, EXAMPLES, OwnDevices

from fedaffect.client.device.permission import LearningRules, Surroundings
from fedaffect.client.device.resident import DeviceAnswers
from fedaffect.client.device.spending import ledger_of
from fedaffect.client.wire import CONFIG, REFUSED
from fedaffect.edge.bundle import Bundle, BundleStore
from fedaffect.edge.errors import BundleError, ConfigError, DataError, FedAffectError, TrainingError
from fedaffect.server.federation.failures import RoundFailedError
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.messages import RunSubmission
from fedaffect.server.fleet.api.report import fleet_status
from fedaffect.server.fleet.errors import TooFewDevices
from fedaffect.server.fleet.runs import run_runner
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, bundles, models, participations, rollouts, runs
from fedaffect.server.registry.errors import RunConflict
from fedaffect.server.starting_point import bundle_at, of_bundle

_FLOWER_RUNS = itertools.count(101)


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """In use on devices and on the fleet's machine."""
    store = BundleStore(tmp_path / "installed")
    monkeypatch.setattr(BundleStore, "default", classmethod(lambda cls, profile="edge": store))
    return store.install(learning_bundle(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def devices(registry: Registry, bundle: Bundle, tmp_path: Path) -> OwnDevices:
    grid = OwnDevices(tmp_path, bundle)
    enrol(registry, grid, tmp_path)
    return grid


Submit = Callable[..., str]


@pytest.fixture
def submit(fleet_folder: FleetFolder, registry: Registry, bundle: Bundle) -> Submit:
    def run(**settings: Any) -> str:
        given = {key.replace("_", "-"): value for key, value in settings.items()}
        aggregator = Aggregator(fleet_folder, registry, None)  # type: ignore[arg-type]
        answer = aggregator.start_run(RunSubmission(settings={"rounds": 2, "dp": "none", "gather-s": 0.1, **given}))
        return str(answer["run"])

    return run


def carry(grid: FleetGrid, registry: Registry, run: str) -> None:
    run_runner.resume_run(grid, next(_FLOWER_RUNS), run, runs.get(registry, run).config)


def test_devices_that_hold_enough_learn_from_their_bundle_on_and_get_a_better_one(
    devices: OwnDevices, submit: Submit, registry: Registry, fleet_folder: FleetFolder, bundle: Bundle
) -> None:
    devices.devices[2].change(rules=LearningRules(min_examples=EXAMPLES + 1))
    run = submit(local_epochs=4, lr=0.01)
    carry(devices, registry, run)

    assert devices.trained() == {0, 1}
    record = runs.get(registry, run)
    assert (record.state, record.reason) == ("finished", "")
    folder = RunFolder.open(fleet_folder.runs / run)
    assert [line["clients"] for line in folder.metrics()] == [2, 2]
    summary = folder.summary()
    assert summary["start"]["bundle"] == bundle.version
    assert summary["test"] is None
    # Curves and all, as of a simulation.
    assert (folder.path / "report.html").is_file()
    # The bundle of what was learned, with the one before in its lineage, is on its way to everybody.
    (model,) = models.every(registry)
    assert model.lineage["before"] == bundle.version
    (entry,) = bundles.every(registry)
    (rollout,) = rollouts.every(registry)
    assert (rollout.bundle_version, rollout.percent) == (entry.version, 100.0)
    with bundle_at(entry.path) as made:
        assert made.manifest.calibration == bundle.manifest.calibration
        known, learned = of_bundle(bundle).fusion.state, of_bundle(made).fusion.state
        assert {m: e.key() for m, e in made.manifest.encoders.items()} == {
            m: e.key() for m, e in bundle.manifest.encoders.items()
        }
    assert known.keys() == learned.keys()
    text = "adapters.text.project.weight"
    assert not np.array_equal(known[text].numpy(), learned[text].numpy())
    # Nor is the trunk another, behind which other modalities would be answered otherwise.
    np.testing.assert_array_equal(known["head.weight"].numpy(), learned["head.weight"].numpy())
    # What nobody had is as it was.
    np.testing.assert_array_equal(
        known["adapters.video.project.weight"].numpy(), learned["adapters.video.project.weight"].numpy()
    )


def test_the_next_run_goes_on_from_the_bundle_of_the_last(
    devices: OwnDevices, submit: Submit, registry: Registry, fleet_folder: FleetFolder, bundle: Bundle
) -> None:
    first = submit()
    carry(devices, registry, first)
    second = submit()
    assert (first, second) == ("learn-1", "learn-2")
    carry(devices, registry, second)
    start = RunFolder.open(fleet_folder.runs / second).summary()["start"]
    (made,) = (model for model in models.every(registry) if model.run_id == first)
    assert start["bundle"] == made.version
    assert [(one["run"], one["bundle"]) for one in start["lineage"]] == [(first, bundle.version)]
    newest = next(model for model in models.every(registry) if model.run_id == second)
    assert (newest.lineage["before"], newest.lineage["runs"]) == (made.version, [first, second])
    # The same again is the run that is there, and no other, though devices have another bundle now.
    assert submit(name=first) == first
    with pytest.raises(RunConflict, match="other settings"):
        submit(name=first, lr=0.5)
    # From another run than the bundle's, by its name in the fleet.
    third = submit(start_from=first, name="from-the-first", rollout=0.0)
    carry(devices, registry, third)
    start = RunFolder.open(fleet_folder.runs / third).summary()["start"]
    assert (start["name"], start["bundle"]) == (f"{first} round 2", "")
    assert [rollout.bundle_version for rollout in rollouts.every(registry)] == [newest.version, made.version]


def test_a_run_that_nobody_can_join_says_why_and_leaves_no_bundle(
    devices: OwnDevices, submit: Submit, registry: Registry
) -> None:
    for device in devices.devices.values():
        device.change(rules=LearningRules(min_examples=EXAMPLES + 1))
    devices.devices[0].change(consent=False)
    run = submit(timeout_s=0.2)
    said = (
        r"a round needs 2 of 3 devices, and 3 were online after 0.2 s .*of which 0 would train now \(2 x it has too few"
    )
    with pytest.raises(TooFewDevices, match=said):
        carry(devices, registry, run)
    assert devices.trained() == set()
    (shown,) = fleet_status(registry, {})["runs"]
    assert shown["state"] == "failed"
    assert "1 x its user has not agreed" in shown["reason"]
    assert (models.every(registry), bundles.every(registry)) == ([], [])


@pytest.mark.parametrize(
    ("trouble", "state", "said"),
    [
        (BundleError("there are no encoders"), "failed", "there are no encoders"),
        (TrainingError("the disk is full"), "open", "is tried again after: the disk is full"),
    ],
)
def test_a_run_that_does_not_begin_says_why(
    trouble: FedAffectError,
    state: str,
    said: str,
    devices: OwnDevices,
    submit: Submit,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = submit()

    def fails(*_: object) -> None:
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(run_runner, "own_cohort", fails)
        with pytest.raises(type(trouble)):
            carry(devices, registry, run)
    assert (runs.get(registry, run).state, runs.get(registry, run).reason) == (state, said)
    if state == "open":
        carry(devices, registry, run)
        assert (runs.get(registry, run).state, runs.get(registry, run).reason) == ("finished", "")


def test_fewer_than_min_devices_are_waited_for(devices: OwnDevices, submit: Submit, registry: Registry) -> None:
    devices.devices[0].change(consent=False)
    run = submit(min_devices=3, timeout_s=0.2)
    with pytest.raises(TooFewDevices, match="a round needs 3 of 3 devices"):
        carry(devices, registry, run)
    run = submit(min_devices=1, clients_per_round=1, name="one")
    carry(devices, registry, run)
    assert runs.get(registry, run).state == "finished"


def test_a_fleet_of_one_device_waits_for_another(
    registry: Registry, bundle: Bundle, submit: Submit, tmp_path: Path
) -> None:
    grid = OwnDevices(tmp_path, bundle)
    grid.nodes = dict([next(iter(grid.nodes.items()))])
    enrol(registry, grid, tmp_path)
    with pytest.raises(TooFewDevices, match="a round needs 2 of 2 devices, and 1 were online"):
        carry(grid, registry, submit(timeout_s=0.2))


def test_a_round_that_all_refuse_after_all_is_no_round(
    devices: OwnDevices, submit: Submit, registry: Registry, fleet_folder: FleetFolder
) -> None:
    def refuse(message: Message) -> Message | None:
        if message.metadata.message_type != MessageType.TRAIN:
            return None
        return Message(Error(REFUSED, "it is in use"), reply_to=message)

    devices.says = refuse
    run = submit()
    with pytest.raises(RoundFailedError, match="no device trained in round 1: it is in use"):
        carry(devices, registry, run)
    assert RunFolder.open(fleet_folder.runs / run).metrics() == []
    assert runs.get(registry, run).state == "open"
    said = {p.reason for p in participations.of_round(registry, run, 1)}
    assert said == {"it is in use"}
    devices.says = lambda message: None
    carry(devices, registry, run)
    assert [line["clients"] for line in RunFolder.open(fleet_folder.runs / run).metrics()] == [DEVICES, DEVICES]


def test_what_does_not_fit_a_device_is_said_before_it_is_asked_to_train(
    devices: OwnDevices, submit: Submit, registry: Registry, bundle: Bundle, tiny_bundle: Path, tmp_path: Path
) -> None:
    other = learning_bundle(tiny_bundle, tmp_path / "other", labels="shared4", seed=1)
    run = submit(timeout_s=0.2)
    # Meanwhile devices went on to a bundle of other labels.
    BundleStore.default().install(other)
    with pytest.raises(TooFewDevices, match="3 x the round learns label set 'shared7' and this device's"):
        carry(devices, registry, run)
    assert devices.trained() == set()


def test_the_question_tells_the_device_all_and_its_answer_tells_no_number(
    devices: OwnDevices, submit: Submit, registry: Registry
) -> None:
    heard: list[Message] = []

    def listen(message: Message) -> Message | None:
        if message.metadata.message_type == MessageType.QUERY:
            heard.append(DeviceAnswers(devices.devices[0], lambda: Surroundings())(message, _context()))
            assert {"run", "labels", "encoders", "layout"} <= set(message.content.config_records[CONFIG])
        return None

    devices.says = listen
    carry(devices, registry, submit())
    # Once each, and not in every round.
    assert [kind for kind, _ in devices.asked].count(MessageType.QUERY) == DEVICES
    assert [dict(reply.content.metric_records["metrics"]) for reply in heard] == [{"ready": 1}] * DEVICES


def _context() -> Context:
    from flwr.app import RecordDict

    return Context(run_id=1, node_id=9, node_config={"partition-id": 0}, state=RecordDict(), run_config={})


def test_by_default_devices_add_noise_of_their_own_within_their_budget(
    devices: OwnDevices, submit: Submit, registry: Registry, fleet_folder: FleetFolder
) -> None:
    for device in devices.devices.values():
        device.change(only_private=True)
    # Devices refuse to go without.
    with pytest.raises(TooFewDevices, match="3 x this device learns only with noise of its own"):
        carry(devices, registry, submit(timeout_s=0.2))
    devices.devices[2].change(epsilon=0.5)
    run = submit(dp="local", epsilon=2.0)
    carry(devices, registry, run)
    assert devices.trained() == {0, 1}
    assert 1.0 < ledger_of(devices.devices[0]).spent <= 2.0
    assert RunFolder.open(fleet_folder.runs / run).summary()["privacy"]["epsilon"] == 2.0
    assert models.every(registry)[0].epsilon == 2.0


def test_labels_that_no_device_has_are_refused_when_the_run_is_submitted(submit: Submit, registry: Registry) -> None:
    with pytest.raises(ConfigError, match="no enrolled device's bundle has labels 'meld7', but 'shared7'"):
        submit(labels="meld7")
    with pytest.raises(ConfigError, match="no enrolled device's bundle has modalities"):
        submit(modalities="text")
    assert runs.every(registry) == []


def test_unless_told_otherwise_there_is_noise(submit: Submit, registry: Registry, fleet_folder: FleetFolder) -> None:
    aggregator = Aggregator(fleet_folder, registry, None)  # type: ignore[arg-type]
    answer = aggregator.start_run(RunSubmission(settings={}))
    config = runs.get(registry, answer["run"]).config
    assert (config["dp"], config["epsilon"]) == ("local", 2.0)
    assert "their own examples" in answer["learns"]
    less = aggregator.start_run(RunSubmission(settings={"epsilon": 1.0, "name": "less"}))
    assert runs.get(registry, less["run"]).config["dp"] == "local"
    assert less["learns"].endswith(f"; what {answer['run']} learns meanwhile is not in its bundle")
    (fleet_folder.public / "holiday").mkdir(parents=True)
    with pytest.raises(DataError, match=r"holiday holds cannot be told; .*--replay CORPUS="):
        aggregator.start_run(RunSubmission(settings={}))
    (fleet_folder.public / "holiday").rmdir()
    # Again, and it is the same run.
    assert aggregator.start_run(RunSubmission(settings={}))["run"] == answer["run"]
    benchmark = aggregator.start_run(RunSubmission(settings={"dataset": "synthetic"}))
    assert "benchmark over partitions of synthetic" in benchmark["learns"]
