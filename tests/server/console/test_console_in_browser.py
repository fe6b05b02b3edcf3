"""The operators' views in a real browser; ``server/web/tests/console.spec.ts`` says what it does there."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.support.browser import in_a_browser, require_passes
from tests.support.console_pages import PASSWORD
from tests.support.fleet_runs import FleetGrid
from tests.support.public_keys import public_key
from tests.support.recorded import LABELS, recorded_run
from tests.support.small_engine import SmallEngine

from fedaffect.server.console.mounting import console_beside
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import (
    Registry,
    audit,
    bundles,
    devices,
    groups,
    leases,
    models,
    participations,
    privacy,
    rollouts,
    runs,
    tokens,
    users,
)
from fedaffect.server.registry import rounds as round_stores
from fedaffect.server.registry.participations import Outcome, Slot
from fedaffect.server.registry.privacy import Charge
from fedaffect.server.serving.app import background

pytestmark = pytest.mark.slow


class Learning:
    """A run whose rounds are opened, answered and committed as an aggregator's are, at a pace that can be watched."""

    def __init__(self, registry: Registry, name: str, rounds: int) -> None:
        self._registry = registry
        self._names = {device.id: device.name for device in devices.every(registry) if device.status == "enrolled"}
        config = {"dataset": "own", "strategy": "fedavg", "dp": "local", "epsilon": 2.0, "rounds": rounds}
        runs.create(registry, run_id=name, config=config)
        self._lease = leases.acquire(registry, name, "test", seconds=3_600)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def round(self, number: int) -> None:
        """One round: a device says no, another never answers."""
        ids, lease = list(self._names), self._lease
        opened = round_stores.open_round(self._registry, lease, number, selected=ids, base_sha256="0" * 64)
        participations.ask(self._registry, lease, number, opened.attempt, ids)
        for device, name in self._names.items():
            slot = Slot(lease.run_id, number, opened.attempt, device)
            if name == "d1":
                participations.record_outcome(
                    self._registry, lease, slot, Outcome(state="refused", reason="it is on its battery", seconds=0.2)
                )
            elif name != "d2":
                spent = {"epsilon": 0.2 * number**0.5, "delta": 1e-5, "noise_multiplier": 1.1}
                paid = Charge(
                    run_id=lease.run_id,
                    round=number,
                    attempt=opened.attempt,
                    device_id=device,
                    unit="example",
                    accountant="rdp",
                    **spent,
                )
                if lease.run_id == "learn-1":
                    privacy.charge(self._registry, paid)
                outcome = Outcome(state="answered", seconds=1.0 + len(name), bytes_up=412_000, bytes_down=431_000)
                participations.record_outcome(self._registry, lease, slot, outcome)
        dev = {"uar": 0.6 - 0.3 / number, "accuracy": 0.62 - 0.25 / number, "loss": 1.4 / number}
        metrics = {"clients": 4, "refusals": 1, "failures": 1, "train_loss": 1.5 / number, "dev": dev}
        round_stores.commit(
            self._registry,
            lease,
            number,
            opened.attempt,
            arrays_sha256=f"{number:064d}",
            checkpoint="",
            metrics=metrics,
        )

    def finish(self) -> None:
        """End it well."""
        runs.finish(self._registry, self._lease)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _go_on(self) -> None:
        for number in range(1, 101):
            self.round(number)
            if self._stop.wait(1.5):
                return


def add_bundles(registry: Registry, folder: Path) -> None:
    """Three, the last two of runs; the first is with all devices."""
    for number, version in enumerate(("edge-2026-11-01", "edge-2026-11-14", "edge-2026-11-28")):
        tar = folder / f"{version}.tar"
        tar.write_bytes(b"tar")
        bundles.add(registry, version=version, path=tar, sha256=f"{number}" * 64, size_bytes=41_000_000)
        if number:
            models.add(
                registry,
                version=version,
                profile="edge",
                path=tar,
                label_set="shared4",
                sha256=f"{number}" * 64,
                lineage={
                    "before": ("edge-2026-11-01", "edge-2026-11-14")[number - 1],
                    "guard": {"ravdess": [0.714, 0.709], "meld": [0.402, 0.411]},
                },
                run_id=f"learn-{number}",
                round=4,
                epsilon=1.62,
            )
    rollouts.stage(registry, "edge-2026-11-01", 100)


