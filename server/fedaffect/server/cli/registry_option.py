"""Which registry a command speaks to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from fedaffect.server.environment import REGISTRY_VARIABLE


def registry_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--registry``: a database URL, or None for SQLite in the server's data folder."""
    option = click.option(
        "--registry",
        "registry_url",
        metavar="URL",
        envvar=REGISTRY_VARIABLE,
        help="sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME; the server's data folder if not given "
        f"(${REGISTRY_VARIABLE}).",
    )
    return option(command)
