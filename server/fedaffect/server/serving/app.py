"""Both transports in one process over one engine: opened, kept honest about readiness, drained, closed."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeAlias

import grpc

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import Registry
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.engine import Engine
from fedaffect.server.serving.films.keeping import KEPT_DAYS, Keeping
from fedaffect.server.serving.films.shelf import Films
from fedaffect.server.serving.films.uploads import Uploads
from fedaffect.server.serving.gateway.bundle_files import BundleShelf
from fedaffect.server.serving.gateway.gateway import Access, Gateway
from fedaffect.server.serving.gateway.limits import Limits
from fedaffect.server.serving.grpc.server import GrpcTransport
from fedaffect.server.serving.http.app import rest_over
from fedaffect.server.serving.http.mounted import Mounted
from fedaffect.server.serving.http.server import rest_server
from fedaffect.server.uvicorn_compat import EmbeddedServer

# What a room above this one serves beside predictions: opened with the gateway and registry, closed at the end.
Mounting: TypeAlias = Callable[[Gateway, Registry], AbstractContextManager[Sequence[Mounted]]]
_ORIGIN: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?")
_LOOK_S: Final = 0.5
# After the last answer: whoever sent a request in the same moment shall read a refusal, not a broken connection.
_LINGER_S: Final = 0.2
_CLOSE_S: Final = 1.0
_START_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Certificates of the server.

    Parameters
    ----------
    certificate, key : Path
        PEM files: the server's chain, and its private key.
    client_authority : Path, optional
        PEM file of the authorities whose clients are let in (mutual TLS); all are where left out.
    """

    certificate: Path
    key: Path
    client_authority: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.certificate, self.key, self.client_authority):
            if path is not None and not path.is_file():
                raise ConfigError(f"the TLS file {path} does not exist; check the path")

    def context(self) -> ssl.SSLContext:
        """For REST.

        Raises
        ------
        ConfigError
            If the files do not fit together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_authority is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self.client_authority)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"the TLS files do not fit ({error}); give a PEM certificate and the private key that belongs to it"
            ) from error
        return context

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC."""
        authority = self.client_authority.read_bytes() if self.client_authority else None
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the transports listen.

    Parameters
    ----------
    host : str
        Address or name.
    rest_port, grpc_port : int
        0 for a free one.
    tls : ServerTls, optional
    origins : tuple of str
        Pages of other hosts whose scripts may call REST and the WebSocket, such as ``https://app.example``.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8080
    grpc_port: int = 8081
    tls: ServerTls | None = None
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for port in (self.rest_port, self.grpc_port):
            if not 0 <= port <= 65535:
                raise ConfigError(f"{port} is no port; choose 0 to 65535")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(f"{origin!r} is no page's origin; give it as a browser does: https://app.example")

    @property
    def on_loopback(self) -> bool:
        """Whether only programs of this machine reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


class CloudServer:
    """gRPC and REST over one gateway.

    Parameters
    ----------
    gateway : Gateway
    listen : Listen
    beside : context manager, optional
        What REST serves beside predictions, from the start to the end.
    keep_days : float
        See `Keeping`.
    uploads : Path, optional
        Folder that keeps unfinished uploads of films over a restart.

    Attributes
    ----------
    rest_url, grpc_target : str
        Where it listens; known once it has started.
    """

    def __init__(
        self,
        gateway: Gateway,
        listen: Listen,
        beside: AbstractContextManager[Sequence[Mounted]] | None = None,
        keep_days: float = KEPT_DAYS,
        uploads: Path | None = None,
    ) -> None:
        self.gateway = gateway
        self._beside = beside
        self._mounted = ExitStack()
        self.rest_url = ""
        self.grpc_target = ""
        self._listen = listen
        self._films = Films(gateway, uploads=Uploads(uploads))
        self._keeping = Keeping(gateway, keep_days)
        self._rest: EmbeddedServer | None = None
        self._grpc: GrpcTransport | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_asked = asyncio.Event()

    async def start(self) -> None:
        """Open both ports and take requests.

        Raises
        ------
        OSError
            If a port is taken.
        ConfigError
            If the TLS files do not fit.
        """
        self._loop = asyncio.get_running_loop()
        listen, tls = self._listen, self._listen.tls
        context = tls.context() if tls else None
        bound = _bind(listen.host, listen.rest_port)
        port = bound.getsockname()[1]
        transport = GrpcTransport(self.gateway)
        try:
            name = _bracketed(listen.host)
            grpc_port = transport.bind(f"{name}:{listen.grpc_port}", tls.credentials() if tls else None)
        except BaseException:
            bound.close()
            raise
        self._grpc = transport
        mounted = self._mounted.enter_context(self._beside) if self._beside else ()
        rest = rest_over(self.gateway, listen.origins, self._films, self._keeping, mounted)
        self._rest = rest_server(rest, self.gateway.limits, context)
        await transport.start()
        self._tasks.append(asyncio.create_task(self._rest.serve([bound])))
        await self._rest.wait_started()
        self._tasks.append(asyncio.create_task(self._watch_readiness(transport)))
        self._keeping.start()
        self._films.resume()
        self.rest_url = f"{'https' if tls else 'http'}://{name}:{port}"
        self.grpc_target = f"{name}:{grpc_port}"

    def request_stop(self) -> None:
        """Ask for the end, from any thread; whoever runs the server waits for it with `until_stop`."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop_asked.set)

    async def until_stop(self) -> None:
        """Wait until `request_stop`."""
        await self._stop_asked.wait()

    async def stop(self, drain_s: float) -> bool:
        """Refuse what is new, finish what is under way, close both transports and the engine.

        Parameters
        ----------
        drain_s : float
            How long it may take.

        Returns
        -------
        bool
            False where something had to be given up.
        """
        gateway = self.gateway
        gateway.draining = True
        if self._grpc is not None:
            await self._grpc.show_readiness()
        await self._films.close()
        await self._keeping.close()
        finished = await gateway.drain(drain_s)
        await asyncio.sleep(_LINGER_S)
        if self._rest is not None:
            self._rest.should_exit = True
        if self._grpc is not None:
            await self._grpc.stop(_CLOSE_S if finished else 0.0)
        if self._tasks:
            serving, *others = self._tasks
            await serving
            for task in others:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await gateway.engine.close(_CLOSE_S if finished else 0.0)
        self._mounted.close()
        gateway.close()
        return finished

    async def _watch_readiness(self, transport: GrpcTransport) -> None:
        shown = self.gateway.ready()
        while True:
            await asyncio.sleep(_LOOK_S)
            if self.gateway.ready() != shown:
                shown = not shown
                await transport.show_readiness()


