"""The operators' views in a real browser; ``server/web/tests/console.spec.ts`` says what it does there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message
from tests.support.console_pages import PASSWORD
from tests.support.fleet_runs import CLIENTS, Fleet, FleetGrid
from tests.support.public_keys import public_key
from tests.support.recorded import LABELS, recorded_run
from tests.support.small_engine import SmallEngine

from fedaffect.client.wire import REFUSED
from fedaffect.server.console.mounting import console_beside
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, audit, bundles, devices, groups, models, rollouts, tokens, users
from fedaffect.server.serving.app import background

pytestmark = pytest.mark.slow

WEB = Path(__file__).resolve().parents[3] / "server" / "web"
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium")
PLAYWRIGHT = WEB / "node_modules" / ".bin" / "playwright"
AFleet = Callable[..., Fleet]


def refuses(partition: int, message: Message, reply: Message) -> Message | None:
    """One device says no, another never answers."""
    if partition == 1:
        return Message(Error(REFUSED, "it is on its battery"), reply_to=message)
    return None if partition == 2 else reply


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
        recorded_run(folder, name, labels, predicted, dataset="synthetic", rounds=4 if name != "growing" else 60)
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
        for number in range(5, 60):
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


@pytest.mark.skipif(NODE is None, reason="node is not here")
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not here: apt-get install chromium")
@pytest.mark.skipif(not PLAYWRIGHT.exists(), reason="playwright is not here: npm ci in server/web")
def test_what_operators_and_viewers_see_and_do(
    a_fleet: AFleet, grid: FleetGrid, registry: Registry, fleet_folder: FleetFolder, tmp_path: Path
) -> None:
    grid.change = refuses
    small: dict[str, Any] = {"clients_per_round": CLIENTS, "round_timeout_s": 0.5, "max_failed_share": 1.0}
    groups.set_labels(registry, ["d0"], add=["tablet"])
    first = a_fleet(rounds=3, name="learn-1", **small)
    first.resume(grid)
    add_bundles(registry, tmp_path)
    add_waiting(registry)
    add_runs(tmp_path / "runs")
    # Carried while the browser looks.
    second = a_fleet(rounds=100, name="learn-2", **small)

    def carry() -> None:
        with contextlib.suppress(Over):
            second.resume(grid, observers=[Slowly(tmp_path / "done")])

    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as own, Growing(tmp_path / "runs" / "growing"):
        users.add(own, "ada", "operator", PASSWORD)
        users.add(own, "vera", "viewer", PASSWORD)
        beside = console_beside(tmp_path / "runs", fleet=fleet_folder)
        carrier = threading.Thread(target=carry)
        carrier.start()
        try:
            with (
                background(SmallEngine(), registry=own, mounting=beside) as server,
                Registry.open(f"sqlite:///{tmp_path / 'new.db'}") as empty,
                background(SmallEngine(), registry=empty, mounting=console_beside(tmp_path / "none")) as fresh,
            ):
                environment = {
                    **os.environ,
                    "PAGE_URL": server.rest_url,
                    "CONSOLE_URL": server.rest_url,
                    "FRESH_URL": fresh.rest_url,
                    "PASSWORD": PASSWORD,
                    "CHROMIUM": str(CHROMIUM),
                    "OUT": os.environ.get("FEDAFFECT_SCREENSHOTS", str(tmp_path / "screenshots")),
                }
                done = subprocess.run(
                    [str(PLAYWRIGHT), "test", "console.spec.ts"],
                    cwd=WEB,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
        finally:
            (tmp_path / "done").touch()
            carrier.join()
    assert done.returncode == 0, done.stdout + done.stderr
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


class Over(BaseException):
    """Nobody looks any more."""


class Slowly:
    """Lets a run go on at a pace that can be watched, until a file is there."""

    def __init__(self, done: Path) -> None:
        self._done = done

    def started(self, *_: object) -> None: ...

    def finished(self, *_: object) -> None: ...

    def round_finished(self, *_: object) -> None:
        time.sleep(0.5)
        if self._done.exists():
            raise Over
