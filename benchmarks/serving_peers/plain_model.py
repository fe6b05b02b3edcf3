"""The full model as transformers runs it: plain attention, weights as they were loaded, FP32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.sample import Sample
from fedaffect.server.models.full_model import Compute, FullModel

Ready = dict[str, Prepared]


class PlainModel:
    """The same weights, preparation and fusion as ours.

    Parameters
    ----------
    profile : str
        Of the full model.
    """

    def __init__(self, profile: str) -> None:
        self.model = FullModel.random(profile, Compute(packed=False))
        for encoder in self.model.encoders.values():
            for module in encoder.network.modules():
                config = getattr(module, "config", None)
                if config is not None and hasattr(config, "_attn_implementation"):
                    config._attn_implementation = "eager"

    def prepare(self, sample: Sample) -> Ready:
        """Decoded and preprocessed as ours."""
        return {m: self.model.encoders[m].take(getattr(sample, m)).prepared for m in sample.modalities}

    def predict(self, batch: Sequence[Ready]) -> NDArray[np.float32]:
        """Probabilities, (B, C); every sample has all modalities."""
        tokens = {m: encoder.encode([ready[m] for ready in batch]) for m, encoder in self.model.encoders.items()}
        return self.model.fuse([{m: tokens[m][place] for m in tokens} for place in range(len(batch))])

    def answer(self, probabilities: NDArray[np.float32]) -> dict[str, object]:
        """What goes over the wire."""
        return {"probabilities": dict(zip(self.model.labels, map(float, probabilities), strict=True))}
