"""Devices with examples of their own, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from flwr.app import Context, Error, Message, MessageType
from tests.support.fleet_runs import FleetGrid, device_folder

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.permission import Surroundings
from fedaffect.client.device.resident import DeviceAnswers
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store import Database, ExampleStore

DEVICES = 3
EXAMPLES = 20


class OwnDevices(FleetGrid):
    """Devices with examples of their own; each message is answered as a trainer answers it."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        super().__init__(DEVICES)
        self.devices = {k: _device(folder / f"device-{k}", k, bundle) for k in range(DEVICES)}
        self.asked: list[tuple[str, int]] = []
        self.says: Callable[[Message], Message | None] = lambda message: None

    def reply(self, partition: int, message: Message, context: Context) -> Message:
        self.asked.append((message.metadata.message_type, partition))
        if (said := self.says(message)) is not None:
            return said
        try:
            return DeviceAnswers(self.devices[partition], lambda: Surroundings())(message, context)
        except FedAffectError as error:
            return Message(Error(1, str(error)), reply_to=message)

    def trained(self) -> set[int]:
        return {partition for kind, partition in self.asked if kind == MessageType.TRAIN}


def _device(path: Path, number: int, bundle: Bundle) -> DeviceFolder:
    store = path / "examples.sqlite3"
    folder = device_folder(path, number, store=str(store))
    add_examples(store, bundle, EXAMPLES, seed=number)
    return folder


def add_examples(store: Path, bundle: Bundle, count: int, seed: int, key: str = "") -> None:
    rng, key = np.random.default_rng(seed), key or bundle.encoder("text").key
    with Database(store) as database:
        examples = ExampleStore(database)
        for number in range(count):
            label = ("joy", "sadness")[number % 2]
            tokens = rng.normal(2.0 * (number % 2), 1, (3, bundle.manifest.encoders["text"].width)).astype(np.float16)
            answer = Prediction(label, {label: 1.0}, 1.0, "edge", ("text",), 1.0, "v", "confident")
            examples.add(f"r{seed}-{number}", {"text": tokens}, {"text": key}, answer)
            examples.label(f"r{seed}-{number}", label, consent=True)
