"""Faces as other cameras would show them: constructed copies, and short films of one face."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.sample import Frames
from fedaffect.server.models.alignment.varied import VariedEncoder
from fedaffect.server.models.faces.augment import augment

# How many views of one face a copy has: mostly one picture, else a film of up to this many.
_LONGEST: Final = 4
_FILMS: Final = 0.25


class VariedFace(VariedEncoder):
    """An encoder that sees each face turned, moved, lit and blurred by a seed's draw, sometimes as a short film.

    Parameters
    ----------
    encoder : Encoder
        Of faces that are cropped already.
    copy : int
        Which copy; with the picture it decides every draw.
    """

    modality = "video"
    edition = 1

    def prepare(self, source: Any) -> Prepared:
        """Decode, change, and prepare as the encoder does."""
        return self._encoder.prepare(Frames(vary(decode_video(source, 1.0, 1).images[0], self._copy)))


def vary(picture: NDArray[np.uint8], copy: int) -> NDArray[np.uint8]:
    """Views of one face, uint8 (V, S, S, 3), grey, from a picture (S, S, 3)."""
    digest = sha256(np.ascontiguousarray(picture).tobytes()).digest()
    draw = np.random.default_rng([copy, int.from_bytes(digest[:8], "little")])
    count = int(draw.integers(2, _LONGEST + 1)) if draw.random() < _FILMS else 1
    grey = torch.from_numpy(picture.astype(np.float32).mean(axis=-1).round().astype(np.uint8))
    views = augment(grey.expand(count, 1, *grey.shape), torch.Generator().manual_seed(int(draw.integers(1 << 31))))
    pictures = (views.clamp(0, 1) * 255).round().to(torch.uint8).squeeze(1).numpy()
    return np.repeat(pictures[..., None], 3, axis=-1)
