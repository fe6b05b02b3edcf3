"""What an app was told to do, with what probability, and what came of it; on the device alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from fedaffect.edge.errors import DataError
from fedaffect.edge.store.database import Database
from fedaffect.edge.store.steady_clock import steady_s

# The newest count: people change, and so do apps.
MOST: Final = 5_000
LONGEST_S: Final = 400 * 86_400.0


@dataclass(frozen=True, slots=True)
class Decision:
    """One response that was taken.

    Parameters
    ----------
    id : str
    policy : str
        The policy's version.
    state, response : str
        Where the person was taken to be, and what was done.
    propensities : mapping of str to float
        Of each response that was allowed; what was drawn from.
    context : tuple of float
        What the choice was made by.
    rewards : mapping of str to float
        By kind, each from 0 to 1; empty where nothing was heard.
    age_s : float
        How long ago.
    """

    id: str
    policy: str
    state: str
    response: str
    propensities: Mapping[str, float]
    context: tuple[float, ...]
    rewards: Mapping[str, float] = field(default_factory=dict)
    age_s: float = 0.0


class Decisions:
    """Decisions in the device's file, with the newest kept.

    Parameters
    ----------
    database : Database
    wall_clock : callable
        Seconds since 1970.
    """

    def __init__(self, database: Database, wall_clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall_clock = wall_clock

    def add(
        self,
        policy: str,
        state: str,
        response: str,
        propensities: Mapping[str, float],
        context: tuple[float, ...],
    ) -> str:
        """Keep a decision; its id.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        name = uuid4().hex
        with self._database.transaction() as connection:
            now_s = steady_s(connection, self._wall_clock)
            connection.execute(
                "INSERT INTO decisions (name, policy, state, response, propensities, context, decided_s) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, policy, state, response, json.dumps(dict(propensities)), json.dumps(context), now_s),
            )
            connection.execute(
                "DELETE FROM decisions WHERE decided_s < ? OR id <= (SELECT MAX(id) FROM decisions) - ?",
                (now_s - LONGEST_S, MOST),
            )
        return name

    def reward(self, name: str, kind: str, value: float) -> Decision:
        """Say what came of a decision; said again, the newer counts. The decision with all its rewards.

        Raises
        ------
        DataError
            If there is no such decision, or the value is not from 0 to 1.
        StoreError
            If it cannot be written.
        """
        if not 0 <= value <= 1:
            raise DataError(f"a reward is from 0 to 1, not {value:g}")
        with self._database.transaction() as connection:
            found = connection.execute("SELECT id FROM decisions WHERE name = ?", (name,)).fetchone()
            if found is None:
                raise DataError(f"there is no decision {name[:40]!r}; it may be too old, or was erased")
            connection.execute(
                "INSERT OR REPLACE INTO rewards (decision, kind, value) VALUES (?, ?, ?)", (found[0], kind, value)
            )
            return self._read("WHERE id = ?", found[0])[0]

    def all(self) -> list[Decision]:
        """Every decision, oldest first.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        return self._read("")

    def written_elsewhere(self) -> int:
        """A number that changes whenever another connection, such as another process's, wrote to the file."""
        return int(self._database.rows("PRAGMA data_version")[0][0])

    def _read(self, where: str, *values: int) -> list[Decision]:
        rewards: dict[int, dict[str, float]] = {}
        with self._database.transaction() as connection:
            now_s = steady_s(connection, self._wall_clock)
            of = where.replace("id", "decision")
            for number, kind, value in connection.execute(f"SELECT decision, kind, value FROM rewards {of}", values):  # noqa: S608
                rewards.setdefault(number, {})[kind] = value
            rows = connection.execute(
                "SELECT id, name, policy, state, response, propensities, context, decided_s "  # noqa: S608
                f"FROM decisions {where} ORDER BY id",
                values,
            ).fetchall()
        return [
            Decision(
                name, policy, state, response, json.loads(shares), tuple(json.loads(context)), rewards.get(number, {}),
                now_s - decided_s,
            )
            for number, name, policy, state, response, shares, context, decided_s in rows
        ]  # fmt: skip

    def erase(self) -> int:
        """Delete all for good; how many there were.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        with self._database.transaction() as connection:
            count = connection.execute("DELETE FROM decisions").rowcount
        self._database.shred()
        return int(count)
