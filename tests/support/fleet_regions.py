"""A root and its regions in this process: real client code, registries and orders, no sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message
from tests.support.fleet_runs import CLIENTS, FleetGrid

from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.client.wire import CONFIG, RUN
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.regions.carrying import RegionAtWork
from fedaffect.server.fleet.regions.node import RegionAnswers, region_run_id
from fedaffect.server.fleet.runs import run_runner
from fedaffect.server.fleet.runs.lease_holder import held_lease
from fedaffect.server.fleet.runs.submission import checked_settings
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.registry import Registry, devices, participations, rounds, runs, tokens

ABLE = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
NAMES = ("north", "south")


def enrol(registry: Registry, folder: Path, name: str, node_id: int, **more: Any) -> devices.Device:
    token = tokens.make_token(registry, valid=timedelta(hours=1), region=bool(more.get("region")))
    key = DeviceKey.make(folder / f"{name}.key").public
    device = devices.enroll(registry, token, name=name, public_key=key, capabilities=ABLE, consent=True, **more)
    return devices.set_node(registry, device.id, node_id)


class Region:
    """A region whose ServerApp is a thread; its devices learn partitions, or their own examples."""

    def __init__(self, folder: Path, name: str, grid: FleetGrid, *, own: bool = False, least_devices: int = 1) -> None:
        settings = FleetSettings(name=name, least_devices=least_devices)
        self.name, self.folder = name, FleetFolder.create(folder / name, settings)
        self.registry = Registry.open(self.folder.settings.registry)
        self.grid = grid
        for node, k in self.grid.nodes.items():
            enrol(self.registry, self.folder.path, f"d{k}", node, **({} if own else {"partition": k}))
        self.answers = RegionAnswers(self.folder, self.registry)
        self._threads: dict[str, threading.Thread] = {}

    def answer(self, message: Message, context: Context) -> Message:
        run_id = region_run_id(str(message.content.config_records[CONFIG][RUN]))
        if run_id not in self._threads:
            self._threads[run_id] = threading.Thread(target=self._carry, args=(run_id,), daemon=True)
            self._threads[run_id].start()
        return self.answers(message, context)

    def _carry(self, run_id: str) -> None:
        while run_id not in {run.id for run in runs.every(self.registry, "open")}:
            time.sleep(0.02)
        with held_lease(self.registry, run_id) as lease:
            settings = runs.get(self.registry, run_id).config
            RegionAtWork(self.grid, self.registry, lease, self.folder, settings).carry()

    def end(self, root: Registry) -> None:
        """What the root says at the next report."""
        for run in runs.every(self.registry, "open"):
            root_run = str(run.config["region-run"])
            last = rounds.last_committed(root, root_run)
            state = runs.get(root, root_run).state
            facts = {"state": "cancelled" if state == "open" else state, "committed": last.round if last else 0}
            self.answers.orders(run.id).close(facts)
        for thread in self._threads.values():
            thread.join(60)

    def rounds(self, root_run: str) -> list[tuple[int, int, str]]:
        return [(r.round, r.attempt, r.state) for r in rounds.of_run(self.registry, region_run_id(root_run))]


def half(place: int) -> FleetGrid:
    """Half of the partitions."""
    grid = FleetGrid(CLIENTS)
    grid.nodes = {node: k for node, k in grid.nodes.items() if k // (CLIENTS // 2) == place}
    return grid


class RootGrid(FleetGrid):
    """Nodes of regions."""

    def __init__(self, regions: Sequence[Region]) -> None:
        super().__init__(len(regions))
        self.regions = regions
        self.lost: Mapping[int, str] = {}

    def reply(self, partition: int, message: Message, context: Context) -> Message:
        if partition in self.lost and "round" in message.content.config_records.get("region", {}):
            return Message(Error(1, self.lost[partition]), reply_to=message)
        return self.regions[partition].answer(message, context)


class Root:
    """A fleet whose devices are two regions, and runs of it."""

    def __init__(
        self, folder: Path, fleet: FleetFolder, registry: Registry, cohort: Path, regions: Sequence[Region] = ()
    ) -> None:
        self.fleet, self.registry, self.cohort = fleet, registry, cohort
        self.regions = regions or [Region(folder, name, half(place)) for place, name in enumerate(NAMES)]
        self.grid = RootGrid(self.regions)
        for node, place in self.grid.nodes.items():
            enrol(registry, folder, NAMES[place], node, region=True, partition=place)

    def run(self, config: RunSettings, observers: Sequence[Any] = (), **more: Any) -> RunFolder:
        given = {k: v for k, v in config.to_dict().items() if k not in ("engine", "out", "actors")}
        given |= {"cohort-folder": str(self.cohort), "by-region": True, "gather-s": 0.2, **more}
        run_id, settings = checked_settings(given, self.fleet.runs)
        runs.create(self.registry, run_id=run_id, config=settings)
        self.resume(run_id, settings, observers)
        return RunFolder.open(self.fleet.runs / run_id)

    def resume(self, run_id: str, settings: Mapping[str, Any], observers: Sequence[Any] = ()) -> None:
        number = 500 + sum(len(run.flower_runs) for run in runs.every(self.registry))
        run_runner.resume_run(self.grid, number, run_id, settings, observers)

    def end(self) -> None:
        for region in self.regions:
            region.end(self.registry)

    def who(self, run_id: str, number: int) -> dict[str, tuple[str, str]]:
        names = {device.id: device.name for device in devices.every(self.registry)}
        of_round = participations.of_round(self.registry, run_id, number)
        return {names[p.slot.device_id]: (p.state, p.reason) for p in of_round}
