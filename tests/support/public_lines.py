"""Lines that say an emotion by one word, in the few words that the tiny bundle knows. Constructed, nobody said them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from tests.support.in_process_grid import InProcessGrid
from tests.support.learning_bundle import OPTIONS
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.runs.own_examples import own_cohort
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.public_data import read_public
from fedaffect.server.registry import Registry

MARKS: Final = {"joy": "happy", "sadness": "sad", "anger": "not", "fear": "did"}
_OTHERS: Final = ("i", "am", "so", "today", "you")


def write_lines(folder: Path, people: int = 10, each: int = 24, seed: int = 0) -> Path:
    """A folder with a table of lines by several speakers, and return it."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = ["text,label,speaker"]
    for person in range(people):
        for number in range(each):
            label = tuple(MARKS)[number % len(MARKS)]
            # Two words: a line this short is anybody's, and may be said by those who guard too.
            words = [MARKS[label], str(rng.choice(_OTHERS))]
            rows.append(f"{' '.join(rng.permutation(words))},{label},p{person}")
    (folder / "lines.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def knowing(
    lines: Path, bundle: Path, fleet_folder: FleetFolder, registry: Registry, folder: Path
) -> dict[str, Tensor]:
    """A fusion's weights for this bundle that have learned the lines.

    Parameters
    ----------
    lines : Path
    bundle : Path
        Whose encoders and labels the fusion has.
    fleet_folder, registry : FleetFolder, Registry
        Of a fleet.
    folder : Path
        Gets a cohort and a run.
    """
    given = {"dataset": "devices", "bundle": str(bundle), "model_options": OPTIONS}
    empty = own_cohort(fleet_folder, registry, RunSettings.of(given))
    read_public(RunSettings.of({**given, "replay": str(lines)}), Cohort.load(empty)).save(folder / "known")
    config = RunSettings.of({**given, "rounds": 12, "lr": 0.01, "clients_per_round": 1}, out=folder)
    run = RunFolder.create(config)
    run_federation(InProcessGrid(1), config, folder / "known", run)
    return {name: torch.from_numpy(array.copy()) for name, array in run.checkpoints.load(12).arrays.items()}
