"""Which database a system keeps its registry in: decided the first time, then kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedaffect.edge.errors import ConfigError
from fedaffect.server.demo.local_fleet import LocalFleet
from fedaffect.server.demo.machines import Machine, wait_until
from fedaffect.server.demo.postgresql import OwnPostgresql
from fedaffect.server.registry import Registry, RegistryUnavailable

POSTGRESQL, SQLITE = "postgresql", "sqlite"
_TRIED_S: Final = 2.0


class SystemDatabase:
    """PostgreSQL in a cluster of the system's own, or a file of SQLite.

    Parameters
    ----------
    folder : Path
        Of the system.
    wanted : str, optional
        ``postgresql`` or ``sqlite``; if not given, what the system began with, and the first time PostgreSQL where it
        can run.
    say : callable
        Gets a line where it is SQLite for want of PostgreSQL.

    Raises
    ------
    ConfigError
        If the system began with another one, or PostgreSQL cannot run though it has to.
    """

    def __init__(self, folder: Path, wanted: str | None, say: Callable[[str], None]) -> None:
        self.machine = Machine(folder / "database")
        self._kept = self.machine.folder / "kind.txt"
        self._own: OwnPostgresql | None = None
        began_with = self._kept.read_text(encoding="utf-8").strip() if self._kept.exists() else None
        file = _file_in_use(folder)
        # Systems older than PostgreSQL here kept nothing of it.
        began_with = began_with or (SQLITE if file else None)
        if began_with and wanted not in (None, began_with):
            raise ConfigError(
                f"the system in {folder} began with {began_with}; leave --database away, or give --folder another"
            )
        wanted = wanted or began_with
        if wanted != SQLITE:
            try:
                self._own = OwnPostgresql(folder)
            except ConfigError as error:
                if wanted == POSTGRESQL:
                    raise
                say(f"the database is SQLite: {error}")
        self.url = self._own.url if self._own else file or f"sqlite:///{folder / 'registry.db'}"

    @property
    def kind(self) -> str:
        """``postgresql`` or ``sqlite``."""
        return POSTGRESQL if self._own else SQLITE

    def bring_up(self, say: Callable[[str], None]) -> None:
        """Start it where it is a process, wait until it answers, and bring the registry's tables to their newest form.

        Raises
        ------
        ConfigError
            If a newer version of this program made the tables.
        RunError
            If it does not come up.
        """
        if self._own is not None:
            say("starting PostgreSQL")
            self._own.make()
            self.machine.keeps(self._own.child)
        wait_until(self._answers, f"the database {self.url}", self.machine.require_running)
        self._kept.write_text(f"{self.kind}\n", encoding="utf-8")

    def _answers(self) -> bool:
        try:
            Registry.open(self.url, wait_s=_TRIED_S).close()
        except RegistryUnavailable:
            if self._own is None:
                raise
            return False
        return True


def _file_in_use(folder: Path) -> str | None:
    """URL of the file that the fleet has its registry in, or, without a fleet, the first servers had; None if new."""
    made = LocalFleet.made_in(folder)
    if made is not None and made.settings.registry.startswith("sqlite:"):
        return made.settings.registry
    alone = folder / "inference" / "server.db"
    return f"sqlite:///{alone}" if alone.exists() else None
