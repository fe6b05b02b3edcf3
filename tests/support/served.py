"""The aggregator service at work behind TLS, in a thread of the test's."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import uvicorn

from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.permission import LearningRules
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.system.files import write_private
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.service import create_app
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.fleet.setup.tls import server_context
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, devices


@contextlib.contextmanager
def served(folder: FleetFolder, registry: Registry, superlink: SuperLink | None = None) -> Iterator[str]:
    """Its URL; where no SuperLink is given there is none."""
    away = SuperLink("127.0.0.1:1", folder.authority.certificate_path)
    aggregator = Aggregator(folder, registry, superlink or away)
    context = server_context(folder.server_pem)
    config = uvicorn.Config(
        create_app(aggregator, Auditor(folder.settings.registry, "service")),
        port=0,
        log_level="error",
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=1,
        ssl_context_factory=lambda _config, _default: context,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"https://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def enrolled(registry: Registry, fleet: FleetFolder, path: Path, url: str) -> DeviceFolder:
    """A device that the registry knows and Flower does not."""
    folder = DeviceFolder.at(path)
    key = DeviceKey.make(folder.key_path)
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    token = devices.make_token(registry, valid=timedelta(hours=1))
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
