"""All that a server's console is made of, opened and closed together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedaffect.server.console.audit_view import AuditView
from fedaffect.server.console.doors import Doors
from fedaffect.server.console.fleet_feed import FleetFeed
from fedaffect.server.console.fleet_view import FleetView
from fedaffect.server.console.research import Research, ResearchFeed
from fedaffect.server.fleet.setup.folder import SETTINGS, FleetFolder
from fedaffect.server.registry import Registry
from fedaffect.server.registry.logins import Lifetime

_FLEET: Final = "fleet"
_SERVER: Final = "server"


class Console:
    """The operators' side of a server.

    Parameters
    ----------
    registry : Registry
        The server's own, which has the accounts.
    guarded : callable
        Whether the server asks for API keys.
    runs : Path
        Where run folders of simulations lie.
    fleet : FleetFolder, optional
        A fleet on this machine, whose registry is watched; the server's own is where there is none.
    stopping : callable
        Whether the server ends, and streams with it.
    lifetime : Lifetime, optional
        Of logins.

    Raises
    ------
    RegistryUnavailable
        If the fleet's registry does not answer.
    """

    def __init__(
        self,
        registry: Registry,
        guarded: Callable[[], bool],
        runs: Path,
        fleet: FleetFolder | None = None,
        stopping: Callable[[], bool] = lambda: False,
        lifetime: Lifetime | None = None,
    ) -> None:
        self._own = None if fleet is None or _same(registry, fleet) else Registry.open(fleet.settings.registry)
        watched = self._own or registry
        self.doors = Doors(registry, guarded, lifetime)
        self.fleet = FleetView(watched, fleet)
        self.audit = AuditView({_SERVER: registry} if self._own is None else {_FLEET: watched, _SERVER: registry})
        self.research = Research(runs)
        self.fleet_feed = FleetFeed(self.fleet)
        self.research_feed = ResearchFeed(self.research)
        self.stopping = stopping

    def close(self) -> None:
        """Let go of the fleet's registry and service."""
        self.fleet.close()
        if self._own is not None:
            self._own.close()


def fleet_of(path: Path | None) -> FleetFolder | None:
    """The fleet in a folder; where none is named, that of the server's data folder, if there is one.

    Raises
    ------
    ConfigError
        If the folder that is named has none.
    """
    if path is None and not (FleetFolder.default() / SETTINGS).is_file():
        return None
    return FleetFolder.open(path)


def _same(registry: Registry, fleet: FleetFolder) -> bool:
    return registry.url.render_as_string(hide_password=False) == fleet.settings.registry
