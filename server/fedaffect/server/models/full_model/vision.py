"""Faces: a vision transformer's first token, or the larger of our own face networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedaffect.edge.bundle.manifest import hash_of
from fedaffect.edge.encoders.base import Prepared, written_settings
from fedaffect.edge.encoders.vision import VisionEncoder, VisionSettings, prepare_faces
from fedaffect.edge.media.face import FaceDetector
from fedaffect.edge.runtime.intake import Taken, take_video
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.encoder import CloudEncoder, identity
from fedaffect.server.models.full_model.int8 import Example
from fedaffect.server.models.full_model.padding import rows_for
from fedaffect.server.models.full_model.precision import ready

# Pictures that go through the network at a time.
_MOST: Final = 64


class CloudFaces(CloudEncoder):
    """Runs a picture network over the frames of all samples at once; one token a frame.

    Parameters
    ----------
    network : nn.Module
        From pixels (B, 3, S, S) to features (B, width), with an attribute ``width``; in FP32.
    settings : VisionSettings
        Preprocessing.
    face : Path or None
        CenterFace with free dimensions; None where pictures are faces already and are taken whole.
    compute : Compute
    """

    modality = "video"

    def __init__(self, network: nn.Module, settings: VisionSettings, face: Path | None, compute: Compute) -> None:
        parameters = {"kind": "cloud-faces", "faces": "detect" if face else "whole", **written_settings(settings)}
        key = identity(network.eval(), parameters, {"face": hash_of(face)} if face else {})
        width = int(network.width)  # type: ignore[arg-type]
        example = None
        if isinstance(network, FirstToken):
            example = Example("pixels", torch.zeros(1, 3, settings.size, settings.size), {0: "pictures"})
        network = ready(network, compute, key, example)
        super().__init__(network, compute, width=width, tokens_per_second=settings.frames_per_second, key=key)
        self.settings = settings
        self.detector = None if face is None else FaceDetector(face, settings.face_side, settings.face_threshold)
        self._mean = torch.tensor(settings.mean, device=compute.device).view(1, 3, 1, 1)
        self._std = torch.tensor(settings.std, device=compute.device).view(1, 3, 1, 1)

    def prepare(self, source: Any) -> Prepared:
        """Frames at the network's size, uint8 (N, S, S, 3): the largest face of each, or all of each."""
        return prepare_faces(source, self.settings, self.detector)

    def take(self, source: Any) -> Taken:
        """As the edge takes pictures and films."""
        return take_video(cast(VisionEncoder, self), source)

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """One vector a frame of each clip, shape (N_i, width)."""
        if not batch:
            return []
        pictures = np.concatenate([prepared.values for prepared in batch])  # (sum N_i, S, S, 3)
        with torch.inference_mode():
            made = [self._pictures(pictures[start : start + _MOST]) for start in range(0, len(pictures), _MOST)]
            features = torch.cat(made).float().cpu().numpy()
        stops = np.cumsum([len(prepared.values) for prepared in batch])
        return np.split(features, stops[:-1])

    def _pictures(self, pictures: NDArray[np.uint8]) -> Tensor:
        rows = rows_for(len(pictures), self.compute.repeats_shapes)
        pixels = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device).permute(0, 3, 1, 2).float()
        pixels = (pixels - self._mean) / self._std  # (B, 3, S, S), channels last in memory
        if rows > len(pictures):
            pixels = torch.cat([pixels, pixels.new_zeros(rows - len(pictures), *pixels.shape[1:])])
        features: Tensor = self.network(pixels)[: len(pictures)]
        return features

    def _length(self, prepared: Prepared) -> int:
        return len(prepared.values)


class FirstToken(nn.Module):
    """A vision transformer's first token, which stands for the whole picture.

    Parameters
    ----------
    model : PreTrainedModel
        ViT or one of its kin.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.width = int(model.config.hidden_size)

    def forward(self, pixels: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) to (B, W); pictures have one size, so there is never a mask."""
        states: Tensor = self.model(pixel_values=pixels).last_hidden_state
        return states[:, 0]
