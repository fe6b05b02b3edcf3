"""The aggregator service at work behind TLS, in a thread of the test's."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.permission import LearningRules
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.system.files import write_private
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.service import create_app
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.runs.driver import RunDriver
from fedaffect.server.fleet.setup.connections import BoundedListener
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.fleet.setup.tls import https_config
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, devices, tokens
from fedaffect.server.uvicorn_compat import BoundedServer


@contextlib.contextmanager
def served(
    folder: FleetFolder, registry: Registry, superlink: SuperLink | None = None, driver: RunDriver | None = None
) -> Iterator[str]:
    """Its URL; where no SuperLink is given there is none."""
    away = SuperLink("127.0.0.1:1", folder.authority.certificate_path)
    aggregator = Aggregator(folder, registry, superlink or away)
    app = create_app(aggregator, Auditor(folder.settings.registry, "service"), driver)
    settings = folder.settings
    config = https_config(app, folder, 0, log_level="error", timeout_graceful_shutdown=1)
    listener = BoundedListener("127.0.0.1", 0, settings.connections_per_address, settings.connections)
    server = BoundedServer(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"https://localhost:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def enrolled(registry: Registry, fleet: FleetFolder, path: Path, url: str) -> DeviceFolder:
    """A device that the registry knows and Flower does not."""
    folder = DeviceFolder.at(path)
    key = DeviceKey.make(folder.key_path)
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    token = tokens.make_token(registry, valid=timedelta(hours=1))
    device = devices.enroll(registry, token, name="phone", public_key=key.public, capabilities=able, consent=True)
    write_private(folder.authority_path, fleet.authority.certificate_path.read_bytes())
    settings = DeviceSettings(
        id=device.id,
        name="phone",
        number=0,
        server=url,
        superlink="localhost:1",
        consent=True,
        only_private=False,
        store=str(path / "examples.sqlite3"),
        rules=LearningRules(),
    )
    folder.save(settings)
    return folder
