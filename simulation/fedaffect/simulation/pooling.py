"""All clients' data in one: what ``--centralized`` and ``fedaffect train`` train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedaffect.client.cohort import Cohort
from fedaffect.client.features.cache import reporting_disk
from fedaffect.server.federation.settings import POOLED, RunSettings
from fedaffect.simulation.attacks.poisoning import poisoned
from fedaffect.simulation.prepare import prepare

POOLED_CLIENT = "all clients together"


def cohort_for(config: RunSettings, progress: bool = True, *, ensure_bundle: Callable[[], Path] | None = None) -> Path:
    """The cohort of a run: pooled for a centralized one, poisoned where it is attacked so.

    Parameters
    ----------
    config : RunSettings
    progress : bool
        Show progress on standard error, where that is a terminal.
    ensure_bundle : callable, optional
        Builds the edge bundle where it is not there and returns its folder.

    Returns
    -------
    Path
        A folder for ``Cohort.load``.
    """
    folder = prepare(config, progress, ensure_bundle=ensure_bundle)
    return pooled(folder) if config.federation.mode in POOLED else poisoned(folder, config)


def pooled(folder: Path) -> Path:
    """The same cohort with one client that holds what all clients hold, beside the cohort itself.

    It has the very rows, noise and missing modalities that the clients have, so that nothing but federation
    differs between the two.

    Parameters
    ----------
    folder : Path
        A prepared cohort.
    """
    target = folder.with_name(f"{folder.name}-pooled")
    if (target / "cohort.json").is_file():
        return target
    cohort = Cohort.load(folder)
    rows = np.unique(cohort.client_rows)
    one = replace(
        cohort,
        client_offsets=np.array([0, len(rows)], dtype=np.int64),
        client_rows=rows,
        client_names=(POOLED_CLIENT,),
    )
    with reporting_disk(target):
        one.save(target)
    return target
