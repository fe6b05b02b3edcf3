"""A sample: what one person said and showed in one utterance."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias
from uuid import uuid4
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError

MODALITIES: Final = ("text", "audio", "video")


@dataclass(frozen=True, slots=True)
class Waveform:
    """Mono sound in memory.

    Parameters
    ----------
    samples : float32 array, shape (N,)
        Amplitudes in [-1, 1].
    sample_rate_hz : int
        Samples a second.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int


@dataclass(frozen=True, slots=True)
class Frames:
    """Pictures in memory, in the order they were taken.

    Parameters
    ----------
    images : uint8 array, shape (N, H, W, 3)
        RGB.
    frames_per_second : float
        How fast they were taken; 0 for a still picture.
    """

    images: NDArray[np.uint8]
    frames_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file inside a zip archive, read only when asked for."""

    archive: Path
    name: str

    def read(self) -> bytes:
        """The member's bytes.

        Raises
        ------
        DataError
            If the archive or the member is missing or damaged.
        """
        try:
            with ZipFile(self.archive) as archive:
                return archive.read(self.name)
        except (OSError, KeyError, BadZipFile, RuntimeError) as error:
            raise DataError(
                f"{self.archive}!{self.name} cannot be read ({error}); download the archive again"
            ) from error


Audio: TypeAlias = Path | bytes | ZipMember | Waveform
Video: TypeAlias = Path | bytes | ZipMember | Frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One utterance; any modality may be missing.

    Parameters
    ----------
    id : str, optional
        Unique within its corpus; drawn if not given.
    text : str, optional
        The words.
    audio : Path, bytes, ZipMember or Waveform, optional
        A sound file, its bytes, or decoded sound.
    video : Path, bytes, ZipMember or Frames, optional
        A video or picture file, its bytes, or decoded frames.
    """

    id: str = field(default_factory=lambda: uuid4().hex)
    text: str | None = None
    audio: Audio | None = None
    video: Video | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities present, in the order of ``MODALITIES``."""
        return tuple(m for m in MODALITIES if getattr(self, m) is not None)
