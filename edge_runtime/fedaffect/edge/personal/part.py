"""The personal part of whom a device belongs to, kept up with the examples that it is learned from."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.calibration.from_examples import predictions_of_examples
from fedaffect.edge.calibration.temperature import softmax
from fedaffect.edge.errors import DataError
from fedaffect.edge.personal.learned import Learned, learned_from
from fedaffect.edge.store.database import Database, StoreError
from fedaffect.edge.store.examples import ExampleStore

# The newest labels count: people change, and each costs the fusion's time once a process.
MOST: Final = 128


class PersonalPart:
    """Learned anew whenever what it rests on changes, and never stored: what is forgotten is gone from it, too.

    It rests on labelled examples that may be learned from, and on the bundle. Safe to use from several threads.

    Parameters
    ----------
    path : Path
        The device's file; where there is none, nothing is personal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._database: Database | None = None
        self._rests_on: object = None
        self._learned = Learned(0)

    def adjusted(
        self, bundle: Bundle, probabilities: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """What this person most likely means, and a note that says so.

        Parameters
        ----------
        bundle : Bundle
            That answered.
        probabilities : float array, shape (C,)
            The shared model's.

        Returns
        -------
        probabilities : float array, shape (C,)
        notes : tuple of str
            Empty where nothing was changed.
        """
        try:
            learned = self.learned(bundle)
        except StoreError as error:
            return probabilities, (f"nothing is personal: {error}",)
        if learned.head is None:
            return probabilities, ()
        return learned.head(probabilities), (f"personal: by {learned.labels} answers that were labelled here",)

    def learned(self, bundle: Bundle) -> Learned:
        """What the labels give with this bundle.

        Raises
        ------
        StoreError
            If the device's file cannot be read.
        """
        with self._lock:
            if self._database is None:
                if not self._path.is_file():
                    return Learned(0)
                self._database = Database(self._path)
            start = newer_than(self._database)
            rests_on = (bundle.version, start, ExampleStore(self._database).learnable(MOST))
            if rests_on != self._rests_on:
                self._learned, self._rests_on = _learned(self._database, bundle, start), rests_on
            return self._learned

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None


def newer_than(database: Database) -> int:
    """The example after which personal learning begins; 0 where it was never reset."""
    return int(database.rows("SELECT COALESCE(MAX(newer_than), 0) FROM personal")[0][0])


def start_anew(database: Database) -> None:
    """Learn from examples alone that are kept from now on.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO personal (id, newer_than) VALUES (0, (SELECT COALESCE(MAX(id), 0) FROM examples)) "
            "ON CONFLICT (id) DO UPDATE SET newer_than = excluded.newer_than"
        )


def _learned(database: Database, bundle: Bundle, start: int) -> Learned:
    try:
        found = predictions_of_examples(ExampleStore(database), bundle, newer_than=start, most=MOST)
    except DataError:
        return Learned(0)
    temperatures = np.array([bundle.manifest.calibration.temperature(subset.split("+")) for subset in found.subsets])
    return learned_from(softmax(found.logits / temperatures[:, None]), found.labels)
