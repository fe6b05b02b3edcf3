"""The HTTP server under REST: uvicorn, told what a server that is one of two transports needs."""

from __future__ import annotations

import ssl
from typing import Final

import uvicorn
from fastapi import FastAPI

from fedaffect.server.serving.gateway.limits import Limits
from fedaffect.server.uvicorn_compat import BoundedHeadProtocol, EmbeddedServer

_KEEP_ALIVE_S: Final = 75


def rest_server(app: FastAPI, limits: Limits, tls: ssl.SSLContext | None) -> EmbeddedServer:
    """A server that is ready to be given its socket.

    Its own log of requests is off (paths and addresses are no business of a log that everybody reads), forwarded
    addresses are not believed, WebSocket messages are bounded and not compressed.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        lifespan="off",
        http=BoundedHeadProtocol,
        ws="websockets-sansio",
        ws_max_size=limits.stream_message_bytes,
        ws_per_message_deflate=False,
        log_config=None,
        # Below, it would log what callers say over WebSocket, and paths with what they hold.
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    return EmbeddedServer(config)
