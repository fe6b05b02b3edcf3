"""What runs in Ray's processes: one encoder each, or the fusion, taking batches."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve

from fedaffect.edge.attention import Attention
from fedaffect.edge.encoders.base import Prepared
from fedaffect.server.models.full_model.card import ModelCard
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.loading import open_encoder
from fedaffect.server.models.full_model.model import FullModel, load_fusion
from fedaffect.server.serving.engines.inference import encode_usable
from fedaffect.server.serving.engines.ray_settings import FUSION, RaySettings, Replicas


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one encoder, here or on a device, made of one source.

    Parameters
    ----------
    modality : str
    tokens : float32 array, shape (T, W), optional
        None where the encoder could make nothing of it.
    compute_ms : float
        That its batch took.
    """

    modality: str
    tokens: NDArray[np.float32] | None
    compute_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Fused:
    """What the fusion made of what the encoders made.

    Parameters
    ----------
    modalities : tuple of str
        Used.
    probabilities : float32 array, shape (C,), optional
        None where nothing was left.
    compute_ms : float
        Of the slowest encoder's batch and the fusion's.
    attention : Attention, optional
        Where it was asked for.
    """

    modalities: tuple[str, ...]
    probabilities: NDArray[np.float32] | None
    compute_ms: float
    attention: Attention | None = None


class EncoderReplica:
    """One encoder, taking batches.

    Parameters
    ----------
    folder : str
        The model folder.
    modality : str
    compute : Compute
    replicas : Replicas
    random_init : bool
    """

    def __init__(self, folder: str, modality: str, compute: Compute, replicas: Replicas, random_init: bool) -> None:
        _use_cores(replicas)
        card = ModelCard.read(Path(folder))
        random = random_init or card.random_init
        self._encoder = open_encoder(modality, card.resolved_profile, compute, random_init=random)
        self._modality = modality
        self._encode.set_max_batch_size(replicas.max_batch)  # type: ignore[attr-defined]
        self._encode.set_batch_wait_timeout_s(replicas.batch_wait_ms / 1000)  # type: ignore[attr-defined]

    async def __call__(self, prepared: Prepared) -> Encoded:
        """Encode one sample, in whatever batch comes together."""
        encoded: Encoded = await self._encode(prepared)
        return encoded

    @serve.batch
    async def _encode(self, batch: list[Prepared]) -> list[Encoded]:
        start_s = time.perf_counter()
        made = await asyncio.to_thread(encode_usable, self._encoder, batch)
        compute_ms = (time.perf_counter() - start_s) * 1000
        return [Encoded(self._modality, tokens, compute_ms) for tokens in made]


class FusionReplica:
    """Adapters, trunk and head over what encoders or a device made.

    Parameters
    ----------
    folder, compute, replicas, random_init
        As of `EncoderReplica`.
    """

    def __init__(self, folder: str, compute: Compute, replicas: Replicas, random_init: bool) -> None:
        _use_cores(replicas)
        card = ModelCard.read(Path(folder))
        if random_init or card.random_init:
            self._model = FullModel.random(card.profile, compute, labels=card.label_set, version=card.version)
        else:
            self._model = FullModel(card, {}, load_fusion(Path(folder), card), compute)
        self._fuse.set_max_batch_size(replicas.max_batch)  # type: ignore[attr-defined]
        self._fuse.set_batch_wait_timeout_s(replicas.batch_wait_ms / 1000)  # type: ignore[attr-defined]

    async def __call__(self, *encoded: Encoded, attention: bool = False) -> Fused:
        """Fuse what is usable; with the fusion's attention where it is asked for."""
        used = {each.modality: each.tokens for each in encoded if each.tokens is not None}
        if not used:
            return Fused((), None, 0.0)
        probabilities, fusing_ms = await self._fuse(used)
        slowest_ms = max(each.compute_ms for each in encoded)
        told = await asyncio.to_thread(self._model.attention, used) if attention else None
        return Fused(tuple(used), probabilities, slowest_ms + fusing_ms, told)

    @serve.batch
    async def _fuse(self, batch: list[dict[str, NDArray[np.float32]]]) -> list[tuple[NDArray[np.float32], float]]:
        start_s = time.perf_counter()
        probabilities = await asyncio.to_thread(self._model.fuse, batch)
        compute_ms = (time.perf_counter() - start_s) * 1000
        return [(row, compute_ms) for row in probabilities]


def bound(part: str, folder: str, card: ModelCard, compute: Compute, settings: RaySettings) -> serve.Application:
    """One deployment of a model folder, with what its replicas are made from.

    Parameters
    ----------
    part : str
        A modality, or ``fusion``.
    folder : str
        The model folder, under the same path on all machines of the cluster.
    card : ModelCard
        The folder's.
    compute : Compute
    settings : RaySettings
    """
    replicas = settings.of(part)
    made_from = (compute, replicas, card.random_init)
    deployment: Any = serve.deployment(
        FusionReplica if part == FUSION else EncoderReplica, name=part, **options_of(replicas, settings.most_inside)
    )
    whose = (folder,) if part == FUSION else (folder, part)
    made: serve.Application = deployment.bind(*whose, *made_from)
    return made


def options_of(replicas: Replicas, most_inside: int) -> dict[str, Any]:
    """How many replicas Ray Serve keeps, what each reserves, and how long its queue may grow."""
    return {
        "ray_actor_options": {"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        "max_ongoing_requests": replicas.max_ongoing,
        "max_queued_requests": most_inside,
        "autoscaling_config": {
            "min_replicas": replicas.min_replicas,
            "max_replicas": replicas.max_replicas,
            "target_ongoing_requests": replicas.target_ongoing,
        },
    }


def _use_cores(replicas: Replicas) -> None:
    # Ray counts cores but lets each replica take them all.
    torch.set_num_threads(max(1, int(replicas.cpus or 0)))
