"""Flower's projects and runs as its own engine makes them: a project folder's components and config, a run's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.common.config import get_fused_config_from_dir, get_project_config, parse_config_args
from flwr.supercore.object_ref import load_app
from flwr.supercore.run import Run as Run


def new_run(run_id: int) -> Run:
    """A run that no SuperLink knows of."""
    return Run.create_empty(run_id)


def project_tables(folder: Path) -> Mapping[str, Any]:
    """What stands in a project's ``[tool.flwr]``.

    Raises
    ------
    OSError, ValueError
        If its ``pyproject.toml`` cannot be read, or is none of a Flower app.
    """
    tables: Mapping[str, Any] = get_project_config(folder)["tool"]["flwr"]
    return tables


def run_config_of(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """A project's config, flat, with overrides such as ``lr=0.1 name="x"``, or one path of a TOML file.

    Raises
    ------
    ValueError
        If the project has no such key.
    click.ClickException
        If an override is no TOML.
    """
    return dict(get_fused_config_from_dir(folder, parse_config_args(list(overrides))))


def load_component(reference: str, folder: Path) -> Any:
    """The object that ``module:attribute`` names; modules of the project's folder are found from now on.

    Raises
    ------
    ValueError
        If the module has no such attribute.
    """
    return load_app(reference, ValueError, folder)
