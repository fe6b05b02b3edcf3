"""The console over HTTP, below ``/v1/console``: asked by the server's own page, with its cookie."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Security
from fastapi.security import APIKeyCookie

from fedaffect.server.console.account_routes import account_routes
from fedaffect.server.console.calling import not_kept
from fedaffect.server.console.console import Console
from fedaffect.server.console.doors import COOKIE, PREFIX
from fedaffect.server.console.fleet_routes import fleet_routes
from fedaffect.server.console.operator_routes import operator_routes
from fedaffect.server.console.research_routes import research_routes
from fedaffect.server.console.schemas import BODIES
from fedaffect.server.console.streaming import Streams
from fedaffect.server.serving.http.mounted import Mounted
from fedaffect.server.serving.http.schemas import refusals

_COOKIE: Final = APIKeyCookie(name=COOKIE, scheme_name="account", auto_error=False)


def console_routes(console: Console) -> Mounted:
    """Everything below ``/v1/console``, for the server that has it beside predictions."""
    router = APIRouter(
        prefix=PREFIX,
        tags=["console"],
        dependencies=[Security(_COOKIE), Depends(not_kept)],
        responses=refusals(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    )
    streams = Streams(console.doors, console.stopping)
    router.include_router(account_routes(console))
    router.include_router(fleet_routes(console, streams))
    router.include_router(operator_routes(console))
    router.include_router(research_routes(console, streams))
    return Mounted(router, BODIES)
