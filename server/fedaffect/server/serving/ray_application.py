"""The cloud as one Ray Serve application, for a cluster that starts and scales it: KubeRay's RayService.

``fedaffect.server.serving.ray_application:application`` is the ``import_path`` of a Serve config; `RayCloud` lists its
``args``. The deployments are one for each encoder, ``fusion``, and ``gateway``, which answers REST and WebSocket
through Ray's HTTP proxies. gRPC has no way through these; `fedaffect server serve --engine ray` serves it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from ray import serve
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from fedaffect.client.protocol.strict import read_values
from fedaffect.edge.errors import unknown_name
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.environment import REGISTRY_VARIABLE
from fedaffect.server.json_log import log_to_stderr
from fedaffect.server.models.full_model.card import ModelCard
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.registry import Registry
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.ray_deployments import bound, options_of
from fedaffect.server.serving.engines.ray_settings import FUSION, PARTS, RaySettings, Replicas
from fedaffect.server.serving.engines.replica_engine import ReplicaEngine, without_networks
from fedaffect.server.serving.films.keeping import KEPT_DAYS, Keeping
from fedaffect.server.serving.films.shelf import Films
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.limits import Limits
from fedaffect.server.serving.http.app import rest_over
from fedaffect.server.serving.openers import default_model

DEFAULT: Final = "default"
GATEWAY: Final = "gateway"
# A processor each, where nothing is said: on a cluster a replica is not alone.
_REPLICA: Final = Replicas(cpus=1.0)
# One, as films and streams live in the replica that began them.
_GATEWAY: Final = Replicas(cpus=1.0, max_replicas=1, target_ongoing=32.0, max_ongoing=256)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCloud:
    """What the application is told, under ``args`` of a Serve config; the registry is that of ``$FEDAFFECT_REGISTRY``.

    Parameters
    ----------
    model : str
        A model folder, which all machines see under the same path, or ``default``.
    device, precision : str
        As in `Compute`; ``cuda`` is the device that Ray gives a replica.
    random_init : bool
        Weights that were never trained.
    deployments : mapping of str to Replicas
        ``text``, ``audio``, ``video``, ``fusion`` and ``gateway``; one processor a replica for those left out.
    origins : tuple of str
        Pages of other hosts that may call it.
    keep_days, max_body_mb, deadline_ms, drain_s : float
        As the flags of `fedaffect server serve`.
    most_inside : int
        Requests that one gateway lets in.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}

    model: str = DEFAULT
    device: str = "cpu"
    precision: str = "fp32"
    random_init: bool = False
    deployments: dict[str, Replicas] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    keep_days: float = KEPT_DAYS
    max_body_mb: float = 32.0
    deadline_ms: float = 10_000.0
    drain_s: float = 30.0
    most_inside: int = 256

    def __post_init__(self) -> None:
        for name in self.deployments:
            if name not in (*PARTS, GATEWAY):
                raise unknown_name("deployment", name, (*PARTS, GATEWAY))

    @property
    def folder(self) -> Path:
        """The model folder."""
        return default_model() if self.model == DEFAULT else Path(self.model)

    @property
    def compute(self) -> Compute:
        """What each replica computes with."""
        return Compute(device=self.device, precision=self.precision)

    @property
    def gateway(self) -> Replicas:
        """Replicas of the gateway."""
        return self.deployments.get(GATEWAY, _GATEWAY)

    @property
    def ray(self) -> RaySettings:
        """Replicas of encoders and fusion."""
        parts = {part: self.deployments.get(part, _REPLICA) for part in PARTS}
        return RaySettings(parts=parts, most_inside=self.most_inside)


def application(args: dict[str, Any]) -> serve.Application:
    """The application of a Serve config; runs on the cluster.

    Parameters
    ----------
    args : dict
        Fields of `RayCloud`.

    Raises
    ------
    ConfigError
        If one is unknown or impossible.
    BundleError
        If the folder is no model.
    """
    cloud = read_values(RayCloud, args, "args of the Ray Serve application")
    folder = str(cloud.folder.resolve())
    card = ModelCard.read(cloud.folder)
    compute, settings = cloud.compute, cloud.ray
    names = (*(modality for modality in MODALITIES if modality in card.resolved_profile.sources), FUSION)
    parts = {part: bound(part, folder, card, compute, settings) for part in names}

    def front() -> ASGIApp:
        return Front(cloud, names).app()

    deployment: Any = serve.deployment(
        serve.ingress(front)(),
        name=GATEWAY,
        graceful_shutdown_timeout_s=cloud.drain_s,
        **options_of(cloud.gateway, cloud.most_inside),
    )
    # By name it finds them; given here, Ray Serve starts them with it.
    made: serve.Application = deployment.bind(**parts)
    return made


class Front:
    """REST and WebSocket in one replica of the gateway, opened when it starts and closed when it ends.

    Nobody is let in without a key of the registry: requests come through proxies, so that an address says nothing
    about who asks.

    Parameters
    ----------
    cloud : RayCloud
    parts : tuple of str
        Deployments that there are beside the gateway.
    """

    def __init__(self, cloud: RayCloud, parts: tuple[str, ...]) -> None:
        self._cloud = cloud
        self._parts = parts
        self._rest: ASGIApp | None = None

    def app(self) -> Starlette:
        """What Ray Serve runs; it adds handlers and middleware of its own."""
        return Starlette(routes=[Mount("/", app=self)], lifespan=self._living)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if self._rest is not None:
            await self._rest(scope, receive, send)

    @asynccontextmanager
    async def _living(self, _: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            self._rest = await self._open(opened)
            yield

    async def _open(self, opened: AsyncExitStack) -> ASGIApp:
        cloud = self._cloud
        log_to_stderr()
        url = os.environ.get(REGISTRY_VARIABLE)
        registry = opened.enter_context(await asyncio.to_thread(Registry.open, url))
        limits = Limits(body_bytes=int(cloud.max_body_mb * 2**20), default_deadline_ms=cloud.deadline_ms)
        decoders = Decoders()
        opened.callback(decoders.close)
        decoders.warm(limits.decode_threads)
        model = await asyncio.to_thread(without_networks, cloud.folder, cloud.random_init)
        engine = ReplicaEngine(model, cloud.most_inside, max(1, int(cloud.gateway.cpus or 1)), decoders)
        opened.push_async_callback(engine.close, 0.0)
        handles = {part: serve.get_deployment_handle(part) for part in self._parts}
        fusion = handles.pop(FUSION)
        engine.ask(handles, fusion)
        gateway = Gateway(engine, access=Access(registry), limits=limits, registry=registry, decoders=decoders)
        opened.callback(gateway.close)
        films, keeping = Films(gateway), Keeping(gateway, cloud.keep_days)
        opened.push_async_callback(films.close)
        opened.push_async_callback(keeping.close)
        opened.push_async_callback(gateway.drain, cloud.drain_s)
        keeping.start()
        return rest_over(gateway, cloud.origins, films, keeping)
