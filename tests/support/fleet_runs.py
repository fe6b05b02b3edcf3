"""A fleet's runs carried in this process: real client code, real registry, no sockets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, MessageType
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.permission import LearningRules, Surroundings
from fedaffect.client.device.resident import DeviceAnswers
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.client.secagg.memory import Memory
from fedaffect.client.wire import ABOUT, SECAGG
from fedaffect.edge.system.files import write_private
from fedaffect.server.environment import FLEET_VARIABLE
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.runs import run_runner
from fedaffect.server.fleet.runs.submission import checked_settings
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.registry import Registry, audit, devices, participations, runs, tokens

CLIENTS = 6
ConfigOf = Callable[..., RunSettings]
Change = Callable[[int, Message, Message], "Message | list[Message] | None"]


class FleetGrid(InProcessGrid):
    """Flower's nodes of enrolled devices, one of which may be changed in what it answers.

    Like the real grid and unlike RayGrid it asks, so that replies may be missing, doubled or forged.
    """

    def __init__(self, clients: int, contexts: dict[int, Context] | None = None, change: Change | None = None) -> None:
        super().__init__(clients, contexts)
        self.change = change
        self.offline: set[int] = set()

    def get_node_ids(self) -> list[int]:
        return [node for node, partition in self.nodes.items() if partition not in self.offline]

    def pull_messages(self, message_ids: Any) -> list[Message]:
        found: list[Message] = []
        for message_id in message_ids:
            message = self.waiting.pop(message_id, None)
            if message is None:
                continue
            partition = self.nodes[message.metadata.dst_node_id]
            reply = self._answer(message)
            changed = self.change(partition, message, reply) if self.change and trains(message) else reply
            found += changed if isinstance(changed, list) else [changed] if changed is not None else []
        return found


def trains(message: Message) -> bool:
    return message.metadata.message_type == MessageType.TRAIN


@pytest.fixture
def fleet_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetFolder:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    monkeypatch.setenv(FLEET_VARIABLE, str(folder.path))
    return folder


@pytest.fixture
def registry(fleet_folder: FleetFolder) -> Iterator[Registry]:
    with Registry.open(fleet_folder.settings.registry) as registry:
        yield registry


@pytest.fixture
def grid(registry: Registry, tmp_path: Path) -> FleetGrid:
    grid = FleetGrid(CLIENTS)
    enrol(registry, grid, tmp_path)
    return grid


def enrol(registry: Registry, grid: FleetGrid, folder: Path) -> None:
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    for node_id, partition in grid.nodes.items():
        token = tokens.make_token(registry, valid=timedelta(hours=1))
        key = DeviceKey.make(folder / f"{partition}.key")
        device = devices.enroll(
            registry, token, name=f"d{partition}", public_key=key.public, capabilities=able, consent=True
        )
        devices.set_node(registry, device.id, node_id)


_FLOWER_RUNS = itertools.count(101)


class Fleet:
    """Submits one run and carries it, as often as asked."""

    def __init__(self, folder: FleetFolder, registry: Registry, config: RunSettings, cohort: Path) -> None:
        self.folder, self.registry, self.config = folder, registry, config
        given = {k: v for k, v in config.to_dict().items() if k not in ("engine", "out", "actors")}
        self.id, self.settings = checked_settings({**given, "cohort-folder": str(cohort)}, folder.runs)
        runs.create(registry, run_id=self.id, config=self.settings)

    def resume(self, grid: FleetGrid, observers: Sequence[Any] = (), gather_s: float = 0.2, **more: Any) -> None:
        self.flower_run = next(_FLOWER_RUNS)
        settings = {**self.settings, "gather-s": gather_s, **more}
        run_runner.resume_run(grid, self.flower_run, self.id, settings, observers)

    @property
    def run_folder(self) -> RunFolder:
        return RunFolder.open(self.folder.runs / self.id)

    def arrays(self, number: int) -> dict[str, bytes]:
        return {name: array.tobytes() for name, array in self.run_folder.checkpoints.load(number).arrays.items()}

    def who(self, number: int) -> dict[str, str]:
        names = {device.id: device.name for device in devices.every(self.registry)}
        return {names[p.slot.device_id]: p.state for p in participations.of_round(self.registry, self.id, number)}

    def rules(self) -> list[str]:
        return [entry.details for entry in audit.entries(self.registry, action="update.refused")]


@pytest.fixture
def a_fleet(
    fleet_folder: FleetFolder, registry: Registry, config_of: ConfigOf, cohort_folder: Path
) -> Callable[..., Fleet]:
    return lambda **settings: Fleet(fleet_folder, registry, config_of(**settings), cohort_folder)


def simulated(config: RunSettings, cohort: Path) -> RunFolder:
    folder = RunFolder.create(config.changed(name="simulated"))
    run_federation(InProcessGrid(CLIENTS), config, cohort, folder)
    return folder


def stage_of(message: Message) -> str:
    return str(message.content.config_records[SECAGG]["stage"])


class DeviceGrid(FleetGrid):
    """Each message is answered by a process of its own, as if the trainer were killed after every answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(CLIENTS)
        self.devices = {
            partition: device_folder(
                folder / f"device-{partition}", partition, partition=partition, rules=LearningRules(min_examples=1)
            )
            for partition in range(CLIENTS)
        }
        self.heard: list[tuple[str, int, Message]] = []

    def reply(self, partition: int, message: Message, context: Context) -> Message:
        answers = DeviceAnswers(self.devices[partition], lambda: Surroundings())
        if not trains(message):
            return answers(message, context)
        try:
            answered = answers(message, context)
        except Exception as error:  # noqa: BLE001 - the executor answers so, whatever a device raises
            answered = Message(Error(1, str(error)), reply_to=message)
        assert SECAGG not in context.state
        if SECAGG in message.content:
            self.heard.append((stage_of(message), partition, answered))
        return answered

    def memory(self, partition: int) -> Memory:
        (path,) = self.devices[partition].sums.glob("*.json")
        return Memory.from_bytes(path.read_bytes())