@contextmanager
def background(
    engine: Engine | Callable[[], Awaitable[Engine]],
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    registry: Registry | None = None,
    decoders: Decoders | None = None,
    tls: ServerTls | None = None,
    origins: tuple[str, ...] = (),
    drain_s: float = 5.0,
    shelf: BundleShelf | None = None,
    mounting: Mounting | None = None,
    keep_days: float = KEPT_DAYS,
) -> Iterator[CloudServer]:
    """A cloud on free ports of loopback, on a thread of its own; for notebooks, tests and measurements.

    Parameters
    ----------
    engine : Engine or callable
        A callable is awaited on the server's own event loop.
    access, limits, registry, decoders, shelf
        As in `Gateway`.
    tls : ServerTls, optional
    origins : tuple of str
        As in `Listen`.
    drain_s : float
        What is under way at the end may take so long.
    mounting : callable, optional
        What REST serves beside; wants a registry.
    keep_days : float
        As of `CloudServer`.

    Yields
    ------
    CloudServer
        Listening; its ``rest_url`` and ``grpc_target`` say where.
    """
    started = threading.Event()
    found: list[CloudServer | BaseException] = []

    async def run() -> None:
        opened: Engine = await engine() if callable(engine) else engine
        gateway = Gateway(opened, access=access, limits=limits, registry=registry, decoders=decoders, shelf=shelf)
        beside = mounting(gateway, registry) if mounting and registry else None
        server = CloudServer(gateway, Listen(rest_port=0, grpc_port=0, tls=tls, origins=origins), beside, keep_days)
        await server.start()
        found.append(server)
        started.set()
        await server.until_stop()
        await server.stop(drain_s)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 handed to the thread that waits
            found.append(error)
            started.set()

    thread = threading.Thread(target=work, name="cloud", daemon=True)
    thread.start()
    started.wait(_START_S)
    first = found[0] if found else TimeoutError("the server did not start")
    if isinstance(first, BaseException):
        raise first
    try:
        yield first
    finally:
        first.request_stop()
        thread.join()
    if len(found) > 1 and isinstance(found[1], BaseException):
        raise found[1]


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(
            error.errno, f"REST cannot listen on {host}:{port} ({error.strerror}); choose another port"
        ) from error
    # asyncio does so only for sockets that it made itself; without it an answer waits 40 ms for the caller's ACK.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
