"""The console put beside predictions, in a server that knows nothing of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedaffect.server.console.console import Console
from fedaffect.server.console.routes import console_routes
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry
from fedaffect.server.registry.logins import Lifetime
from fedaffect.server.serving.app import Mounting
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.http.mounted import Mounted


def console_beside(runs: Path, fleet: FleetFolder | None = None, lifetime: Lifetime | None = None) -> Mounting:
    """What `run_server` and `background` mount.

    Parameters
    ----------
    runs : Path
        Where run folders of simulations lie.
    fleet : FleetFolder, optional
        A fleet on this machine, see `fedaffect.server.console.console.fleet_of`.
    lifetime : Lifetime, optional
        Of logins.
    """

    @contextlib.contextmanager
    def beside(gateway: Gateway, registry: Registry) -> Iterator[Sequence[Mounted]]:
        console = Console(
            registry,
            guarded=lambda: gateway.asks_for_keys,
            runs=runs,
            fleet=fleet,
            stopping=lambda: gateway.draining,
            lifetime=lifetime,
        )
        with contextlib.closing(console):
            yield [console_routes(console)]

    return beside
