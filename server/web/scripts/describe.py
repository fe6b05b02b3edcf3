"""Print the OpenAPI description of the cloud's REST, from which `npm run api` makes the page's client."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fedaffect.server.serving.engines.engine import Engine
from fedaffect.server.serving.engines.versions import VersionedEngine
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.http.app import rest_over


async def _none(folder: Path) -> Engine:
    raise NotImplementedError("nothing is served here")


sys.stdout.write(json.dumps(rest_over(Gateway(VersionedEngine(_none))).openapi(), sort_keys=True))
