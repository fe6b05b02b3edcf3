"""A run of ours as an app that Flower can run: a folder with nothing in it but what to import, and the settings.

No code travels: ``fedaffect.server.app`` and ``fedaffect.client.app`` are those installed with the aggregator and on
the device. The whole project as an app (``flwr run .``) works beside it, for nodes that have only Flower.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import private_folder, write_private
from fedaffect.server.federation.settings import RunSettings, to_flwr

# Key of the run config that says which run of ours a Flower run carries on.
FLEET_RUN: Final = "fleet-run"
_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_COHORT_FOLDER: Final = "cohort-folder"
# How long a round waits for devices that are not online, before it goes on with those that are.
_GATHER: Final = "gather-s"


def checked_settings(given: Mapping[str, Any], out: Path) -> tuple[str, dict[str, Any]]:
    """A run's id, and its settings as a flat Flower run config.

    Parameters
    ----------
    given : mapping
        Settings of `RunSettings` in kebab-case, and ``cohort-folder`` for a cohort that is prepared already, and
        ``gather-s``, how many seconds a round waits for devices that are offline.
    out : Path
        Where the fleet's run folders lie.

    Raises
    ------
    ConfigError
        If a setting is unknown or does not fit, or the name is no folder's.
    """
    settings = dict(given)
    cohort = settings.pop(_COHORT_FOLDER, None)
    gather_s = settings.pop(_GATHER, None)
    config = RunSettings.of({**settings, "engine": "flower", "out": str(out)})
    if config.federation.mode != "federated":
        raise ConfigError(f"a fleet learns federated; for --mode {config.federation.mode} use fedaffect simulate")
    if not _RUN_ID.fullmatch(config.run_name):
        raise ConfigError(f"{config.run_name!r} cannot name a run; use letters, digits, dots and dashes")
    flat: dict[str, Any] = {**to_flwr(config), "name": config.run_name}
    # Of simulations, and not to be given to a Flower run.
    for key in ("engine", "actors", "gpus-per-actor", "cohort-size", "ray-address"):
        flat.pop(key, None)
    if cohort is not None:
        if not Path(str(cohort)).is_dir():
            raise ConfigError(f"there is no cohort in {cohort}; it is a folder on the aggregator's machine")
        flat[_COHORT_FOLDER] = str(Path(str(cohort)).absolute())
    if gather_s is not None:
        flat[_GATHER] = float(gather_s)
    return config.run_name, flat


def write_app(folder: Path, run_id: str, settings: Mapping[str, Any]) -> Path:
    """The app that carries a run, as a folder that ``flwr run`` takes too."""
    private_folder(folder.parent)
    app = private_folder(folder)
    lines = [
        "[project]",
        'name = "fedaffect-fleet"',
        f"version = {json.dumps(version('fedaffect'))}",
        'description = "A run of a fedaffect fleet; the code is what is installed"',
        'license = "Apache-2.0"',
        "dependencies = []",
        "",
        "[tool.flwr.app]",
        'publisher = "fedaffect"',
        "",
        "[tool.flwr.app.components]",
        'serverapp = "fedaffect.server.app:app"',
        'clientapp = "fedaffect.client.app:app"',
        "",
        "[tool.flwr.app.config]",
        *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in {**settings, FLEET_RUN: run_id}.items()),
    ]
    write_private(app / "pyproject.toml", ("\n".join(lines) + "\n").encode(), replace=True)
    return app
