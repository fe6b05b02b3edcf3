"""DP-SGD on one client: Poisson batches, clipped sums, noise, and the optimiser as without privacy.

Abadi et al. 2016, algorithm 1, with a fixed expected batch size as divisor.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedaffect.client.privacy.clipping import ClippedSum, FastClippedSum, Forward
from fedaffect.client.privacy.noise import NoiseSource, SecureNoise, SeededNoise, add_noise
from fedaffect.client.privacy.opacus_engine import OpacusClippedSum
from fedaffect.client.privacy.plan import PrivatePlan
from fedaffect.client.privacy.settings import FAST, SEEDED, PrivacyConfig


class PrivateGradients:
    """Noisy clipped sums of a resident model, for whichever client comes next.

    Parameters
    ----------
    model : Module
        Opacus's validator accepts it: the server asks when a run begins, and the fast way takes only layers that
        neither mix examples nor keep statistics, without the seconds that Opacus takes to import.
    privacy : PrivacyConfig
    """

    def __init__(self, model: nn.Module, privacy: PrivacyConfig) -> None:
        self._key = _kind(privacy)
        self._parameters = list(model.parameters())
        self._sum: ClippedSum
        if privacy.engine == FAST:
            self._sum = FastClippedSum(model, privacy.clipping, privacy.clip_norm)
        else:
            self._sum = OpacusClippedSum(model, privacy.clipping, privacy.clip_norm)
        self._clip_norm = privacy.clip_norm
        size = sum(p.numel() for p in self._parameters)
        self._flat = torch.empty(size, device=self._parameters[0].device)
        self._views: list[Tensor] = []
        start = 0
        for parameter in self._parameters:
            self._views.append(self._flat[start : start + parameter.numel()].view(parameter.shape))
            start += parameter.numel()
        # One keystream for all clients of this process.
        self._secure = SecureNoise()
        self.source: NoiseSource = self._secure

    def serves(self, privacy: PrivacyConfig) -> bool:
        """Whether these sums are clipped as those settings say."""
        return self._key == _kind(privacy)

    def begin(self, privacy: PrivacyConfig, seed: int) -> None:
        """Take noise and draws for the next client from where its settings say; only seeded ones use ``seed``."""
        self.source = SeededNoise(seed) if privacy.noise == SEEDED else self._secure

    def batches(self, rows: NDArray[np.int64], plan: PrivatePlan) -> Iterator[NDArray[np.int64]]:
        """One batch a step, each row in it with the plan's rate; a batch may be empty, and its step is still taken."""
        for _ in range(plan.steps):
            yield rows[self.source.uniforms(len(rows)) < plan.sample_rate]

    def gradient(self, forward: Forward | None, plan: PrivatePlan) -> Tensor:
        """Put a step's noisy mean gradient into the parameters' ``grad``.

        Parameters
        ----------
        forward : callable, optional
            Returns the losses of the batch's examples, shape (B,); None for an empty batch.
        plan : PrivatePlan

        Returns
        -------
        Tensor
            Losses summed over the batch, before any noise: not to be sent.
        """
        if forward is None:
            self._flat.zero_()
            loss = torch.zeros((), device=self._flat.device)
        else:
            loss = self._sum(forward, self._flat).sum()
        add_noise(self._flat, plan.noise_multiplier, self._clip_norm, self.source, plan.expected_batch)
        for parameter, view in zip(self._parameters, self._views, strict=True):
            parameter.grad = view
        return loss


def _kind(privacy: PrivacyConfig) -> tuple[str, str, float]:
    return privacy.engine, privacy.clipping, privacy.clip_norm
