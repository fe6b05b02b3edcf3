"""What may wait for the network: kept on disk, delivered at least once, bounded."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store.database import Database, StoreError
from fedaffect.edge.store.steady_clock import steady_s

Payload: TypeAlias = pb.FeedbackRequest | pb.PredictRequest

# An entry that is being sent comes back after this, should its sender have died.
_LEASE_S: Final = 120.0
_BACKOFF_BASE_S: Final = 5.0
_BACKOFF_CAP_S: Final = 3600.0
_LONGEST_ERROR: Final = 300


class Kind(StrEnum):
    """What an entry is, in the order in which a full queue lets go: what is worth least first."""

    PREDICTION = "prediction"
    EXAMPLE = "example"
    FEEDBACK = "feedback"


_LETS_GO: Final = "CASE kind WHEN 'prediction' THEN 0 WHEN 'example' THEN 1 ELSE 2 END"


class QueueFull(StoreError):
    """The queue is full of what is worth as much or more, or the entry alone is larger than the queue."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait, and how long.

    Parameters
    ----------
    entries : int
    size_bytes : int
        Of all payloads together.
    age_s : float
        An entry that waited longer is dropped.
    """

    entries: int = 10_000
    size_bytes: int = 64 * 2**20
    age_s: float = 30 * 86_400.0

    def __post_init__(self) -> None:
        if self.entries < 1 or self.size_bytes < 1 or not self.age_s > 0:
            raise ConfigError(f"{self} lets nothing wait; give positive limits")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that waits.

    Parameters
    ----------
    id : int
    kind : Kind
    idempotency_key, request_id : str
    payload : bytes
        The serialised request.
    age_s : float
        Since it was put.
    due_in_s : float
        Until the next attempt; 0 or less: now.
    attempts : int
        Begun so far.
    refused : bool
        Whether the cloud does not want it; it is not sent again.
    last_error : str
    """

    id: int
    kind: Kind
    idempotency_key: str
    request_id: str
    payload: bytes
    age_s: float
    due_in_s: float
    attempts: int
    refused: bool
    last_error: str

    @property
    def size_bytes(self) -> int:
        """Of the payload."""
        return len(self.payload)

    def message(self) -> Payload:
        """The request."""
        kind = pb.PredictRequest if self.kind is Kind.PREDICTION else pb.FeedbackRequest
        return kind.FromString(self.payload)


