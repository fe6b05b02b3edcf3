"""Who prepares a run's corpus: a room above this one registers an entry point, as imports do not go up."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.settings import RunSettings

PREPARERS = "fedaffect.preparers"


def prepared_cohort(config: RunSettings) -> Path:
    """Prepare a run's corpus with the installed preparer.

    Raises
    ------
    ConfigError
        If none is: the simulation extra is missing.
    """
    point = next((p for p in entry_points(group=PREPARERS) if p.name == "default"), None)
    if point is None:
        raise ConfigError("nothing here prepares corpora: pip install 'fedaffect[simulation]', or give cohort-folder")
    folder: Path = point.load()(config)
    return folder