def add_waiting(registry: Registry) -> None:
    """Two devices that wait."""
    token = tokens.make_token(registry, valid=timedelta(hours=1), uses=2, approval=True, group="ward-3")
    able = devices.Capabilities(modalities=("text", "audio"), memory_mb=4_000, cores=4)
    for name in ("ward-phone", "stranger"):
        devices.enroll(registry, token, name=name, public_key=public_key(name), capabilities=able, consent=True)


def add_runs(folder: Path) -> None:
    """Two that can be compared, a damaged one, and one that goes on."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(LABELS), 240)
    for name, right in (("meld-natural", 0.8), ("meld-iid", 0.6), ("growing", 0.5)):
        predicted = np.where(rng.random(240) < right, labels, rng.integers(0, len(LABELS), 240))
        recorded_run(folder, name, labels, predicted, dataset="synthetic", rounds=4 if name != "growing" else 5_000)
    (folder / "growing" / "summary.json").unlink()
    (folder / "broken").mkdir()
    (folder / "broken" / "config.toml").write_text("[data]\ndataset = 3\n")


class Growing:
    """A run folder that gets a round now and then until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self._metrics = folder / "metrics.jsonl"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._grow)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _grow(self) -> None:
        for number in range(5, 5_000):
            line = {
                "round": number,
                "clients": 8,
                "failures": 0,
                "train_loss": 2.0 / number,
                "dev": {"uar": 0.7 - 1.0 / number, "loss": 1.0},
            }
            with self._metrics.open("a") as file:
                file.write(json.dumps(line) + "\n")
            if self._stop.wait(2.0):
                return


@in_a_browser
def test_what_operators_and_viewers_see_and_do(
    grid: FleetGrid, registry: Registry, fleet_folder: FleetFolder, tmp_path: Path
) -> None:
    groups.set_labels(registry, ["d0"], add=["tablet"])
    first = Learning(registry, "learn-1", rounds=4)
    for number in range(1, 5):
        first.round(number)
    first.finish()
    add_bundles(registry, tmp_path)
    add_waiting(registry)
    add_runs(tmp_path / "runs")
    with (
        Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as own,
        Registry.open(f"sqlite:///{tmp_path / 'new.db'}") as empty,
    ):
        users.add(own, "ada", "operator", PASSWORD)
        users.add(own, "vera", "viewer", PASSWORD)
        with (
            background(
                SmallEngine(), registry=own, mounting=console_beside(tmp_path / "runs", fleet=fleet_folder)
            ) as server,
            background(SmallEngine(), registry=empty, mounting=console_beside(tmp_path / "none")) as fresh,
            Growing(tmp_path / "runs" / "growing"),
            Learning(registry, "learn-2", rounds=100),
        ):
            require_passes(
                "console.spec.ts",
                tmp_path,
                PAGE_URL=server.rest_url,
                CONSOLE_URL=server.rest_url,
                FRESH_URL=fresh.rest_url,
                PASSWORD=PASSWORD,
            )
    acts = {
        (entry.action, entry.actor)
        for entry in audit.entries(registry)
        if entry.action in {"device.approved", "device.revoked", "rollout.staged", "rollout.rolled-back"}
    }
    assert acts >= {
        ("device.approved", "user:ada"),
        ("device.revoked", "user:ada"),
        ("rollout.staged", "user:ada"),
        ("rollout.rolled-back", "user:ada"),
    }
    audit.verify(registry)
