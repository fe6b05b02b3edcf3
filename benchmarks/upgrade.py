"""A fleet upgraded in the middle of a run, then restored on another machine: real processes, real older code.

    python -m benchmarks.upgrade
    python -m benchmarks.upgrade --from COMMIT

The older version is taken from git: the newest commit whose registry has one migration less. Its server and three of
its devices learn; after two rounds the server is stopped and this version's started in the same folder. One device
stays as it was. The arrays of every round must be those of a run that nobody interrupted.

Then the registry is backed up, the fleet's folder copied, and both put into other places; the first are deleted. The
devices, which nobody told, learn another run with the server that comes up there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.support.constructed_cohort import constructed_cohort
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_fleet import SmallFleet

from fedaffect.edge.system.files import write_private
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.setup.folder import SETTINGS, FleetFolder
from fedaffect.server.registry import Registry, audit, runs

ROOT: Final = Path(__file__).parents[1]
_MIGRATIONS: Final = "server/fedaffect/server/registry/migrations/versions"
_DEVICES, _ROUNDS, _UPGRADED_AFTER = 3, 6, 2
_SMALL: Final = {
    "model_options": {"width": 16, "heads": 2, "feedforward": 32},
    "lr": 0.05,
    "clients_per_round": _DEVICES,
    # Rounds long enough that the server ends inside one.
    "local_epochs": 20,
    "round_timeout_s": 120.0,
}


def main() -> None:
    """Upgrade, restore, compare, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="older", help="commit of the older version")
    given = parser.parse_args()
    # What was started is stopped, also where this is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="upgrade-") as folder:
        said = _rehearse(Path(folder), given.older or _one_migration_less())
    print(json.dumps({**said, "minutes": round((time.monotonic() - began) / 60, 1), "load": os.getloadavg()[0]}))


def _rehearse(folder: Path, older: str) -> dict[str, Any]:
    cohort = constructed_cohort(
        folder / "cohort", clients=_DEVICES, examples=(8, 16), tokens={"text": 2, "audio": 2}, width=12
    )
    before = {"PYTHONPATH": _checked_out(older, folder / "older")}
    with SmallFleet(folder / "at-work", cohort, environment=before) as fleet:
        for k in range(_DEVICES):
            fleet.enroll(f"d{k}", k)
            fleet.start(f"d{k}")
        fleet.online(_DEVICES)
        fleet.submit("upgraded", _ROUNDS, **_SMALL)
        fleet.wait_for(lambda: len(fleet.rounds("upgraded")) >= _UPGRADED_AFTER, "two rounds")
        fleet.stop("up")
        registry = FleetFolder.open(fleet.path).settings.registry
        with Registry.connect(registry) as opened:
            revisions = [_revision(opened)]
            assert runs.get(opened, "upgraded").state == "open"
        fleet.renew({})
        began = time.monotonic()
        fleet.up()
        up_again_s = time.monotonic() - began
        # Devices are upgraded when they are; the first one never is.
        for k in range(1, _DEVICES):
            fleet.stop(f"d{k}")
            fleet.start(f"d{k}")
        fleet.wait("upgraded")
        with Registry.connect(registry) as opened:
            revisions.append(_revision(opened))
            audit.verify(opened)
            flower_runs = len(runs.get(opened, "upgraded").flower_runs)
        same = _equal_rounds(fleet, "upgraded", folder)
        began = time.monotonic()
        _elsewhere(fleet, folder)
        fleet.online(_DEVICES)
        restored_s = time.monotonic() - began
        fleet.submit("restored", _ROUNDS, **_SMALL)
        fleet.wait("restored")
        again = _equal_rounds(fleet, "restored", folder)
        with Registry.connect(FleetFolder.open(fleet.path).settings.registry) as opened:
            audit.verify(opened)
            kept = runs.get(opened, "upgraded").state
    return {
        **{"from": older[:12], "revisions": revisions, "flower_runs": flower_runs},
        **{"equal_rounds_after_the_upgrade": same, "of": _ROUNDS, "up_again_s": round(up_again_s, 1)},
        **{"equal_rounds_after_the_restore": again, "devices_back_s": round(restored_s, 1), "run_before": kept},
    }


def _elsewhere(fleet: SmallFleet, folder: Path) -> None:
    """Bring it up in other places, at its address, from a backup of the registry and a copy of the folder."""
    old = FleetFolder.open(fleet.path)
    fleet.command("server", "registry", "backup", str(folder / "backup"), "--registry", old.settings.registry)
    fleet.stop("up")
    there = folder / "another-machine"
    shutil.copytree(old.path, there / "fleet", ignore=shutil.ignore_patterns("registry.db*", "*.sock", "*.lock"))
    shutil.rmtree(old.path)
    url = f"sqlite:///{there / 'registry.db'}"
    fleet.command("server", "registry", "restore", str(folder / "backup"), "--registry", url)
    settings = there / "fleet" / SETTINGS
    moved = settings.read_text(encoding="utf-8").replace(old.settings.registry, url)
    write_private(settings, moved.encode(), replace=True)
    fleet.path = there / "fleet"
    fleet.up()


def _equal_rounds(fleet: SmallFleet, name: str, folder: Path) -> int:
    """How many rounds of a run have the arrays of a simulation by this version."""
    config = RunSettings.of(dataset="synthetic", rounds=_ROUNDS, out=folder / "simulated", name=name, **_SMALL)
    beside = RunFolder.create(config)
    run_federation(InProcessGrid(_DEVICES), config, fleet.cohort, beside)
    there = RunFolder.open(fleet.path / "runs" / name)
    return sum(_arrays(there, number) == _arrays(beside, number) for number in range(1, _ROUNDS + 1))


def _arrays(run: RunFolder, number: int) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in run.checkpoints.load(number).arrays.items()}


def _revision(registry: Registry) -> str:
    with registry.reading() as session:
        return str(session.connection().exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def _one_migration_less() -> str:
    """The newest commit before the one that brought the newest migration."""
    newest = max(path.name for path in (ROOT / _MIGRATIONS).glob("r*.py"))
    added = _git("log", "--diff-filter=A", "--format=%H", "--", f"{_MIGRATIONS}/{newest}").split()
    return _git("rev-parse", f"{added[0]}^").strip()


def _checked_out(commit: str, folder: Path) -> str:
    """Its packages' folders, as PYTHONPATH wants them."""
    folder.mkdir()
    packed = subprocess.run(("git", "-C", ROOT, "archive", commit), check=True, capture_output=True).stdout
    subprocess.run(("tar", "-x", "-C", folder), input=packed, check=True)
    return ":".join(str(folder / name) for name in ("edge_runtime", "client", "server", "simulation"))


def _git(*arguments: str) -> str:
    return subprocess.run(("git", "-C", ROOT, *arguments), check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
