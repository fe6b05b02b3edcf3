"""Print the OpenAPI description of the cloud's REST, from which `npm run api` makes the page's client."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fedaffect.server.console.mounting import console_beside
from fedaffect.server.registry import Registry
from fedaffect.server.serving.engines.engine import Engine
from fedaffect.server.serving.engines.versions import VersionedEngine
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.http.app import rest_over


async def _none(folder: Path) -> Engine:
    raise NotImplementedError("nothing is served here")


with TemporaryDirectory() as folder, Registry.open(f"sqlite:///{folder}/server.db") as registry:
    gateway = Gateway(VersionedEngine(_none))
    with console_beside(Path(folder))(gateway, registry) as beside:
        sys.stdout.write(json.dumps(rest_over(gateway, mounted=beside).openapi(), sort_keys=True))
