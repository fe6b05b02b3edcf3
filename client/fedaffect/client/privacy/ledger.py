"""What a device has spent over its lifetime, in a file of its own: nothing leaves that was not written down before.

Order of an answer: the charge is on the disk (SQLite, ``synchronous=FULL``) before training begins; the answer's bytes
are on the disk before they are sent. Killed in between, a device has recorded more than it spent, never less: a
request that comes again is answered with the stored bytes, and where there are none it is charged again, because nobody
knows whether the former answer left.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.privacy.accounting import ORDERS, Spending, epsilon_from_rdp, rdp
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.files import private_file

_BUSY_S = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS budget (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    epsilon REAL NOT NULL, delta REAL NOT NULL, orders TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS charges (
    id INTEGER PRIMARY KEY,
    request TEXT NOT NULL, run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    noise_multiplier REAL NOT NULL, sample_rate REAL NOT NULL, steps INTEGER NOT NULL,
    rdp TEXT NOT NULL, epsilon_after REAL NOT NULL, at REAL NOT NULL,
    UNIQUE (request, attempt)
);
CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, reply BLOB NOT NULL, at REAL NOT NULL);
"""

# The newest answers stay, for requests that come again; one that is gone would be charged again. Pages are used again.
_KEPT_BYTES = 64 << 20
_KEPT_ANSWERS = 4
_LET_GO = """
DELETE FROM answers WHERE request IN (
    SELECT request FROM (
        SELECT request, SUM(LENGTH(reply)) OVER newest AS bytes, ROW_NUMBER() OVER newest AS place FROM answers
        WINDOW newest AS (ORDER BY rowid DESC)
    ) WHERE bytes > ? AND place > ?
)
"""


class BudgetError(FedAffectError):
    """A device will not train: its privacy budget would be overspent, or its ledger cannot be trusted."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of the ledger.

    Parameters
    ----------
    request : str
        What was answered.
    run : str
    round : int
    attempt : int
        Counted from 1; above 1 where a former answer was lost.
    spending : Spending
    epsilon_after : float
        Everything spent by then.
    """

    request: str
    run: str
    round: int
    attempt: int
    spending: Spending
    epsilon_after: float


