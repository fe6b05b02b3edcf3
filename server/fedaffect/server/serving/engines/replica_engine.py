"""An engine whose encoders and fusion are Ray Serve deployments: prepares media here, asks replicas, answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from fedaffect.edge.calibration.doubt import doubted
from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.errors import (
    DeadlinePassed,
    InvalidRequest,
    NotFound,
    NothingToGoBy,
    Overloaded,
    ServingError,
    Unavailable,
)
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.model import RANDOM_WEIGHTS, FullModel
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.engine import Answer, ModelInfo, Request, require_attention
from fedaffect.server.serving.engines.features import check_features
from fedaffect.server.serving.engines.following import Follower, WholeWindows
from fedaffect.server.serving.engines.intake import take_in
from fedaffect.server.serving.engines.ray_deployments import Encoded, Fused

_RETRY_S: Final = 1.0


class ReplicaEngine:
    """One model version whose networks run in Ray's processes, wherever these came from; an `Engine`.

    Media are opened and preprocessed here, by the same code as in `LocalEngine`. What the encoders take goes to those
    of the request's modalities at once; their tokens go on to the fusion without coming back.

    Parameters
    ----------
    model : FullModel
        Made by `without_networks`.
    most_inside : int
        Requests that are let in; further ones are told to come back.
    preparers : int
        Files that are prepared at once.
    decoders : Decoders, optional
        Those of the whole server; some of its own where there are none.
    """

    def __init__(self, model: FullModel, most_inside: int, preparers: int, decoders: Decoders | None = None) -> None:
        self._model = model
        self._card = model.card
        self._most_inside = most_inside
        self._encoders: dict[str, DeploymentHandle[Any]] = {}
        self._fusion: DeploymentHandle[Any] | None = None
        self._preparers = ThreadPoolExecutor(preparers, "prepare")
        self._own_decoders = decoders is None
        self._decoders = decoders or Decoders()
        self._inside = 0
        self._closing = False

    def ask(self, encoders: Mapping[str, DeploymentHandle[Any]], fusion: DeploymentHandle[Any]) -> None:
        """Answer by these deployments from now on, an encoder a modality."""
        self._encoders = dict(encoders)
        self._fusion = fusion

    async def predict(self, request: Request) -> Answer:
        """Answer one request; see `fedaffect.server.serving.engines.engine.Engine.predict`."""
        if self._closing or self._fusion is None:
            raise Unavailable("this model version is stopping; ask again")
        if request.model_version not in ("", self._card.version):
            raise NotFound(f"model version {request.model_version!r} is not served here; served: {self._card.version}")
        require_attention(request, self._model)
        left_s = request.deadline_s - time.monotonic()
        if left_s <= 0:
            raise DeadlinePassed("the deadline was over before the request was begun; allow more time")
        if self._inside >= self._most_inside:
            raise Overloaded(f"{self._inside} requests are inside already; wait {_RETRY_S:g} s", _RETRY_S)
        self._inside += 1
        start_s = time.monotonic()
        try:
            async with asyncio.timeout(None if left_s == float("inf") else left_s):
                notes, inputs, doubtful = await self._take_in(request)
                fused = await self._ask(inputs, self._fusion, request.attention)
        except TimeoutError as error:
            raise DeadlinePassed("the deadline was over before the answer was there; allow more time") from error
        finally:
            self._inside -= 1
        return self._answer(notes, list(inputs), fused, doubtful, (time.monotonic() - start_s) * 1000)

    def follow(self, client: str, window_s: float) -> Follower:
        """Window by window: replicas keep nothing of a stream."""
        return WholeWindows(self, client, window_s)

    def check_room(self, client: str) -> None:
        """Nobody is turned away early: the queues are Ray's, in other processes, and refuse for themselves."""

    def models(self) -> tuple[ModelInfo, ...]:
        """The one version."""
        return (ModelInfo.of(self._model),)

    def ready(self) -> bool:
        """Whether there are deployments to ask."""
        return self._fusion is not None and not self._closing

    async def close(self, drain_s: float) -> None:
        """Take nothing new, finish what is inside for at most ``drain_s`` seconds."""
        self._closing = True
        give_up_s = time.monotonic() + drain_s
        while self._inside and time.monotonic() < give_up_s:
            await asyncio.sleep(0.01)
        self._preparers.shutdown(wait=False, cancel_futures=True)
        if self._own_decoders:
            self._decoders.close()

    async def _take_in(
        self, request: Request
    ) -> tuple[tuple[str, ...], Mapping[str, Prepared | NDArray[np.float32]], bool]:
        """Notes, what goes to the encoders or the fusion, and whether it is nothing that they can judge."""
        if request.features:
            return (), check_features(request.features, request.encoder_keys, self._model), False
        if request.sample is None or not request.sample.modalities:
            raise InvalidRequest(f"the request is empty; send at least one of {', '.join(self._model.modalities)}")
        if not self._encoders:
            raise InvalidRequest(
                f"model {self._card.version} answers on features of edge encoders; send features, or ask a version "
                "that takes media"
            )
        loop = asyncio.get_running_loop()
        try:
            work = partial(take_in, request.sample, self._model.encoders, self._decoders, request.deadline_s)
            intake = await loop.run_in_executor(self._preparers, work)
        except DataError as error:
            raise NothingToGoBy(str(error)) from error
        notes = list(intake.notes)
        if request.transcribe and request.sample.text is None and request.sample.audio is not None:
            notes.append("words were not looked for: this server does not transcribe")
        return tuple(notes), intake.prepared, intake.doubtful

    async def _ask(
        self, inputs: Mapping[str, Prepared | NDArray[np.float32]], fusion: DeploymentHandle[Any], attention: bool
    ) -> Fused:
        responses: list[Any] = []
        try:
            given: list[Any] = []
            for modality, value in inputs.items():
                if isinstance(value, Prepared):
                    responses.append(self._encoders[modality].remote(value))
                    given.append(responses[-1])
                else:
                    given.append(Encoded(modality, value))
            last = fusion.remote(*given, attention=attention)
            responses.append(last)
            fused: Fused = await last
        except BackPressureError as error:
            raise Overloaded(f"the deployments are busy; wait {_RETRY_S:g} s", _RETRY_S) from error
        except (RayActorError, DeploymentUnavailableError) as error:
            raise Unavailable("a replica went away while it answered; ask again") from error
        except ServingError:
            raise
        except BaseException:
            # The caller's time is over, or it left: what is under way is of no use any more.
            for response in responses:
                response.cancel()
            raise
        return fused

    def _answer(self, notes: tuple[str, ...], given: list[str], fused: Fused, doubtful: bool, took_ms: float) -> Answer:
        lost = [f"{m} left out: its encoder could make nothing of it" for m in given if m not in fused.modalities]
        if fused.probabilities is None:
            raise NothingToGoBy(f"nothing is left to go by: {'. '.join(lost)}; send another")
        shares = doubted(fused.probabilities, doubtful)
        best = int(np.argmax(shares))
        labels = self._card.labels
        return Answer(
            label=labels[best],
            probabilities={name: float(value) for name, value in zip(labels, shares, strict=True)},
            confidence=float(shares[best]),
            modalities=tuple(modality for modality in MODALITIES if modality in fused.modalities),
            model_version=self._card.version,
            notes=(*notes, *lost, *((RANDOM_WEIGHTS,) if self._card.random_init else ())),
            queue_ms=max(0.0, took_ms - fused.compute_ms),
            compute_ms=fused.compute_ms,
            attention=fused.attention,
        )


def without_networks(folder: Path, random_init: bool) -> FullModel:
    """The model for what it says of itself and how it prepares media; its encoders' weights stay elsewhere."""
    model = FullModel.load(folder, Compute(), random_init=random_init)
    for encoder in model.encoders.values():
        encoder.network.to("meta")
    return model
