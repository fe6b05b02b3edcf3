"""Faces to feature vectors: an image network, one vector a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.encoders.base import Prepared, map_each
from fedaffect.edge.errors import BundleError
from fedaffect.edge.media.alignment import aligned
from fedaffect.edge.media.face import Face, FaceDetector, crop_boxes
from fedaffect.edge.media.picture import decode_video, resize
from fedaffect.edge.media.turning import turned
from fedaffect.edge.sample import Frames, Video
from fedaffect.edge.system.onnx_session import open_session

FACES: Final = ("detect", "whole")
_BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class VisionSettings:
    """How pictures are prepared.

    Parameters
    ----------
    size : int
        Side of the network's input, in pixels.
    mean, std : tuple of float
        Of R, G and B in 0..255; the network sees ``(pixel - mean) / std``.
    frames_per_second : float
        At which video is read.
    max_frames : int
        Kept of one video.
    face_side : int
        Longer side at which faces are looked for.
    face_threshold : float
        See `FaceDetector`.
    face_margin : float
        See `crop_boxes`.
    align : bool
        Cut faces out by their landmarks, see `aligned`, instead of by their boxes.
    most_frames : int, optional
        Looked at of those kept, at equal distances; all if not given.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    frames_per_second: float = 5.0
    max_frames: int = 150
    face_side: int = 256
    face_threshold: float = 0.5
    face_margin: float = 0.2
    align: bool = field(default=False, metadata={"later": True})
    most_frames: int | None = field(default=None, metadata={"later": True})

    def __post_init__(self) -> None:
        counts = self.size, self.max_frames, 1 if self.most_frames is None else self.most_frames
        if min(counts) < 1 or self.frames_per_second <= 0 or min(self.std) <= 0:
            raise BundleError("picture size, number of frames, rate and standard deviations must be positive")


class VisionEncoder:
    """Runs an image network; see `fedaffect.edge.encoders.base.Encoder`.

    Parameters
    ----------
    network : Path
        ONNX from ``pixels`` (B, 3, S, S) to features (B, W).
    face : Path or None
        CenterFace; None where pictures are faces already and are taken whole.
    settings : VisionSettings
        Preprocessing.
    width, key
        As the bundle's manifest says.
    threads : int
        Clips encoded at a time.
    """

    modality = "video"

    def __init__(
        self, network: Path, face: Path | None, settings: VisionSettings, *, width: int, key: str, threads: int = 1
    ) -> None:
        self.width = width
        self.key = key
        self.tokens_per_second = settings.frames_per_second
        self.settings = settings
        self._threads = threads
        self._session = open_session(network)
        self.detector = None if face is None else FaceDetector(face, settings.face_side, settings.face_threshold)
        self._mean = np.array(settings.mean, np.float32)
        self._std = np.array(settings.std, np.float32)

    def prepare(self, source: Any) -> Prepared:
        """Frames at the network's size, uint8 (N, S, S, 3): the largest face of each, or all of each."""
        return prepare_faces(source, self.settings, self.detector)

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """One vector a frame of each clip, shape (N_i, width)."""
        return map_each(self._encode, batch, self._threads)

    def _encode(self, prepared: Prepared) -> NDArray[np.float32]:
        features = []
        for start in range(0, len(prepared.values), _BATCH):
            pictures = (prepared.values[start : start + _BATCH] - self._mean) / self._std  # (B, S, S, 3)
            pixels = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))  # (B, 3, S, S)
            features.append(self._session.run(None, {"pixels": pixels})[0])
        return np.concatenate(features)


def prepare_faces(source: Video, settings: VisionSettings, detector: FaceDetector | None) -> Prepared:
    """What a face network takes: frames at its size, uint8 (N, S, S, 3).

    Parameters
    ----------
    source : Path, bytes, ZipMember or Frames
    settings : VisionSettings
    detector : FaceDetector or None
        Finds the largest face of each frame; None takes all of each frame.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    frames = decode_video(source, settings.frames_per_second, settings.max_frames)
    return prepare_frames(frames, None if detector is None else detector.largest(frames.images), settings)


def prepare_frames(frames: Frames, found: Sequence[Face | None] | None, settings: VisionSettings) -> Prepared:
    """The rest of `prepare_faces`, where it is known already where the faces are.

    Parameters
    ----------
    frames : Frames
        Decoded, at the encoder's rate.
    found : sequence of Face or None
        The face of each frame, see `FaceDetector`; None to take each picture whole.
    settings : VisionSettings
    """
    seconds = len(frames.images) / frames.frames_per_second if frames.frames_per_second else 0.0
    places = spread(len(frames.images), settings.most_frames)
    frames = replace(frames, images=frames.images[places])
    if found is None:
        pictures = [resize(image, settings.size) for image in frames.images]
    else:
        height, width = frames.images.shape[1:3]
        crops = crop_boxes([found[place] for place in places], height, width, settings.face_margin)
        pictures = [_cut_out(image, crop, settings) for image, crop in zip(frames.images, crops, strict=True)]
    return Prepared(np.stack(pictures), seconds)


def _cut_out(image: NDArray[np.uint8], crop: Face, settings: VisionSettings) -> NDArray[np.uint8]:
    if settings.align and crop.points:
        return aligned(image, crop.points, settings.size, settings.face_margin)
    upright, box = turned(image, crop.box, crop.lean)
    return resize(upright, settings.size, box)


def spread(count: int, most: int | None) -> NDArray[np.int64]:
    """Places of at most so many of ``count`` things, at equal distances; of all where no bound is given."""
    return np.linspace(0, count - 1, min(count, most or count)).round().astype(np.int64)
