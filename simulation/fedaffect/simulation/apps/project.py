"""A Flower project folder, run unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fedaffect.edge.errors import ConfigError
from fedaffect.server.flower_compat.projects import load_component, project_tables, run_config_of

# What Flower simulates where nobody says how many.
_NODES = 2


@dataclass(frozen=True, slots=True)
class Project:
    """What a project's ``pyproject.toml`` says.

    Parameters
    ----------
    folder : Path
    components : mapping of str to str
        ``serverapp`` and ``clientapp``, each ``module:attribute``.
    run_config : mapping
        ``[tool.flwr.app.config]`` with what was overridden; keys of tables within are joined by dots.
    nodes : int
        ``options.num-supernodes`` of its default federation, where an older project has one.
    resources : mapping of str to float
        ``options.backend.client-resources`` of the same; empty where it has none.
    """

    folder: Path
    components: Mapping[str, str]
    run_config: Mapping[str, Any]
    nodes: int
    resources: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path, overrides: Sequence[str] = ()) -> Project:
        """Read a project.

        Parameters
        ----------
        folder : Path
            Holds ``pyproject.toml``.
        overrides : sequence of str
            Such as ``lr=0.1 rounds=5``, or the path of one TOML file.

        Raises
        ------
        ConfigError
            If it is no Flower app, or has no such key to override.
        """
        try:
            tables = project_tables(folder)
            run_config = run_config_of(folder, overrides)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} cannot be run as a Flower app ({' '.join(str(error).split())})") from error
        except click.ClickException as error:
            raise ConfigError("--run-config takes TOML, such as 'rounds=5 name=\"x\"'") from error
        federations = tables.get("federations", {})
        options = federations.get(federations.get("default", ""), {}).get("options", {})
        resources = options.get("backend", {}).get("client-resources", {})
        return cls(
            folder.resolve(),
            tables["app"]["components"],
            run_config,
            int(options.get("num-supernodes", _NODES)),
            {name.replace("-", "_"): amount for name, amount in resources.items()},
        )

    def load(self) -> tuple[ServerApp, ClientApp]:
        """Import its two apps.

        Raises
        ------
        ConfigError
            If a component names none.
        """
        return self._load("serverapp", ServerApp), self._load("clientapp", ClientApp)

    def _load(self, component: str, kind: type[Any]) -> Any:
        reference = self.components[component]
        try:
            loaded = load_component(reference, self.folder)
        except ValueError as error:
            raise ConfigError(f"{component} {reference!r} of {self.folder} has no such attribute") from error
        if not isinstance(loaded, kind):
            raise ConfigError(f"{component} {reference!r} of {self.folder} is no {kind.__name__}")
        return loaded
