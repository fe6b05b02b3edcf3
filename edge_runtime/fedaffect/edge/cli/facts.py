"""What commands print: words for people, or one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import click


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def say(as_json: bool, facts: Mapping[str, Any], *lines: str) -> None:
    """Print facts as one JSON object, or the lines that say the same.

    Parameters
    ----------
    as_json : bool
    facts : mapping
    *lines : str
    """
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for line in lines:
        click.echo(line)
