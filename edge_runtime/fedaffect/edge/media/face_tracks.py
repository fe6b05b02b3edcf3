"""Follows every face from picture to picture, and gives each an id that stays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.media.face import Box, Face, FaceDetector
from fedaffect.edge.media.face_track import RETRY_S, likeness, pattern_of, sought

# How soon to look for all faces again, in seconds: who comes in is seen after so long at most.
LOOK_S: Final = 0.5
# For how long a face that is not seen keeps its id.
REMEMBERED_S: Final = 2.0
# Overlap of two boxes, intersection over union, from which they are one face's; and how far apart their centres may
# lie otherwise, in shares of the larger face, where nothing else is near.
_OVERLAP: Final = 0.3
_NEAR: Final = 1.0
# Correlation from which a face elsewhere is the one that was lost. Half a second later a face was at 0.86 or more with
# itself (RAVDESS, 18 pairs), and faces of 40 people at 0.75 or less with each other (FairFace, 1,560 pairs).
_LOOKS: Final = 0.8


@dataclass(slots=True)
class Tracked:
    """A face of the newest picture.

    Parameters
    ----------
    id : int
        The same for as long as it is followed; counted from 1 in a stream, and never given twice.
    face : Face
    """

    id: int
    face: Face


@dataclass(slots=True)
class _Track:
    id: int
    face: Face
    pattern: NDArray[np.float32]
    seen_s: float


class FaceTracks:
    """All faces of pictures that follow each other, largest first.

    As `FaceTrack` follows one: the detector looks twice a second, and in between each face is sought where it was. A
    look's faces take the ids of the nearest ones before, and where none was near, of one that was lost and looked the
    same; a face that was not seen for less than two seconds gets its id back. Faces are not recognised: who leaves and
    comes back later is a new id.

    Parameters
    ----------
    detector : FaceDetector
    most : int
        Faces at most, the largest.
    """

    def __init__(self, detector: FaceDetector, most: int = 6) -> None:
        self._detector = detector
        self._most = most
        self._tracks: list[_Track] = []
        self._shape: tuple[int, ...] = ()
        self._looked_s = float("-inf")
        self._last_s = float("-inf")
        self._last_id = 0

    def follow(self, image: NDArray[np.uint8], time_s: float) -> list[Tracked]:
        """The faces of the next picture.

        Parameters
        ----------
        image : uint8 array, shape (H, W, 3)
            RGB.
        time_s : float
            When it was taken, on any clock that goes forward.
        """
        if image.shape != self._shape or time_s - self._looked_s >= (LOOK_S if self._tracks else RETRY_S) - 5e-4:
            return self._look(image, time_s)
        held = [track for track in self._tracks if track.seen_s == self._last_s]
        moved = [sought(image, track.face.box, track.pattern) for track in held]
        if any(box is None for box in moved):
            return self._look(image, time_s)
        for track, box in zip(held, moved, strict=True):
            if box is not None:
                track.face, track.seen_s = track.face.moved(box), time_s
        return self._shown(time_s)

    def _look(self, image: NDArray[np.uint8], time_s: float) -> list[Tracked]:
        found = self._detector.every(image, self._most)
        if image.shape != self._shape:
            self._tracks = []
        # Where pictures are far apart, those of the last one are compared all the same.
        oldest_s = min(time_s - REMEMBERED_S, self._last_s)
        self._tracks = [track for track in self._tracks if track.seen_s >= oldest_s]
        for place, track in self._matched(image, found):
            track.face, track.seen_s = found[place], time_s
            track.pattern = pattern_of(image, found[place].box)
        taken = [id(track.face) for track in self._tracks]
        for face in found:
            if id(face) not in taken:
                self._last_id += 1
                self._tracks.append(_Track(self._last_id, face, pattern_of(image, face.box), time_s))
        self._shape, self._looked_s = image.shape, time_s
        return self._shown(time_s)

    def _matched(self, image: NDArray[np.uint8], found: list[Face]) -> list[tuple[int, _Track]]:
        """Which face found is which followed: by where it was, and where none is near, by how it looked."""
        near = _pairs(
            (_near(face.box, track.face.box), place, track)
            for place, face in enumerate(found)
            for track in self._tracks
        )
        faces, followed = {place for place, _ in near}, {track.id for _, track in near}
        jumped = _pairs(
            (likeness(image, found[place].box, track.pattern) - _LOOKS, place, track)
            for place in range(len(found))
            if place not in faces
            for track in self._tracks
            if track.id not in followed
        )
        return near + jumped

    def _shown(self, time_s: float) -> list[Tracked]:
        self._last_s = time_s
        shown = [track for track in self._tracks if track.seen_s == time_s]
        shown.sort(key=lambda track: -_area(track.face.box))
        return [Tracked(track.id, track.face) for track in shown]


def _pairs(scored: Iterable[tuple[float, int, _Track]]) -> list[tuple[int, _Track]]:
    """Those above 0, the best match first, each taken once."""
    pairs, faces, followed = [], set(), set()
    for score, place, track in sorted(scored, key=lambda one: -one[0]):
        if score > 0 and place not in faces and track.id not in followed:
            pairs.append((place, track))
            faces.add(place)
            followed.add(track.id)
    return pairs


def _near(here: Box, there: Box) -> float:
    """How surely two boxes are one face's: above 1 by overlap, up to 1 by nearness, 0 where they are not."""
    across = min(here[2], there[2]) - max(here[0], there[0])
    down = min(here[3], there[3]) - max(here[1], there[1])
    shared = max(0.0, across) * max(0.0, down)
    overlap = shared / max(_area(here) + _area(there) - shared, 1e-9)
    if overlap >= _OVERLAP:
        return 1 + overlap
    larger, smaller = max(_area(here), _area(there)), min(_area(here), _area(there))
    apart = abs(complex(here[0] + here[2] - there[0] - there[2], here[1] + here[3] - there[1] - there[3])) / 2
    near = apart / max(larger**0.5, 1e-9)
    return 1 - near / _NEAR if near < _NEAR and smaller >= larger / 3 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
