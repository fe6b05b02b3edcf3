"""The aggregator service's program: HTTPS for devices and the operator, and the driver of runs.

Run as ``python -m fedaffect.server.fleet.api.serve FLEET_FOLDER``.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.processes import end_with_parent
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.service import create_app
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.runs.driver import RunDriver
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.fleet.setup.tls import https_config, serve_https
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.json_log import log_to_stderr
from fedaffect.server.registry.retry import open_when_back

logger = logging.getLogger(__name__)


def serve(folder: FleetFolder) -> None:
    """Serve until stopped."""
    settings = folder.settings
    with open_when_back(settings.registry, subject="service", actor="service") as registry:
        aggregator = Aggregator(folder, registry, SuperLink(folder.superlink, folder.authority.certificate_path))
        driver = RunDriver(aggregator)
        driver.start()
        app = create_app(aggregator, Auditor(settings.registry, "service"), driver)
        config = https_config(app, folder, settings.service_port, timeout_graceful_shutdown=2, log_level="warning")
        try:
            serve_https(config, folder)
        finally:
            driver.stop()


if __name__ == "__main__":
    log_to_stderr()
    end_with_parent()
    try:
        serve(FleetFolder.open(Path(sys.argv[1])))
    except FedAffectError as error:
        logger.error("%s", error)
        raise SystemExit(2) from error
