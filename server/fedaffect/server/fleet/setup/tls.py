"""TLS of the servers: one PEM file of key and certificate, loaded again when it changes."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from fedaffect.server.fleet.lasting_thread import LastingThread
from fedaffect.server.fleet.setup.connections import BoundedListener, allow_descriptors
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.uvicorn_compat import BoundedBodyProtocol, BoundedServer

logger = logging.getLogger(__name__)

_RELOAD_S: Final = 1.0
# How long a connection may be silent after an answer, as long as before the first request. Nodes ask at once again.
_KEEP_ALIVE_S: Final = 15


def https_config(app: ASGIApp, folder: FleetFolder, port: int, **settings: Any) -> uvicorn.Config:
    """How a fleet's server is served: with its certificate, a new one once that is there, and no header of a proxy.

    Parameters
    ----------
    app : ASGI app
    folder : FleetFolder
        Names certificate and address.
    port : int
    **settings
        More of uvicorn's.
    """
    context = server_context(folder.server_pem)
    _reload_in_background(context, folder.server_pem)
    return uvicorn.Config(
        app,
        host=folder.settings.listen,
        port=port,
        ssl_context_factory=lambda _config, _default: context,
        access_log=False,
        # Uvicorn's own writes an exception's words, which may be anybody's.
        log_config=None,
        ws="none",
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        http=BoundedBodyProtocol,
        timeout_keep_alive=_KEEP_ALIVE_S,
        # Of which the listener is one: uvloop accepts by itself.
        loop="asyncio",
        **settings,
    )


def serve_https(config: uvicorn.Config, folder: FleetFolder, ends: Callable[[], None] = lambda: None) -> None:
    """Serve until told to stop: the one set-up of the service and the gate.

    Parameters
    ----------
    config : uvicorn.Config
        From `https_config`.
    folder : FleetFolder
    ends : callable, optional
        Told when the server ends, before it waits for requests that are still served.
    """
    settings = folder.settings
    allow_descriptors()
    with BoundedListener(
        settings.listen, config.port, settings.connections_per_address, settings.connections
    ) as listener:
        BoundedServer(config, ends).run(sockets=[listener])


def server_context(pem: Path) -> ssl.SSLContext:
    """TLS 1.2 and newer with the certificate and key in one PEM file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pem)
    return context


def _reload_in_background(context: ssl.SSLContext, pem: Path) -> None:
    """Load a replaced certificate, for new connections; open ones keep the old one."""

    def watch() -> None:
        seen = pem.stat().st_mtime_ns
        while True:
            time.sleep(_RELOAD_S)
            try:
                if (now := pem.stat().st_mtime_ns) != seen:
                    context.load_cert_chain(pem)
                    seen = now
                    logger.warning("a new certificate is in use")
            except (OSError, ssl.SSLError) as error:
                logger.warning("the new certificate cannot be loaded (%s); the old one stays in use", error)

    LastingThread("certificate", watch).start()
