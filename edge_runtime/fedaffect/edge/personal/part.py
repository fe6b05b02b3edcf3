"""The personal part of whom a device belongs to, kept up with the examples that it is learned from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.calibration.doubt import surest_doubt
from fedaffect.edge.calibration.from_examples import keys_of_encoder, predictions_of_examples
from fedaffect.edge.calibration.temperature import softmax
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.labels import LabelSet
from fedaffect.edge.personal.learned import LEAST, Learned, learned_from, log_loss
from fedaffect.edge.store.database import Database, StoreError
from fedaffect.edge.store.examples import ExampleStore

# The newest labels count: people change, and each costs the fusion's time once a process.
MOST: Final = 128
# Of which means of features are taken; more hardly change them.
MOST_CLIPS: Final = 48

# Id, what was answered, how surely, and the label.
Answered: TypeAlias = tuple[int, str, float, str | None]
# Probabilities, shape (N, C), and labels, shape (N,).
Answers: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What is done for one person.

    Parameters
    ----------
    offsets : mapping of str to float32 array, shape (W,)
        Taken off the features before they are fused, by modality.
    learned : Learned
        What comes after the fusion.
    clips : int
        That the offsets rest on.
    distances : mapping of str to float
        How far the person is from those whom the shared model learned from, by modality; see
        `fedaffect.edge.bundle.population.Population`.
    trouble : str
        Why nothing is personal, where something is wrong.
    """

    offsets: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    learned: Learned = field(default_factory=lambda: Learned(0))
    clips: int = 0
    distances: Mapping[str, float] = field(default_factory=dict)
    trouble: str = ""

    def __call__(
        self, probabilities: NDArray[np.float64], modalities: Collection[str], doubtful: bool = False
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """What this person most likely means by what comes out of the fusion, and notes that say so.

        Parameters
        ----------
        probabilities : float array, shape (C,)
        modalities : collection of str
            That they rest on.
        doubtful : bool
            Whether the encoders could judge nothing of it; it stays as it is.

        Returns
        -------
        probabilities : float array, shape (C,)
        notes : tuple of str
            Empty where nothing was changed.
        """
        if self.trouble:
            return probabilities, (f"nothing is personal: {self.trouble}",)
        if doubtful:
            return probabilities, ()
        notes = []
        if taken := " and ".join(m for m in self.offsets if m in modalities):
            notes.append(f"personal: {taken} as it is to be read in one who differs, by {self.clips} clips kept here")
        if self.learned.head is None:
            return probabilities, tuple(notes)
        notes.append(f"personal: by {self.learned.labels} answers that were labelled here")
        return self.learned.head(probabilities), tuple(notes)


class PersonalPart:
    """Made again whenever what it rests on changes, and never stored: what is forgotten is gone from it, too.

    It rests on the examples kept here and on the bundle. Labels count where they may be learned from; what is always so
    of this person's features is taken from all clips, labelled or not, and nothing of it leaves. Safe to use from
    several threads.

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
        self._made = Adjustment()
        # What the bundle says of labelled examples does not change with every clip that is kept.
        self._known_from: object = None
        self._known: Answers | None = None

    def current(self, bundle: Bundle) -> Adjustment:
        """What is done with this bundle's answers; a file that cannot be read costs none of them."""
        try:
            return self.made(bundle)
        except (StoreError, BundleError) as error:
            return Adjustment(trouble=str(error))

    def made(self, bundle: Bundle) -> Adjustment:
        """What is done with this bundle's answers.

        Raises
        ------
        StoreError
            If the device's file cannot be read.
        BundleError
            If what the bundle says of those it learned from cannot.
        """
        with self._lock:
            if self._database is None:
                if not self._path.is_file():
                    return Adjustment()
                self._database = Database(self._path)
            store, start = ExampleStore(self._database), newer_than(self._database)
            answered = store.answered(start, MOST_CLIPS)
            known_from = (bundle.version, start, store.learnable(MOST))
            if known_from != self._known_from:
                self._known, self._known_from = _predictions(store, bundle, start, {}), known_from
            if (rests_on := (known_from, answered)) != self._rests_on:
                self._made, self._rests_on = _made(store, bundle, start, answered, self._known), rests_on
            return self._made

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


def _made(
    store: ExampleStore, bundle: Bundle, start: int, answered: Sequence[Answered], known: Answers | None
) -> Adjustment:
    offsets, distances, clips = _offsets(store, bundle, answered)
    if known is None:
        return Adjustment(offsets, Learned(0), clips, distances)
    if offsets:
        there = _predictions(store, bundle, start, offsets)
        # Who labels answers says whether it helps; with few labels, how far they are from others does.
        if there is not None and (len(known[1]) < LEAST or log_loss(*there).mean() <= log_loss(*known).mean()):
            return Adjustment(offsets, learned_from(*there), clips, distances)
    return Adjustment({}, learned_from(*known), clips, distances)


def _offsets(
    store: ExampleStore, bundle: Bundle, answered: Sequence[Answered]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, float], int]:
    """What to take off, how far this person is, and the clips that both rest on."""
    offsets, distances, clips = {}, {}, 0
    # Silence says nothing of a voice; which clips were silent is not kept, only how unsure the answer was.
    least = surest_doubt(len(bundle.label_set))
    answered = [one for one in answered if one[3] or one[2] > least]
    for modality, population in bundle.populations().items() if answered else ():
        keys = keys_of_encoder(bundle, modality)
        features = store.features_of(modality, keys, [id for id, *_ in answered])
        shown = [one for one in answered if one[0] in features]
        means = [features[id].astype(np.float64).mean(axis=0) for id, *_ in shown]
        shares = [_shares(bundle.label_set, one) for one in shown]
        distance, offset = population.offset(np.array(means), np.array(shares))
        if shown:
            distances[modality], clips = distance, max(clips, len(shown))
        if offset is not None:
            offsets[modality] = offset.astype(np.float32)
    return offsets, distances, clips


def _shares(labels: LabelSet, answered: Answered) -> NDArray[np.float64]:
    """Probabilities of what a clip shows, shape (C,), from its label, else from what was answered."""
    _, predicted, confidence, label = answered
    count = len(labels)
    place, sure = labels.index(label or predicted), 1.0 if label else confidence
    if place is None:
        return np.full(count, 1 / count)
    shares = np.full(count, (1 - sure) / (count - 1))
    shares[place] = sure
    return shares


def _predictions(
    store: ExampleStore, bundle: Bundle, start: int, offsets: Mapping[str, NDArray[np.float32]]
) -> Answers | None:
    """What the bundle says of the examples that may be learned from; None where there are none."""
    if not store.learnable(1):
        return None
    try:
        found = predictions_of_examples(store, bundle, newer_than=start, most=MOST, offsets=offsets)
    except DataError:
        return None
    temperatures = np.array([bundle.manifest.calibration.temperature(subset.split("+")) for subset in found.subsets])
    return softmax(found.logits / temperatures[:, None]), found.labels
