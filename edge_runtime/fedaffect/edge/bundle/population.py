"""How features of the people are spread whom a shared model learned from, and how far from them one person is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.sample import MODALITIES

# Mean squared distance, in standard deviations, from which on somebody is far from all whom the model learned from.
# With 12 clips or more, none of 37 people like those was beyond 2.4; of six speakers of another language all were, with
# 24 clips, and half of them with 12. With fewer clips people like those are as far now and then.
FAR: Final = 2.5
_LEAST: Final = 12
_ROUNDS: Final = 5
# Of half precision, with all its digits.
_SMALLEST: Final = float(np.finfo(np.float16).tiny)
_SMALL: Final = 1e-8
# Of the variance within: few people may look more alike than they are.
_LEAST_BETWEEN: Final = 0.05


@dataclass(frozen=True, slots=True)
class Group:
    """People of one corpus, by a model of their clips' mean features: x = m_c + d + e.

    Parameters
    ----------
    class_means : float array, shape (C, W)
        m_c, of an emotion over all people.
    between : float array, shape (W,)
        Variance of d, what is always so of one person and microphone.
    within : float array, shape (W,)
        Variance of e, what is so of one clip.
    """

    class_means: NDArray[np.float64]
    between: NDArray[np.float64]
    within: NDArray[np.float64]

    def __post_init__(self) -> None:
        _, width = self.class_means.shape
        arrays = (self.class_means, self.between, self.within)
        if self.between.shape != (width,) or self.within.shape != (width,):
            raise DataError("a group's variances are as wide as its means; measure the population again")
        if not all(np.isfinite(a).all() for a in arrays) or min(self.between.min(), self.within.min()) <= 0:
            raise DataError("a group's means are numbers and its variances positive; measure the population again")

    @classmethod
    def measured(
        cls, clips: NDArray[np.floating], labels: NDArray[np.integer], owners: NDArray[np.integer], classes: int
    ) -> Group:
        """Fit the model by alternating between people's offsets and means of classes.

        Parameters
        ----------
        clips : float array, shape (N, W)
            Mean features of each clip.
        labels, owners : int array, shape (N,)
            What each shows, and who.
        classes : int
            C; one that nobody shows gets the mean over all others.
        """
        clips = np.asarray(clips, dtype=np.float64)
        people, who = np.unique(owners, return_inverse=True)
        counts = np.bincount(who)
        if len(people) < 2 or len(clips) <= len(people):
            raise DataError("a population is of two people or more, with several clips; give more of them")
        effects = np.zeros((classes, clips.shape[1]))
        for _ in range(_ROUNDS):
            offsets = _means(clips - effects[labels], who, len(people))
            shown = np.bincount(labels, minlength=classes) > 0
            effects[shown] = _means(clips - offsets[who], labels, classes)[shown]
        offsets = _means(clips - effects[labels], who, len(people))
        within = np.maximum(((clips - offsets[who] - effects[labels]) ** 2).mean(axis=0), _SMALL)
        # Means of few clips vary more than people do.
        between = offsets.var(axis=0, ddof=1) - within * (1 / counts).mean()
        return cls(offsets.mean(axis=0) + effects, np.maximum(between, _LEAST_BETWEEN * within), within)

    def offset(self, clips: NDArray[np.float64], shares: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """How far somebody is from this group, and their most probable d, shape (W,).

        d has the prior variance of the group, widened by the distance: who is far is believed to be.
        """
        mean = (clips - shares @ self.class_means).mean(axis=0)
        noise = self.within / len(clips)
        distance = float((mean**2 / (self.between + noise)).mean())
        prior = self.between * max(distance, 1.0)
        return distance, prior / (prior + noise) * mean


@dataclass(frozen=True, slots=True)
class Population:
    """Groups of people, in one modality.

    Parameters
    ----------
    groups : mapping of str to Group
        By corpus; at least one.
    """

    groups: Mapping[str, Group]

    def offset(
        self, clips: NDArray[np.float64], shares: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64] | None]:
        """How far one person is from the nearest group, and what to take off their features, if anything.

        Parameters
        ----------
        clips : float array, shape (N, W)
            Mean features of that person's clips.
        shares : float array, shape (N, C)
            Probabilities of what each shows; so that who is mostly sad is not made cheerful.

        Returns
        -------
        distance : float
            Mean over features of squares in standard deviations; about 1 for people like those, not a number without
            clips.
        offset : float array, shape (W,), or None
            None for who is not far, and with fewer than twelve clips.
        """
        if not len(clips):
            return float("nan"), None
        distance, offset = min((g.offset(clips, shares) for g in self.groups.values()), key=lambda found: found[0])
        return distance, offset if distance > FAR and len(clips) >= _LEAST else None


def read_populations(path: Path) -> dict[str, Population]:
    """Populations by modality from a file that `write_populations` wrote.

    Raises
    ------
    BundleError
        If it is none.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
        groups: dict[str, dict[str, dict[str, NDArray[np.float64]]]] = {}
        for name, array in arrays.items():
            modality, group, part = name.split("/")
            if modality not in MODALITIES:
                raise ValueError(modality)
            groups.setdefault(modality, {}).setdefault(group, {})[part] = array
        return {m: Population({g: Group(**parts) for g, parts in of.items()}) for m, of in groups.items()}
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, DataError) as error:
        raise BundleError(f"{path} says nothing of a population ({error}); build the bundle again") from error


def write_populations(populations: Mapping[str, Population], path: Path) -> None:
    """Write them as an npz file of arrays in half precision; a variance is never rounded to nothing."""
    least = {"class_means": -np.inf, "between": _SMALLEST, "within": _SMALLEST}
    arrays = {
        f"{modality}/{name}/{part}": np.maximum(getattr(group, part), least[part]).astype(np.float16)
        for modality, population in populations.items()
        for name, group in population.groups.items()
        for part in ("class_means", "between", "within")
    }
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def centred(
    tokens: Mapping[str, NDArray[np.float32]], offsets: Mapping[str, NDArray[np.float32]]
) -> Mapping[str, NDArray[np.float32]]:
    """Tokens, shape (T, W) by modality, with what is always so of one person taken off, shape (W,)."""
    return {m: values - offsets[m] if m in offsets else values for m, values in tokens.items()} if offsets else tokens


def _means(values: NDArray[np.float64], of: NDArray[np.integer], count: int) -> NDArray[np.float64]:
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, of, values)
    return np.asarray(sums / np.maximum(np.bincount(of, minlength=count), 1)[:, None])