def device_folder(path: Path, number: int, **settings: Any) -> DeviceFolder:
    """The folder of device ``d0`` and so on of a fleet that nobody reaches."""
    folder = DeviceFolder.at(path)
    named = {"id": f"d{number}", "name": f"d{number}", "number": number}
    reached = {"server": "https://x:1", "superlink": "x:2", "consent": True, "only_private": False}
    folder.save(DeviceSettings(**named, **reached, **settings))  # type: ignore[arg-type]
    return folder


@pytest.fixture
def device_grid(grid: FleetGrid, registry: Registry, fleet_folder: FleetFolder, tmp_path: Path) -> DeviceGrid:
    # The same node ids as those that `grid` enrolled.
    made = DeviceGrid(tmp_path)
    for partition, folder in made.devices.items():
        write_private(folder.key_path, (tmp_path / f"{partition}.key").read_bytes())
        write_private(folder.authority_path, fleet_folder.authority.certificate_path.read_bytes())
        device = devices.get(registry, f"d{partition}")
        certificate = fleet_folder.authority.certify(device.id, partition, device.public_key)
        write_private(folder.certificate_path, certificate)
    return made


class Killed(BaseException):
    """What ends a process at once: no handler of ours may run."""


class Killer:
    def __init__(self, number: int) -> None:
        self.number = number

    def started(self, *_: object) -> None: ...

    def finished(self, *_: object) -> None: ...

    def round_finished(self, record: Any) -> None:
        if record.round == self.number:
            raise Killed


def about(reply: Message, **changes: Any) -> Message:
    said = dict(reply.content.config_records[ABOUT])
    reply.content[ABOUT] = ConfigRecord({**said, **{key.replace("_", "-"): v for key, v in changes.items()}})
    return reply
