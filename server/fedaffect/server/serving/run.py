"""One server from its settings to its end: registry, keys, model versions, signals."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.edge.system.findings import Finding, require, room
from fedaffect.edge.system.folders import data_folder
from fedaffect.edge.system.tracing import stop_writing, write_traces
from fedaffect.server import checks
from fedaffect.server.registry import Registry, RegistryUnavailable, deployments
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import CloudServer, Listen, Mounting
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.deployment_watch import DeploymentWatch
from fedaffect.server.serving.engines.versions import VersionedEngine
from fedaffect.server.serving.films.keeping import KEPT_DAYS
from fedaffect.server.serving.films.uploads import Uploads
from fedaffect.server.serving.gateway.bundle_files import BundleShelf
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.limits import Limits
from fedaffect.server.serving.gateway.metrics import Metrics
from fedaffect.server.serving.gateway.request_log import log_facts
from fedaffect.server.serving.openers import Computing, default_model, opener_of

DEFAULT: Final = "default"
FROM_REGISTRY: Final = "registry"
_LOOPBACK: Final = "127.0.0.1"
# How long after the first key was made a server that ran open still answers without one, at most.
_KEYS_S: Final = 1.0
# Some films, and the registry's rows.
_UPLOADS_MB: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """What `fedaffect server serve` was told.

    Parameters
    ----------
    model : str
        A model folder, ``default`` or ``registry``.
    computing : Computing
    listen : Listen
    registry_url : str, optional
        SQLite in the data folder where left out.
    drain_s : float
        What is under way at the end may take so long.
    limits : Limits
    keep_days : float
        For how long sessions that people chose to keep are kept; with 0, none is.
    bundle : Path, optional
        Folder of the bundle that pages run in the browser; the newest on offer, or this machine's own, if not given.
    uploads : Path, optional
        Folder of films that are being sent; beside the SQLite database, or in the data folder, where left out.
    keep_uploads : bool
        Whether they outlive the server; else they lie in files without a name, and what an earlier server left where
        they usually are is deleted.
    """

    model: str = FROM_REGISTRY
    listen: Listen = field(default_factory=Listen)
    registry_url: str | None = None
    computing: Computing = field(default_factory=Computing)
    drain_s: float = 30.0
    limits: Limits = field(default_factory=Limits)
    keep_days: float = KEPT_DAYS
    bundle: Path | None = None
    uploads: Path | None = None
    keep_uploads: bool = True

    def __post_init__(self) -> None:
        if self.computing.random_init and self.model == FROM_REGISTRY:
            raise ConfigError("--random-init is for benchmarks and not for registered models; name a --model FOLDER")


# Compute threads hold the interpreter between a network's steps. By Python's own 5 ms the event loop, which wants it
# hundreds of times a second under load, waits longer than it works.
_SWITCH_S: Final = 0.0005


async def run_server(config: ServeConfig, mounting: Mounting | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    config : ServeConfig
    mounting : callable, optional
        What REST serves beside predictions.

    Returns
    -------
    int
        0 where all that was under way was answered, 1 where the time for it ran out.

    Raises
    ------
    FedAffectError
        If the server cannot start, before it listens anywhere; the message says why.
    """
    sys.setswitchinterval(_SWITCH_S)
    write_traces("fedaffect-cloud")
    stopping, reloading = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, reloading.set)
    await asyncio.to_thread(_require, _of_device_and_certificate(config))
    registry = await asyncio.to_thread(Registry.open, config.registry_url)
    decoders = Decoders()
    decoders.warm(config.limits.decode_threads)
    try:
        return await _serve(config, registry, decoders, stopping, reloading, mounting)
    finally:
        decoders.close()
        registry.close()
        stop_writing()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _serve(
    config: ServeConfig,
    registry: Registry,
    decoders: Decoders,
    stopping: asyncio.Event,
    reloading: asyncio.Event,
    mounting: Mounting | None,
) -> int:
    metrics = Metrics()
    engine = VersionedEngine(opener_of(config.computing, metrics, decoders), drain_s=config.drain_s)
    access = Access(registry)
    wanted = await asyncio.to_thread(access.configured)
    listen = _allowed(config.listen, keys=wanted)
    uploads = _uploads(config, registry)
    await asyncio.to_thread(_require, _of_place(listen, registry, uploads))
    gateway = Gateway(
        engine,
        access=access if wanted else None,
        limits=config.limits,
        registry=registry,
        metrics=metrics,
        decoders=decoders,
        shelf=BundleShelf(config.bundle),
    )
    beside = mounting(gateway, registry) if mounting else None
    server = CloudServer(gateway, listen, beside, config.keep_days, uploads)
    # Ports first: who asks while the model loads is told 503, and a taken port is known at once.
    await server.start()
    watch = None
    packing = asyncio.create_task(_pack(gateway))
    closing = asyncio.create_task(_close_with_the_first_key(gateway, access))
    try:
        loading = asyncio.create_task(_load(config, registry, engine))
        halted = asyncio.create_task(stopping.wait())
        await asyncio.wait({loading, halted}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            watch = await loading
            log_facts(
                logging.INFO,
                "serving",
                {
                    "rest": server.rest_url,
                    "grpc": server.grpc_target,
                    "models": [model.version for model in engine.models()],
                    "keys": wanted,
                    "tls": listen.tls is not None,
                },
            )
            await _until_stopped(config, gateway, access, watch, engine, stopping, reloading)
        else:
            loading.cancel()
        halted.cancel()
    finally:
        packing.cancel()
        closing.cancel()
        if watch is not None:
            await watch.stop()
        log_facts(logging.INFO, "stopping", {"drain_s": config.drain_s})
        finished = await server.stop(config.drain_s)
    log_facts(logging.INFO, "stopped", {"finished": finished})
    return 0 if finished else 1


def _require(findings: Iterable[Finding]) -> None:
    for warning in require(findings):
        log_facts(logging.WARNING, warning, {})


def _of_device_and_certificate(config: ServeConfig) -> Iterator[Finding]:
    """Of what the server was told to compute on and to be known by."""
    # Ray's replicas have the devices of other machines.
    if config.computing.engine == "local" and config.computing.device != "cpu":
        yield checks.gpu(config.computing.device)
    if (tls := config.listen.tls) is not None:
        yield checks.certificate(tls.certificate, "TLS certificate", "renew it where it came from, and start again")


def _of_place(listen: Listen, registry: Registry, uploads: Path | None) -> Iterator[Finding]:
    """Of this machine: ports, clock, room for films that are being sent."""
    for number, what, option in (
        (listen.rest_port, "REST", "--rest-port"),
        (listen.grpc_port, "gRPC", "--grpc-port"),
    ):
        if number:
            yield checks.port(listen.host, number, what, f"give {option} another")
    with suppress(RegistryUnavailable):
        yield checks.clocks(registry)
    if uploads is not None:
        yield room(uploads, "films that are being sent", _UPLOADS_MB, "give --uploads another, or none")


def _uploads(config: ServeConfig, registry: Registry) -> Path | None:
    if config.uploads is not None:
        return config.uploads
    folder = _usual_uploads(registry)
    if config.keep_uploads or folder is None:
        return folder
    # Who turns this off wants no films on the disk, nor those that an earlier server was sent.
    if not Uploads(folder).clear():
        log_facts(
            logging.WARNING,
            "films of an earlier server stay: the folder cannot be written, or another server uses it; delete them",
            {"folder": str(folder)},
        )
    return None


def _usual_uploads(registry: Registry) -> Path | None:
    if registry.dialect == "sqlite" and registry.url.database:
        return Path(registry.url.database).absolute().parent / "uploads"
    try:
        return data_folder() / "uploads"
    except ConfigError:
        # A container's user without a home, whose registry is elsewhere, can serve all the same.
        return None


async def _pack(gateway: Gateway) -> None:
    """Compress what pages fetch before the first of them asks; where there is nothing, each is told so."""
    try:
        bundle = await gateway.page_bundle()
        await asyncio.to_thread(gateway.shelf.warm, bundle)
    except (FedAffectError, OSError) as error:
        log_facts(logging.INFO, "no bundle for browsers", {"reason": str(error)})


async def _close_with_the_first_key(gateway: Gateway, access: Access) -> None:
    """Ask for keys as soon as there is one: who made it believes that the server is closed."""
    while not gateway.asks_for_keys:
        await asyncio.sleep(_KEYS_S)
        # One that is away says nothing of keys.
        with suppress(RegistryUnavailable):
            if await asyncio.to_thread(access.configured):
                gateway.ask_for_keys(access)
                log_facts(logging.INFO, "a key was made, so all must send one from now on", {})


async def _load(config: ServeConfig, registry: Registry, engine: VersionedEngine) -> DeploymentWatch | None:
    """The first model; and who looks for later ones."""
    if config.model not in {DEFAULT, FROM_REGISTRY}:
        await engine.load(Path(config.model))
        return None
    if config.model == DEFAULT:
        await engine.load(default_model())
        return None
    watch = DeploymentWatch(registry, engine)
    if await asyncio.to_thread(deployments.current, registry) is None:
        await engine.load(default_model())
    await watch.start()
    return watch


async def _until_stopped(
    config: ServeConfig,
    gateway: Gateway,
    access: Access,
    watch: DeploymentWatch | None,
    engine: VersionedEngine,
    stopping: asyncio.Event,
    reloading: asyncio.Event,
) -> None:
    while not stopping.is_set():
        waits = [asyncio.create_task(stopping.wait()), asyncio.create_task(reloading.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        if stopping.is_set() or not reloading.is_set():
            continue
        reloading.clear()
        try:
            # Keys that came are asked for from now on; keys that went leave a server that lets nobody in.
            if await asyncio.to_thread(access.configured):
                gateway.ask_for_keys(access)
            if watch is not None:
                await watch.look()
            elif config.model != DEFAULT:
                await engine.load(Path(config.model))
        except FedAffectError as error:
            log_facts(logging.ERROR, "not reloaded, what was served still is", {"reason": str(error)})
            continue
        log_facts(logging.INFO, "reloaded", {"models": [model.version for model in engine.models()]})


def _allowed(listen: Listen, *, keys: bool) -> Listen:
    """Where to listen: loopback where no key would keep anybody out."""
    if keys or listen.on_loopback:
        if keys and not listen.on_loopback and listen.tls is None:
            log_facts(logging.WARNING, "keys and media travel in the clear; give --tls-cert and --tls-key", {})
        return listen
    log_facts(
        logging.WARNING,
        "no API key is configured, so only loopback is served and not the address asked for: anybody who reached it "
        "could ask; make a key with fedaffect server keys create",
        {"asked": listen.host, "host": _LOOPBACK},
    )
    return replace(listen, host=_LOOPBACK)