class PrivacyLedger:
    """The budget of one device and all that was charged to it, across runs.

    Renyi divergences add up over runs whatever their settings, so they are what is stored.

    Parameters
    ----------
    path : Path
        SQLite file, made when missing.
    epsilon, delta : float
        The lifetime's budget. A file that exists keeps its delta, and the smaller epsilon of the two: a budget can be
        lowered but not raised.

    Raises
    ------
    BudgetError
        If the file cannot be opened, is damaged, or was kept with another delta or other orders.
    """

    def __init__(self, path: Path, epsilon: float, delta: float) -> None:
        self._path = path
        if not epsilon > 0 or not 0 < delta < 1:
            raise BudgetError("a lifetime's budget is an epsilon above 0 and a delta in (0, 1), such as 8 and 1e-5")
        try:
            private_file(path)
        except OSError as error:
            raise self._unusable(error) from error
        with self._open() as database:
            database.executescript(_SCHEMA)
            with _writing(database):
                row = database.execute("SELECT epsilon, delta, orders FROM budget").fetchone()
                if row is None:
                    orders = json.dumps(ORDERS)
                    database.execute("INSERT INTO budget VALUES (1, ?, ?, ?)", (epsilon, delta, orders))
                elif row[1] != delta or tuple(json.loads(row[2])) != ORDERS:
                    raise BudgetError(
                        f"{path} was kept with delta {row[1]:g}, not {delta:g}, or by an older version; a lifetime's "
                        f"budget has one delta: give that one"
                    )
                elif epsilon < row[0]:
                    database.execute("UPDATE budget SET epsilon = ?", (epsilon,))

    @property
    def budget(self) -> tuple[float, float]:
        """Epsilon and delta of the lifetime."""
        with self._open() as database:
            epsilon, delta = database.execute("SELECT epsilon, delta FROM budget").fetchone()
        return float(epsilon), float(delta)

    @property
    def spent(self) -> float:
        """Epsilon recorded, at the budget's delta."""
        with self._open() as database:
            (delta,) = database.execute("SELECT delta FROM budget").fetchone()
            return epsilon_from_rdp(_total(database), float(delta))

    def charges(self) -> list[Charge]:
        """All lines, oldest first."""
        with self._open() as database:
            rows = database.execute(
                "SELECT request, run, round, attempt, noise_multiplier, sample_rate, steps, epsilon_after "
                "FROM charges ORDER BY id"
            ).fetchall()
        return [
            Charge(request, run, number, attempt, Spending(multiplier, rate, steps), after)
            for request, run, number, attempt, multiplier, rate, steps, after in rows
        ]

    def answer(self, request: str, run: str, round: int, spending: Spending, train: Callable[[], bytes]) -> bytes:
        """The bytes to send for a request: stored ones, or those of a training that is charged first.

        Parameters
        ----------
        request : str
            Names what was asked, the same when it is asked again; binds run, round and model version.
        run : str
        round : int
        spending : Spending
            What the training costs.
        train : callable
            Trains, and returns the whole reply as it will be sent.

        Raises
        ------
        BudgetError
            If the budget does not allow it. Nothing was charged and nothing trained.
        """
        stored = self.stored(request)
        if stored is not None:
            return stored
        self.charge(request, run, round, spending)
        reply = train()
        return self._keep(request, reply)

    def stored(self, request: str) -> bytes | None:
        """What was answered before, if it was."""
        with self._open() as database:
            row = database.execute("SELECT reply FROM answers WHERE request = ?", (request,)).fetchone()
        return None if row is None else bytes(row[0])

    def charge(self, request: str, run: str, round: int, spending: Spending) -> float:
        """Write a spending down, durably.

        Returns
        -------
        float
            Epsilon spent by then.

        Raises
        ------
        BudgetError
            If it would exceed the budget, or cannot be written; nothing is charged then, and nothing may leave.
        """
        cost = rdp((spending,))
        with self._open() as database, _writing(database):
            after = _after(database, cost)
            (former,) = database.execute("SELECT COUNT(*) FROM charges WHERE request = ?", (request,)).fetchone()
            database.execute(
                "INSERT INTO charges (request, run, round, attempt, noise_multiplier, sample_rate, steps, rdp, "
                "epsilon_after, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(request, run, round, former + 1),
                    *(spending.noise_multiplier, spending.sample_rate, spending.steps),
                    *(json.dumps(cost.tolist()), after, time.time()),
                ),
            )
        return after

    def require_room(self, spending: Spending) -> None:
        """Check that a spending would be covered now; nothing is charged.

        Raises
        ------
        BudgetError
            If the budget does not allow it.
        """
        with self._open() as database:
            _after(database, rdp((spending,)))

    def _keep(self, request: str, reply: bytes) -> bytes:
        with self._open() as database, _writing(database):
            # Another process may have answered meanwhile: the first answer is the one that may leave again.
            database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (request, reply, time.time()))
            (kept,) = database.execute("SELECT reply FROM answers WHERE request = ?", (request,)).fetchone()
            database.execute(_LET_GO, (_KEPT_BYTES, _KEPT_ANSWERS))
        return bytes(kept)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                # On the disk when the call returns, not when the system finds the time.
                database.execute("PRAGMA synchronous = FULL")
                yield database
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> BudgetError:
        return BudgetError(
            f"the privacy ledger {self._path} cannot be used ({error}); without it this device does not train: "
            f"make room or restore the file"
        )


@contextmanager
def _writing(database: sqlite3.Connection) -> Iterator[None]:
    """One transaction that nobody else writes in between."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _after(database: sqlite3.Connection, cost: NDArray[np.float64]) -> float:
    """Epsilon spent once a cost is added; BudgetError where that is too much."""
    budget, delta = database.execute("SELECT epsilon, delta FROM budget").fetchone()
    after = epsilon_from_rdp(_total(database) + cost, delta)
    if not after <= budget:
        before = epsilon_from_rdp(_total(database), delta)
        raise BudgetError(
            f"this device has spent epsilon {before:.3g} of {budget:g} (delta {delta:g}), and this round would "
            f"make it {after:.3g}; it will not take part"
        )
    return after


def _total(database: sqlite3.Connection) -> NDArray[np.float64]:
    total = np.zeros(len(ORDERS))
    for (stored,) in database.execute("SELECT rdp FROM charges"):
        total += np.array(json.loads(stored))
    return total
