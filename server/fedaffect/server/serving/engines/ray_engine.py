"""The engine as Ray Serve deployments: the way past one machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, ServeStatus

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
from fedaffect.server.ray_session import RayConnection, restore_signal_handlers
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.engine import Answer, ModelInfo, Request, require_attention
from fedaffect.server.serving.engines.features import check_features
from fedaffect.server.serving.engines.following import Follower, WholeWindows
from fedaffect.server.serving.engines.intake import take_in
from fedaffect.server.serving.engines.ray_deployments import Encoded, EncoderReplica, Fused, FusionReplica
from fedaffect.server.serving.engines.ray_settings import FUSION, RaySettings

_LOG: Final = logging.getLogger(__name__)
_RETRY_S: Final = 1.0
_LOOK_S: Final = 2.0
_START_LOOK_S: Final = 0.1


class RayOpener:
    """Opens model folders as Ray Serve deployments; for `fedaffect.server.serving.engines.versions.VersionedEngine`.

    Connects to Ray with the first model and leaves it after the last.

    Parameters
    ----------
    settings : RaySettings
    compute : Compute
        What each replica computes with. ``cuda`` is the device that Ray gives a replica.
    random_init : bool
        Weights that were never trained.
    decoders : Decoders, optional
        Those of the whole server; each engine has some of its own where there are none.
    """

    def __init__(
        self,
        settings: RaySettings | None = None,
        compute: Compute | None = None,
        *,
        random_init: bool = False,
        decoders: Decoders | None = None,
    ) -> None:
        self._settings = settings or RaySettings()
        self._compute = compute or Compute()
        self._random_init = random_init
        self._decoders = decoders
        self._connection = RayConnection(self._settings.address, self._settings.cores, self._settings.store_bytes)

    async def __call__(self, folder: Path) -> RayEngine:
        """Start the deployments of a model folder and wait until they answer.

        Raises
        ------
        BundleError
            If the folder is no model.
        ConfigError
            If Ray does not answer.
        Unavailable
            If the deployments do not start: no room on the cluster, or a folder that its machines do not see.
        """
        model = await asyncio.to_thread(_without_networks, folder, self._random_init)
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._connection.enter, partial(loop.call_soon_threadsafe, restore_signal_handlers))
        engine = RayEngine(folder, model, self._settings, self._compute, self._connection, self._decoders)
        try:
            await engine.start()
        except BaseException:
            await engine.close(0.0)
            raise
        return engine


class RayEngine:
    """One model version as Ray Serve applications, one for each encoder and one for the fusion; an `Engine`.

    Made by `RayOpener`. Media are opened and preprocessed here, by the same code as in `LocalEngine`. What the
    encoders take goes to those of the request's modalities at once; their tokens go on to the fusion without coming
    back.
    """

    def __init__(
        self,
        folder: Path,
        model: FullModel,
        settings: RaySettings,
        compute: Compute,
        connection: RayConnection,
        decoders: Decoders | None = None,
    ) -> None:
        self._folder = str(folder.resolve())
        self._model = model
        self._card = model.card
        self._settings = settings
        self._compute = compute
        self._connection = connection
        # A name of its own: other servers of the cluster may serve the same version and stop when they like.
        word = re.sub(r"[^A-Za-z0-9]+", "-", model.card.version).strip("-")
        self._name = f"fedaffect-{word}-{secrets.token_hex(3)}"
        self._parts: tuple[str, ...] = ()
        self._encoders: dict[str, DeploymentHandle[Any]] = {}
        self._fusion: DeploymentHandle[Any] | None = None
        self._preparers = ThreadPoolExecutor(settings.decoders, "prepare")
        self._own_decoders = decoders is None
        self._decoders = decoders or Decoders()
        self._inside = 0
        self._ready = False
        self._closing = False
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Deploy, and wait until all deployments answer."""
        modalities = [modality for modality in MODALITIES if modality in self._model.encoders]
        self._parts = (*modalities, FUSION)
        try:
            async with asyncio.timeout(self._settings.start_s):
                handles = await asyncio.to_thread(self._deploy)
                while not self._running(await asyncio.to_thread(serve.status)):
                    await asyncio.sleep(_START_LOOK_S)
        except TimeoutError as error:
            raise self._not_started(f"not running after {self._settings.start_s:g} s") from error
        except (RayError, RayServeException) as error:
            raise self._not_started(_first_line(error)) from error
        self._encoders = dict(zip(modalities, handles, strict=False))
        self._fusion = handles[-1]
        self._ready = True
        self._watch = asyncio.create_task(self._watch_status())

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
        if self._inside >= self._settings.most_inside:
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
        """Whether all deployments were running when last looked at."""
        return self._ready and not self._closing

    async def close(self, drain_s: float) -> None:
        """Take nothing new, finish what is inside for at most ``drain_s`` seconds, take the deployments down."""
        if self._closing:
            return
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        give_up_s = time.monotonic() + drain_s
        while self._inside and time.monotonic() < give_up_s:
            await asyncio.sleep(0.01)
        self._preparers.shutdown(wait=False, cancel_futures=True)
        if self._own_decoders:
            self._decoders.close()
        await asyncio.to_thread(self._take_down)

    def _deploy(self) -> list[DeploymentHandle[Any]]:
        targets = [
            serve.RunTarget(
                self._deployment(part).bind(*self._arguments(part)), name=self._app(part), route_prefix=None
            )
            for part in self._parts
        ]
        # Not waited for here: a thread that waits for a cluster without room could not be called off.
        return list(
            serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
        )

    def _running(self, status: ServeStatus) -> bool:
        mine = {part: status.applications.get(self._app(part)) for part in self._parts}
        for part, each in mine.items():
            if each is not None and each.status == ApplicationStatus.DEPLOY_FAILED:
                raise self._not_started(f"{part}: {' '.join(each.message.split())[-300:]}")
        return all(each is not None and each.status == ApplicationStatus.RUNNING for each in mine.values())

    def _not_started(self, why: str) -> Unavailable:
        return Unavailable(
            f"the deployments of {self._card.version} do not start ({why}); check that the cluster has room for them, "
            "and that its machines see the model folder under the same path"
        )

    def _deployment(self, part: str) -> Any:
        replicas = self._settings.of(part)
        return serve.deployment(
            FusionReplica if part == FUSION else EncoderReplica,
            name=part,
            ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
            max_ongoing_requests=replicas.max_ongoing,
            max_queued_requests=self._settings.most_inside,
            autoscaling_config={
                "min_replicas": replicas.min_replicas,
                "max_replicas": replicas.max_replicas,
                "target_ongoing_requests": replicas.target_ongoing,
            },
        )

    def _arguments(self, part: str) -> tuple[Any, ...]:
        common = (self._compute, self._settings.of(part), self._card.random_init)
        return (self._folder, *common) if part == FUSION else (self._folder, part, *common)

    def _app(self, part: str) -> str:
        return f"{self._name}-{part}"

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

    async def _watch_status(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                self._ready = self._running(await asyncio.to_thread(serve.status))
            except (RayError, RayServeException, Unavailable) as error:
                _LOG.warning("Ray Serve is not well: %s", _first_line(error))
                self._ready = False

    def _take_down(self) -> None:
        for part in self._parts:
            with contextlib.suppress(RayError, RayServeException):
                serve.delete(self._app(part), _blocking=False)
        self._connection.leave()


def _without_networks(folder: Path, random_init: bool) -> FullModel:
    """The model for what it says of itself and how it prepares media; its encoders' weights stay elsewhere."""
    model = FullModel.load(folder, Compute(), random_init=random_init)
    for encoder in model.encoders.values():
        encoder.network.to("meta")
    return model


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
