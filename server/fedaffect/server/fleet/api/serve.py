"""The aggregator service's program: HTTPS for devices and the operator, and the driver of runs.

Run as ``python -m fedaffect.server.fleet.api.serve FLEET_FOLDER``.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn

from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.processes import end_with_parent
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.service import create_app
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.runs.driver import RunDriver
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.fleet.setup.tls import reload_in_background, server_context
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry.retry import open_when_back
from fedaffect.server.uvicorn_compat import BoundedHeadProtocol

logger = logging.getLogger(__name__)


def serve(folder: FleetFolder) -> None:
    """Serve until stopped."""
    settings = folder.settings
    with open_when_back(settings.registry, subject="service", actor="service") as registry:
        aggregator = Aggregator(folder, registry, SuperLink(folder.superlink, folder.authority.certificate_path))
        driver = RunDriver(aggregator)
        driver.start()
        context = server_context(folder.server_pem)
        reload_in_background(context, folder.server_pem)
        config = uvicorn.Config(
            create_app(aggregator, Auditor(settings.registry, "service")),
            host=settings.listen,
            port=settings.service_port,
            ssl_context_factory=lambda _config, _default: context,
            access_log=False,
            http=BoundedHeadProtocol,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=2,
            server_header=False,
            proxy_headers=False,
            log_level="warning",
        )
        try:
            uvicorn.Server(config).run()
        finally:
            driver.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    end_with_parent()
    try:
        serve(FleetFolder.open(Path(sys.argv[1])))
    except FedAffectError as error:
        logger.error("%s", error)
        raise SystemExit(2) from error
