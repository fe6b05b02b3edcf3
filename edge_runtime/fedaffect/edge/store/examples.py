"""What this device may learn from: features, what was answered, and what the user says it really was."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.cloud.messages import half_precision
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import VOCABULARY
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.store.database import Database
from fedaffect.edge.store.steady_clock import steady_s

_FLOAT16: Final = np.dtype("<f2")


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept, and how long.

    Parameters
    ----------
    examples : int
        Beyond it, the oldest unlabelled goes first, then the oldest.
    age_s : float
        Measured by `fedaffect.edge.store.steady_clock`: a clock that is wrong by years ends nothing.
    """

    examples: int = 5_000
    age_s: float = 180 * 86_400.0

    def __post_init__(self) -> None:
        if self.examples < 1 or not self.age_s > 0:
            raise ConfigError(f"{self} keeps nothing; give positive limits")


@dataclass(frozen=True, slots=True)
class Example:
    """One example, its features not loaded.

    Parameters
    ----------
    id : int
    request_id : str
        Of the prediction.
    added_s : float
        Seconds since 1970.
    predicted, confidence, model_version
        Of the prediction.
    label : str or None
        What the user said.
    consent : bool
        Whether the user lets it be learned from.
    encoder_keys : mapping of str to str
        By modality.
    has_media : bool
    """

    id: int
    request_id: str
    added_s: float
    predicted: str
    confidence: float
    model_version: str
    label: str | None
    consent: bool
    encoder_keys: Mapping[str, str]
    has_media: bool


