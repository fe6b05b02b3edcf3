"""A server that asks for no keys answers callers of its own machine alone."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from fedaffect.server.errors import Forbidden
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.http.reply import refusal

_VIOLATION: Final = 1008


class LocalCallers:
    """Refuses, while no keys are asked for, what a web page of another host has a browser on this machine send.

    Listening on loopback keeps other machines out, not other people's pages: a browser sends their requests and opens
    their WebSockets, and a page whose host name was made to point at 127.0.0.1 (DNS rebinding) reads the answers too.
    Both show: a browser says the page in ``Origin``, and the name that it asked for in ``Host``.

    Parameters
    ----------
    app : ASGI application
    gateway : Gateway
        Says whether keys are asked for, which may change, and counts what is refused.
    origins : collection of str
        Pages of other hosts that are answered all the same.
    """

    def __init__(self, app: ASGIApp, gateway: Gateway, origins: Collection[str] = ()) -> None:
        self._app = app
        self._gateway = gateway
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._gateway.asks_for_keys or self._is_let_in(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        self._gateway.metrics.refusals.labels(Forbidden.__name__).inc()
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _VIOLATION})
        else:
            await refusal(
                Forbidden(
                    "this server has no keys and answers callers and pages of its own machine alone; call it as "
                    "localhost, or make a key: fedaffect server keys create"
                )
            )(scope, receive, send)

    def _is_let_in(self, headers: Headers) -> bool:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        allowed = bool(origins) and self._origins.issuperset(origins)
        if headers.get("sec-fetch-site") == "cross-site" and not allowed:
            # A browser says so also where it sends no Origin, as with a picture's address.
            return False
        return all(_is_loopback(f"//{host}") for host in hosts) and (allowed or all(map(_is_loopback, origins)))


def _is_loopback(url: str) -> bool:
    try:
        name = urlsplit(url).hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
