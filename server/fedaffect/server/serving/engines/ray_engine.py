"""The engine as Ray Serve deployments: the way past one machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
from functools import partial
from pathlib import Path
from typing import Any, Final

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, ServeStatus

from fedaffect.edge.sample import MODALITIES
from fedaffect.server.errors import (
    Unavailable,
)
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.ray_session import RayConnection, restore_signal_handlers
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.ray_deployments import bound
from fedaffect.server.serving.engines.ray_settings import FUSION, RaySettings
from fedaffect.server.serving.engines.replica_engine import ReplicaEngine, without_networks

_LOG: Final = logging.getLogger(__name__)
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
        model = await asyncio.to_thread(without_networks, folder, self._random_init)
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._connection.enter, partial(loop.call_soon_threadsafe, restore_signal_handlers))
        engine = RayEngine(folder, model, self._settings, self._compute, self._connection, self._decoders)
        try:
            await engine.start()
        except BaseException:
            await engine.close(0.0)
            raise
        return engine


class RayEngine(ReplicaEngine):
    """One model version as Ray Serve applications that live as long as it, one for each encoder and one for the fusion.

    Made by `RayOpener`.
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
        super().__init__(model, settings.most_inside, settings.decoders, decoders)
        self._folder = str(folder.resolve())
        self._settings = settings
        self._compute = compute
        self._connection = connection
        # A name of its own: other servers of the cluster may serve the same version and stop when they like.
        word = re.sub(r"[^A-Za-z0-9]+", "-", model.card.version).strip("-")
        self._name = f"fedaffect-{word}-{secrets.token_hex(3)}"
        self._parts: tuple[str, ...] = ()
        self._ready = False
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
        self.ask(dict(zip(modalities, handles, strict=False)), handles[-1])
        self._ready = True
        self._watch = asyncio.create_task(self._watch_status())

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
        await super().close(drain_s)
        await asyncio.to_thread(self._take_down)

    def _deploy(self) -> list[DeploymentHandle[Any]]:
        targets = [
            serve.RunTarget(
                bound(part, self._folder, self._card, self._compute, self._settings),
                name=self._app(part),
                route_prefix=None,
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

    def _app(self, part: str) -> str:
        return f"{self._name}-{part}"

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


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
