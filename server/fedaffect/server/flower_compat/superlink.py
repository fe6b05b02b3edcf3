"""Flower's SuperLink as an ASGI app: Flower's own, with shorter ways to its functions where they fit.

Flower's program would listen at a port by itself. Here its app is made as that program makes it, so that the caller
decides where it listens. Where Flower moves what is imported here, the SuperLink does not start, and nobody gets in.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from flwr.supercore.http_logging import get_uvicorn_log_config
from flwr.supercore.logger import console_handler
from flwr.superlink.cli import flower_superlink as _program  # noqa: F401 - its module is hidden by the function
from flwr.superlink.main import create_app
from starlette.types import ASGIApp

from fedaffect.server.flower_compat.direct_requests import answering_directly
from fedaffect.server.flower_compat.lean_state import write_less

_superlink = sys.modules["flwr.superlink.cli.flower_superlink"]


def superlink_app(arguments: Sequence[str]) -> ASGIApp:
    """The SuperLink's app, told what ``flower-superlink`` is told on its command line."""
    sys.argv = ["flower-superlink", *arguments]
    app = create_app(_superlink._parse_superlink_lifespan_config(), _superlink.SuperLinkLifespan)
    write_less(app.state.linkstate_factory.state())
    return answering_directly(app)


def superlink_log_config() -> dict[str, Any]:
    """How Flower has uvicorn log."""
    config: dict[str, Any] = get_uvicorn_log_config(console_handler.level)
    return config