class ExampleStore:
    """Examples in the device's file.

    Parameters
    ----------
    database : Database
    retention : Retention, optional
    keep_media : bool
        Whether media may be kept beside features. Only if the user asked for it.
    wall_clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        retention: Retention | None = None,
        *,
        keep_media: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._retention = retention or Retention()
        self._keep_media = keep_media
        self._wall_clock = wall_clock

    def add(
        self,
        request_id: str,
        features: Mapping[str, NDArray[Any]],
        encoder_keys: Mapping[str, str],
        prediction: Prediction,
        media: Mapping[str, bytes] | None = None,
    ) -> int:
        """Keep one example.

        Parameters
        ----------
        request_id : str
            Added again, it stays as it was.
        features : mapping of str to float array, shape (T, W)
            By modality; kept as float16.
        encoder_keys : mapping of str to str
            Of the encoders that made them.
        prediction : Prediction
            What was answered.
        media : mapping of str to bytes, optional
            Only where the store was opened to keep media.

        Returns
        -------
        int
            Its id.

        Raises
        ------
        ConfigError
            If a modality is unknown or lacks its encoder's key, or media came unasked.
        DataError
            If features are not finite rows.
        StoreError
            If it cannot be written; nothing was.
        """
        if media and not self._keep_media:
            raise ConfigError("media are not kept unless the user asks for it; open the store with keep_media=True")
        if not request_id or not features or not {*features, *(media or {})} <= set(MODALITIES):
            raise ConfigError(f"an example has a request id and features of {', '.join(MODALITIES)}, not {[*features]}")
        rows = _rows_of(features, encoder_keys)
        with self._database.transaction() as connection:
            known = connection.execute("SELECT id FROM examples WHERE request_id = ?", (request_id,)).fetchone()
            if known:
                return int(known[0])
            self._retain(connection, room=1)
            id = connection.execute(
                "INSERT INTO examples (request_id, added_s, kept_s, predicted, confidence, model_version) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    request_id,
                    self._wall_clock(),
                    steady_s(connection, self._wall_clock),
                    prediction.label,
                    prediction.confidence,
                    prediction.model_version,
                ),
            ).lastrowid
            _write_features(connection, int(id or 0), rows, encoder_keys)
            connection.executemany(
                "INSERT INTO media VALUES (?, ?, ?)", [(id, m, content) for m, content in (media or {}).items()]
            )
        return int(id or 0)

    def renew(self, id: int, features: Mapping[str, NDArray[Any]], encoder_keys: Mapping[str, str]) -> None:
        """Replace the features of an example by what other encoders made of the same media.

        Parameters
        ----------
        id : int
        features : mapping of str to float array, shape (T, W)
        encoder_keys : mapping of str to str

        Raises
        ------
        ConfigError, DataError, StoreError
            As for `add`.
        """
        rows = _rows_of(features, encoder_keys)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM features WHERE example = ?", (id,))
            _write_features(connection, id, rows, encoder_keys)

    def label(self, id_or_request_id: int | str, label: str, consent: bool) -> None:
        """What the user says it really was, and whether it may be learned from; the last word counts.

        Raises
        ------
        ConfigError
            If the label is outside the vocabulary.
        DataError
            If there is no such example (any more).
        """
        if label not in VOCABULARY:
            raise ConfigError(f"{label!r} is no emotion of the vocabulary; choose from {', '.join(VOCABULARY)}")
        column = "id" if isinstance(id_or_request_id, int) else "request_id"
        with self._database.transaction() as connection:
            changed = connection.execute(
                f"UPDATE examples SET label = ?, consent = ? WHERE {column} = ?",  # noqa: S608
                (label, consent, id_or_request_id),
            ).rowcount
        if not changed:
            raise DataError(f"there is no example {id_or_request_id!r}; see: fedaffect edge examples list")

    def examples(self) -> list[Example]:
        """All, oldest first. Nothing is let go of by a look: see `retain`."""
        with self._database.transaction() as connection:
            return self._read(connection, "")

    def learnable(self, most: int) -> tuple[tuple[int, str], ...]:
        """Ids and labels of the newest examples that have one and may be learned from, newest first."""
        query = "SELECT id, label FROM examples WHERE label IS NOT NULL AND consent ORDER BY id DESC LIMIT ?"
        return tuple((int(id), str(label)) for id, label in self._database.rows(query, most))

    def answered(self, newer_than: int, most: int) -> tuple[tuple[int, str, float, str | None], ...]:
        """Ids above one, oldest first: what was answered, how surely, and the label that may be learned from.

        They end where the count is a round number (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ... in steps of at most
        16), so that what rests on them need not be made again for every example.

        Parameters
        ----------
        newer_than : int
        most : int
            Only so many, the newest of them.
        """
        ((count,),) = self._database.rows("SELECT COUNT(*) FROM examples WHERE id > ?", newer_than)
        count -= count % min(16, max(1, (1 << int(count).bit_length()) // 8))
        query = (
            "SELECT id, predicted, confidence, CASE WHEN consent THEN label END FROM examples WHERE id > ? "
            "ORDER BY id LIMIT ? OFFSET ?"
        )
        taken = min(count, most)
        return tuple(self._database.rows(query, newer_than, taken, count - taken))

    def features_of(self, modality: str, keys: Iterable[str], ids: Iterable[int]) -> dict[int, NDArray[np.float16]]:
        """Features, shape (T, W), that encoders of these keys made of examples, by id, where there are any."""
        keys, ids = tuple(keys), tuple(ids)
        marks = ", ".join("?" * len(keys)), ", ".join("?" * len(ids))
        query = (
            "SELECT example, rows, width, float16 FROM features WHERE rows > 0 AND modality = ? "  # noqa: S608
            f"AND encoder_key IN ({marks[0]}) AND example IN ({marks[1]})"
        )
        return {
            id: np.frombuffer(values, _FLOAT16).reshape(rows, width).astype(np.float16)
            for id, rows, width, values in self._database.rows(query, modality, *keys, *ids)
        }

    def retain(self) -> None:
        """Let go of what is beyond the retention; `add` does so too."""
        with self._database.transaction() as connection:
            self._retain(connection, room=0)

    def find(self, request_id: str) -> Example | None:
        """The example of a prediction, if it is (still) kept."""
        with self._database.transaction() as connection:
            found = self._read(connection, "WHERE request_id = ?", request_id)
        return found[0] if found else None

    def _read(self, connection: sqlite3.Connection, where: str, *values: str) -> list[Example]:
        found = connection.execute(
            "SELECT id, request_id, added_s, predicted, confidence, model_version, label, consent "  # noqa: S608
            f"FROM examples {where} ORDER BY kept_s, id",
            values,
        ).fetchall()
        of_these = f"WHERE example IN (SELECT id FROM examples {where})"  # noqa: S608
        keys: dict[int, dict[str, str]] = {}
        for example, modality, key in connection.execute(
            f"SELECT example, modality, encoder_key FROM features {of_these}",  # noqa: S608
            values,
        ):
            keys.setdefault(example, {})[modality] = key
        with_media = {
            example
            for (example,) in connection.execute(f"SELECT DISTINCT example FROM media {of_these}", values)  # noqa: S608
        }
        return [
            Example(
                *row[:7],
                consent=bool(row[7]),
                encoder_keys=_ordered(keys.get(row[0], {})),
                has_media=row[0] in with_media,
            )  # type: ignore[misc]
            for row in found
        ]

    def features(self, id: int) -> dict[str, NDArray[np.float16]]:
        """Features of one example by modality, each (T, W).

        Raises
        ------
        DataError
            If there is no such example.
        """
        found = self._database.rows("SELECT modality, rows, width, float16 FROM features WHERE example = ?", id)
        if not found:
            raise DataError(f"there is no example {id}; see: fedaffect edge examples list")
        return _ordered(
            {
                m: np.frombuffer(values, _FLOAT16).reshape(rows, width).astype(np.float16)
                for m, rows, width, values in found
            }
        )

    def media(self, id: int) -> dict[str, bytes]:
        """Media of one example by modality; mostly none."""
        return _ordered(dict(self._database.rows("SELECT modality, content FROM media WHERE example = ?", id)))

    def forget(
        self, ids: Iterable[int | str] = (), *, older_than_s: float | None = None, everything: bool = False
    ) -> int:
        """Delete examples for good, and with them whatever of theirs waits in the queue.

        Parameters
        ----------
        ids : iterable of int or str
            Ids or request ids.
        older_than_s : float, optional
            And those added longer ago.
        everything : bool
            All of them.

        Returns
        -------
        int
            How many examples; ids that are not there count as none.

        Raises
        ------
        StoreError
            If the file cannot be rewritten, or is being read elsewhere.
        """
        with self._database.transaction() as connection:
            conditions: list[tuple[str, float | str]] = []
            if everything:
                conditions.append(("id >= ?", 0))
            if older_than_s is not None:
                conditions.append(("added_s < ?", self._wall_clock() - older_than_s))
            conditions += [("id = ?" if isinstance(id, int) else "request_id = ?", id) for id in ids]
            gone: set[str] = set()
            for condition, value in conditions:
                found = connection.execute(f"SELECT request_id FROM examples WHERE {condition}", (value,))  # noqa: S608
                gone.update(request_id for (request_id,) in found)
            self._delete(gone)
        self._database.shred()
        return len(gone)

    def _retain(self, connection: sqlite3.Connection, room: int) -> None:
        """Let go of what is beyond the retention once so many more are there."""
        oldest_s = steady_s(connection, self._wall_clock) - self._retention.age_s
        gone = connection.execute("SELECT request_id FROM examples WHERE kept_s < ?", (oldest_s,)).fetchall()
        (count,) = connection.execute("SELECT COUNT(*) FROM examples").fetchone()
        if (beyond := count - len(gone) - self._retention.examples + room) > 0:
            gone += connection.execute(
                "SELECT request_id FROM examples WHERE kept_s >= ? ORDER BY label IS NOT NULL, kept_s, id LIMIT ?",
                (oldest_s, beyond),
            ).fetchall()
        self._delete({request_id for (request_id,) in gone})

    def _delete(self, request_ids: set[str]) -> None:
        with self._database.transaction() as connection:
            for table in ("examples", "queue", "answers", "opinions"):
                connection.executemany(
                    f"DELETE FROM {table} WHERE request_id = ?",  # noqa: S608
                    [(request_id,) for request_id in request_ids],
                )


def _rows_of(features: Mapping[str, NDArray[Any]], encoder_keys: Mapping[str, str]) -> dict[str, NDArray[np.float16]]:
    if lacking := [modality for modality in features if not encoder_keys.get(modality)]:
        raise ConfigError(f"the features of {', '.join(lacking)} lack their encoder's key; give it in encoder_keys")
    return {modality: half_precision(modality, values) for modality, values in features.items()}


def _write_features(
    connection: sqlite3.Connection, id: int, rows: Mapping[str, NDArray[Any]], encoder_keys: Mapping[str, str]
) -> None:
    connection.executemany(
        "INSERT INTO features VALUES (?, ?, ?, ?, ?, ?)",
        [(id, m, encoder_keys[m], *values.shape, values.tobytes()) for m, values in rows.items()],
    )


def _ordered(by_modality: dict[str, Any]) -> dict[str, Any]:
    return {modality: by_modality[modality] for modality in MODALITIES if modality in by_modality}
