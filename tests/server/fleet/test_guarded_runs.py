"""Runs of a fleet that keep what the bundle knew: the server replays public data, and a guard decides on the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.server.fleet.test_own_runs import OwnDevices, Submit, carry, devices, submit
from tests.support.learning_bundle import learning_bundle
from tests.support.public_lines import knowing, write_lines

from fedaffect.edge.bundle import Bundle, BundleStore
from fedaffect.server.federation.guard import LostTooMuch
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.messages import RunSubmission
from fedaffect.server.fleet.api.report import fleet_status
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, audit, bundles, models, runs

__all__ = ["devices", "submit"]

# What devices learn says nothing of the lines; it is learned hard, so that it costs much.
HARD: dict[str, Any] = {"local_epochs": 8, "lr": 0.05, "rounds": 3, "learned": "all"}


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "lines")


@pytest.fixture
def bundle(
    tiny_bundle: Path,
    fleet_folder: FleetFolder,
    registry: Registry,
    lines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Bundle:
    """One that knows the lines, in use on devices and on the fleet's machine."""
    store = BundleStore(tmp_path / "installed")
    monkeypatch.setattr(BundleStore, "default", classmethod(lambda cls, profile="edge": store))
    state = knowing(lines, learning_bundle(tiny_bundle, tmp_path / "fresh"), fleet_folder, registry, tmp_path)
    return store.install(learning_bundle(tiny_bundle, tmp_path / "bundle", state=state))


def test_a_run_that_costs_those_on_the_guard_too_much_fails_and_leaves_no_bundle(
    devices: OwnDevices, submit: Submit, registry: Registry, fleet_folder: FleetFolder, lines: Path
) -> None:
    run = submit(guard=str(lines), **HARD)
    with pytest.raises(LostTooMuch, match=r"loses \d+\.\d points on lines"):
        carry(devices, registry, run)
    record = runs.get(registry, run)
    assert record.state == "failed"
    assert "--guard-loss allows 1" in record.reason
    assert (models.every(registry), bundles.every(registry)) == ([], [])
    assert "bundle.exported" not in {entry.action for entry in audit.entries(registry)}
    # Its figures stay.
    guard = RunFolder.open(fleet_folder.runs / run).summary()["guard"]["corpora"]["lines"]
    assert guard["before"] > guard["after"] + 0.05


def test_what_the_server_replays_is_kept_and_the_bundle_says_so(
    devices: OwnDevices, submit: Submit, registry: Registry, fleet_folder: FleetFolder, lines: Path
) -> None:
    run = submit(replay=str(lines), replay_lr=0.01, guard_loss=5.0, **{**HARD, "lr": 0.01})
    carry(devices, registry, run)
    assert runs.get(registry, run).state == "finished"
    guard = RunFolder.open(fleet_folder.runs / run).summary()["guard"]["corpora"]["lines"]
    assert guard["lost_points"] <= 5
    (model,) = models.every(registry)
    figures = [round(guard["before"], 4), round(guard["after"], 4)]
    assert model.lineage["guard"] == {"lines": figures}
    (shown,) = fleet_status(registry, {})["models"]
    assert shown["guard"] == {"lines": figures}


def test_corpora_in_the_fleets_folder_are_replayed_unless_told_otherwise(
    fleet_folder: FleetFolder, registry: Registry, bundle: Bundle
) -> None:
    aggregator = Aggregator(fleet_folder, registry, None)  # type: ignore[arg-type]

    def submitted(**settings: Any) -> tuple[str, dict[str, Any]]:
        answer = aggregator.start_run(RunSubmission(settings=settings))
        return answer["learns"], dict(runs.get(registry, answer["run"]).config)

    learns, config = submitted(name="a")
    assert "nothing protects what it knows already" in learns
    assert not config.get("replay")
    write_lines(fleet_folder.public / "own")
    learns, config = submitted(name="b")
    assert "the server replays own, so that it forgets little" in learns
    # Two runs from one bundle: neither has what the other learns.
    assert learns.endswith("what a learns meanwhile is not in its bundle")
    assert config["replay"] == f"folder={fleet_folder.public / 'own'}"
    assert not submitted(name="c", replay="")[1].get("replay")