class Queue:
    """Requests that wait, in the device's file.

    An entry is there once `put` returned, until it was delivered, refused by the cloud and let go, or dropped by the
    policy: too old; or, where the queue is full, refused ones first, then the oldest deferred prediction, example,
    feedback, in this order. What was dropped is counted.

    Parameters
    ----------
    database : Database
    limits : QueueLimits, optional
    wall_clock : callable
        Seconds; may jump either way.
    """

    def __init__(
        self, database: Database, limits: QueueLimits | None = None, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._limits = limits or QueueLimits()
        self._wall_clock = wall_clock

    def put(self, kind: Kind | str, payload: Payload, idempotency_key: str) -> bool:
        """Let a request wait.

        Parameters
        ----------
        kind : Kind
        payload : PredictRequest or FeedbackRequest
            Made by `fedaffect.edge.cloud.messages`.
        idempotency_key : str
            The same request put again under its key waits once.

        Returns
        -------
        bool
            False where an entry of that key waits already.

        Raises
        ------
        QueueFull
            If the policy would drop this very entry.
        StoreError
            If it cannot be written; nothing was.
        """
        kind = Kind(kind)
        wanted = pb.PredictRequest if kind is Kind.PREDICTION else pb.FeedbackRequest
        if not isinstance(payload, wanted) or not idempotency_key:
            raise ConfigError(f"an entry of kind {kind} is a {wanted.DESCRIPTOR.name} with an idempotency key")
        content = payload.SerializeToString()
        with self._database.transaction() as connection:
            now = self._tidy(connection)
            known = connection.execute("SELECT 1 FROM queue WHERE idempotency_key = ?", (idempotency_key,)).fetchone()
            if known:
                return False
            self._make_room(connection, kind, len(content))
            connection.execute(
                "INSERT INTO queue (kind, idempotency_key, request_id, payload, put_s, due_s) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (kind, idempotency_key, payload.request_id, content, now, now),
            )
        return True

    def lease(self, most: int = 16) -> list[Entry]:
        """Entries to send now, oldest first; nobody else gets them meanwhile.

        Each must be followed by `delivered`, `refused` or `postponed`. Should the sender die, they come back.
        """
        with self._database.transaction() as connection:
            now = self._tidy(connection)
            entries = self._entries(
                connection, now, "WHERE refused = 0 AND due_s <= ? ORDER BY put_s, id LIMIT ?", now, most
            )
            connection.executemany(
                "UPDATE queue SET attempts = attempts + 1, due_s = ? WHERE id = ?",
                [(now + _LEASE_S, entry.id) for entry in entries],
            )
        return entries

    def delivered(self, entry: Entry, prediction: Prediction | None = None) -> None:
        """The cloud took it; a deferred prediction's answer is kept in the same step."""
        with self._database.transaction() as connection:
            if prediction is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                    (entry.request_id, json.dumps(prediction.to_json()), steady_s(connection, self._wall_clock)),
                )
            connection.execute("DELETE FROM queue WHERE id = ?", (entry.id,))

    def refused(self, entry: Entry, reason: str) -> None:
        """The cloud does not want it: it stays to be seen, and is the first to go."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE queue SET refused = 1, last_error = ? WHERE id = ?", (reason[:_LONGEST_ERROR], entry.id)
            )

    def postponed(self, entry: Entry, reason: str, at_least_s: float = 0.0) -> None:
        """It could not be delivered now: next attempt after an exponential back-off with full jitter.

        Parameters
        ----------
        entry : Entry
        reason : str
        at_least_s : float
            What the cloud asked to wait.
        """
        longest = min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2.0 ** min(entry.attempts, 30))
        wait_s = min(at_least_s, _BACKOFF_CAP_S) + random.random() * longest
        with self._database.transaction() as connection:
            now = steady_s(connection, self._wall_clock)
            connection.execute(
                "UPDATE queue SET due_s = ?, last_error = ? WHERE id = ?",
                (now + wait_s, reason[:_LONGEST_ERROR], entry.id),
            )

    def retry_now(self) -> int:
        """Make due whatever was postponed, without waiting for its back-off.

        Returns
        -------
        int
            How many wait.
        """
        with self._database.transaction() as connection:
            now = self._tidy(connection)
            connection.execute("UPDATE queue SET due_s = ? WHERE refused = 0 AND last_error != ''", (now,))
            return int(connection.execute("SELECT COUNT(*) FROM queue WHERE refused = 0").fetchone()[0])

    def withdraw(self, request_id: str, *kinds: Kind) -> int:
        """Take back what waits of a request, of these kinds; what the cloud has already is beyond reach.

        Returns
        -------
        int
            How many entries.
        """
        with self._database.transaction() as connection:
            return sum(
                connection.execute("DELETE FROM queue WHERE request_id = ? AND kind = ?", (request_id, kind)).rowcount
                for kind in kinds
            )

    def due_in_s(self) -> float | None:
        """Until the next attempt, 0 or less: now; None where nothing waits."""
        with self._database.transaction() as connection:
            now = steady_s(connection, self._wall_clock)
            (due_s,) = connection.execute("SELECT MIN(due_s) FROM queue WHERE refused = 0").fetchone()
        return None if due_s is None else due_s - now

    def entries(self) -> list[Entry]:
        """All that is there, oldest first. Nothing is dropped by a look, however old it is."""
        with self._database.transaction() as connection:
            return self._entries(connection, steady_s(connection, self._wall_clock), "ORDER BY put_s, id")

    def take_answers(self) -> dict[str, Prediction]:
        """Answers to deferred predictions by request id, each given once."""
        with self._database.transaction() as connection:
            found = connection.execute("SELECT request_id, prediction FROM answers ORDER BY answered_s").fetchall()
            connection.execute("DELETE FROM answers")
        return {request_id: _prediction(text) for request_id, text in found}

    def hand_over(self, receive: Callable[[str, Prediction], None]) -> None:
        """Give each answer to a deferred prediction to a function, oldest first.

        An answer is let go of once the function has returned; where it raises, that answer and those behind it stay.

        Parameters
        ----------
        receive : callable
            Of request id and prediction.
        """
        for request_id, text in self._database.rows("SELECT request_id, prediction FROM answers ORDER BY answered_s"):
            receive(request_id, _prediction(text))
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM answers WHERE request_id = ?", (request_id,))

    def dropped(self) -> dict[str, int]:
        """How many entries the policy let go, by reason: ``age``, ``full``, ``refused``."""
        return dict(self._database.rows("SELECT reason, entries FROM dropped"))

    def clear(self, kind: Kind | None = None) -> int:
        """Delete all that waits, or all of one kind, for good; the answers with the predictions.

        Returns
        -------
        int
            How many entries.
        """
        with self._database.transaction() as connection:
            where, values = ("WHERE kind = ?", (kind,)) if kind else ("", ())
            count = connection.execute(f"DELETE FROM queue {where}", values).rowcount  # noqa: S608
            if kind in (None, Kind.PREDICTION):
                connection.execute("DELETE FROM answers")
        self._database.shred()
        return count

    def _tidy(self, connection: sqlite3.Connection) -> float:
        """Drop what is too old; the time."""
        now = steady_s(connection, self._wall_clock)
        old = connection.execute("DELETE FROM queue WHERE put_s < ?", (now - self._limits.age_s,)).rowcount
        connection.execute("DELETE FROM answers WHERE answered_s < ?", (now - self._limits.age_s,))
        _count(connection, "age", old)
        return now

    def _make_room(self, connection: sqlite3.Connection, kind: Kind, size: int) -> None:
        if size > self._limits.size_bytes:
            raise QueueFull(
                f"{size} bytes are more than the whole queue may hold ({self._limits.size_bytes}); send less"
            )
        count, held = connection.execute("SELECT COUNT(*), COALESCE(SUM(LENGTH(payload)), 0) FROM queue").fetchone()
        if count < self._limits.entries and held + size <= self._limits.size_bytes:
            return
        worth = list(Kind)
        candidates = connection.execute(
            f"SELECT id, kind, LENGTH(payload), refused FROM queue ORDER BY refused DESC, {_LETS_GO}, put_s, id"  # noqa: S608
        ).fetchall()
        for victim, victim_kind, victim_size, refused in candidates:
            if count < self._limits.entries and held + size <= self._limits.size_bytes:
                return
            if not refused and worth.index(Kind(victim_kind)) > worth.index(kind):
                raise QueueFull(f"the queue is full of what is worth more than a {kind}; send it when online")
            connection.execute("DELETE FROM queue WHERE id = ?", (victim,))
            _count(connection, "refused" if refused else "full", 1)
            count, held = count - 1, held - victim_size

    def _entries(self, connection: sqlite3.Connection, now: float, where: str, *values: float) -> list[Entry]:
        found = connection.execute(
            "SELECT id, kind, idempotency_key, request_id, payload, ? - put_s, due_s - ?, attempts, "  # noqa: S608
            f"refused, last_error FROM queue {where}",
            (now, now, *values),
        )
        return [
            Entry(id, Kind(kind), key, request_id, payload, age_s, due_in_s, attempts, bool(refused), error)
            for id, kind, key, request_id, payload, age_s, due_in_s, attempts, refused, error in found
        ]


def _count(connection: sqlite3.Connection, reason: str, entries: int) -> None:
    if entries:
        connection.execute(
            "INSERT INTO dropped VALUES (?, ?) ON CONFLICT (reason) DO UPDATE SET entries = entries + excluded.entries",
            (reason, entries),
        )


def _prediction(text: str) -> Prediction:
    values = json.loads(text)
    return Prediction(**values | {"modalities": tuple(values["modalities"]), "notes": tuple(values["notes"])})
