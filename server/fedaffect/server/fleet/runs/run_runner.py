"""A run of the fleet, resumed by this ServerApp from where the registry says that it stands.

The registry's last committed round is the truth. A checkpoint beyond it was written by an aggregator that died
before it could commit: that round is repeated, by another attempt.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from flwr.serverapp import Grid

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.task import ClientTask
from fedaffect.client.wire import RUN, from_record, named_to_record
from fedaffect.edge.errors import BundleError, ConfigError, DataError, FedAffectError
from fedaffect.edge.system.tracing import stop_writing, write_traces
from fedaffect.server.environment import FLEET_VARIABLE
from fedaffect.server.federation.failures import RoundFailedError
from fedaffect.server.federation.flower_grid import FlowerGrid
from fedaffect.server.federation.grid import GridCapabilities
from fedaffect.server.federation.guard import LostTooMuch, require_kept
from fedaffect.server.federation.observer import Observer, registered_observers
from fedaffect.server.federation.preparers import prepared_cohort
from fedaffect.server.federation.round_ledger import arrays_sha256
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import OWN_EXAMPLES, RunSettings, from_flwr
from fedaffect.server.fleet.errors import NobodyLearned, RunDamaged, TooFewDevices
from fedaffect.server.fleet.runs.export import export_quietly, roll_out_quietly
from fedaffect.server.fleet.runs.lease_holder import held_lease, locked
from fedaffect.server.fleet.runs.ledger import FleetLedger
from fedaffect.server.fleet.runs.members import GATHER_S, FleetMembers
from fedaffect.server.fleet.runs.own_examples import LEAST, own_cohort, terms_of
from fedaffect.server.fleet.runs.readiness import AskedDevices
from fedaffect.server.fleet.runs.root_regions import AskedRegions, RegionMembers, RootLedger
from fedaffect.server.fleet.runs.submission import FleetRunSettings, of_fleet
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.flower_compat.grid import look_sooner_for_replies
from fedaffect.server.json_log import JsonLines
from fedaffect.server.public_data import public_of
from fedaffect.server.registry import Registry, participations, rounds, runs
from fedaffect.server.registry.errors import LeaseLost
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.retry import open_when_back, retry_while_away
from fedaffect.server.starting_point import start_of

logger = logging.getLogger("flwr")

# Between attempts at a round of which nothing counts.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 300.0
# So many in a row, some four hours, and this ServerApp ends over it.
_ATTEMPTS: Final = 50
# Nothing that a next attempt could do better.
_FINAL: Final = (BundleError, ConfigError, DataError, LostTooMuch, NobodyLearned, RunDamaged, TooFewDevices)


def resume_run(
    grid: Grid,
    flower_run_id: int,
    run_id: str,
    settings: Mapping[str, Any],
    observers: Sequence[Observer] = (),
) -> None:
    """Carry a run to its end, or until this process dies.

    Parameters
    ----------
    grid : Grid
    flower_run_id : int
    run_id : str
        Ours.
    settings : mapping
        Of the run, as `fedaffect.server.fleet.runs.submission` writes them.
    observers : sequence of Observer

    Raises
    ------
    FedAffectError
        If it cannot go on; where a next attempt could not either, the run is closed as failed.
    """
    fleet = fleet_of_process()
    look_sooner_for_replies()
    write_traces("fedaffect-aggregator")
    with ExitStack() as ending, logged(fleet.logs / f"run-{run_id}.log"):
        ending.callback(stop_writing)
        _run_under_lease(grid, flower_run_id, run_id, settings, observers, fleet)


def _run_under_lease(
    grid: Grid,
    flower_run_id: int,
    run_id: str,
    settings: Mapping[str, Any],
    observers: Sequence[Observer],
    fleet: FleetFolder,
) -> None:
    own, given = of_fleet(settings)
    with open_when_back(fleet.settings.registry, subject=run_id, actor="aggregator") as registry:
        retry_while_away(lambda: runs.attach(registry, run_id, flower_run_id))
        with held_lease(registry, run_id) as lease:
            try:
                config = from_flwr({"engine": "flower", **given})
                cohort = _cohort(own, fleet, registry, config)
                with locked(config.output.out / f".{config.run_name}"):
                    folder = _restored(registry, lease, config)
                    _run(grid, registry, lease, config, cohort, folder, observers, fleet, own)
                retry_while_away(lambda: _require_learned(registry, lease, folder))
                require_kept(lease.run_id, folder.summary())
                # Before the run is closed, or whoever is killed in between leaves it without a bundle for good.
                retry_while_away(lambda: export_quietly(fleet, registry, run_id))
                told = retry_while_away(lambda: roll_out_quietly(registry, run_id, own.rollout or 0.0))
                retry_while_away(lambda: runs.finish(registry, lease, reason=told))
            except _FINAL as error:
                why = str(error)
                retry_while_away(lambda: runs.finish(registry, lease, state="failed", reason=why))
                raise
            except FedAffectError as error:
                trouble = f"is tried again after: {error}"
                with suppress(LeaseLost):
                    retry_while_away(lambda: runs.note(registry, lease, trouble))
                raise


def _require_learned(registry: Registry, lease: Lease, folder: RunFolder) -> None:
    """A model that nobody changed is what the run began with: it is no result, and no bundle is made of it."""
    lines = folder.metrics()
    if not lines or any(line["clients"] for line in lines):
        return
    last = participations.of_round(registry, lease.run_id, lines[-1]["round"])
    reasons = Counter(each.reason or each.state for each in last).most_common(3)
    said = "; ".join(f"{count} x {reason}" for reason, count in reasons) or "no device was there"
    raise NobodyLearned(f"no device learned in any of {len(lines)} rounds ({said}); no bundle is made of this run")


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """What Flower's log gets of this process, in a file too, with what ends it: Flower shows that to nobody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    try:
        yield
    except Exception as error:
        # Of other exceptions the log has no words, which may be anybody's.
        why = str(error) if isinstance(error, FedAffectError) else type(error).__name__
        logger.exception("the run stops here (%s); the aggregator resumes it where that can help", why)
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()


def fleet_of_process() -> FleetFolder:
    """The folder of the fleet whose run this process carries."""
    if FLEET_VARIABLE not in os.environ:
        raise ConfigError(
            f"this app carries a fleet's run, and ${FLEET_VARIABLE} is not set; start it with fedaffect fleet run"
        )
    return FleetFolder.open(Path(os.environ[FLEET_VARIABLE]))


def _run(
    grid: Grid,
    registry: Registry,
    lease: Lease,
    config: RunSettings,
    cohort: Path,
    folder: RunFolder,
    observers: Sequence[Observer],
    fleet: FleetFolder,
    own: FleetRunSettings,
) -> None:
    task = ClientTask(cohort, config.model.model, config.model.model_options)
    _require_same_arrays(registry, lease.run_id, folder, task.layout)
    wanted = config.clients_a_round(task.cohort.num_clients)
    devices = FlowerGrid(grid, GridCapabilities(keeps_client_states=True, packs_arrays=True))

    def say(words: str) -> None:
        retry_while_away(lambda: runs.note(registry, lease, words))

    terms = terms_of(config, task.cohort, task.layout)
    gather_s = GATHER_S if own.gather_s is None else own.gather_s
    of_run = {**terms, RUN: lease.run_id}
    readiness: AskedDevices | AskedRegions | None = AskedDevices(devices, of_run) if _is_own(config) else None
    kind: type[FleetMembers] = FleetMembers
    if own.by_region:
        about = {"rounds": config.federation.rounds, "gather-s": gather_s, "own": _is_own(config)}
        kind, readiness = RegionMembers, AskedRegions(devices, of_run, about, task.cohort.num_clients)
    members = kind(
        devices,
        registry,
        _least(config, own, wanted),
        gather_s,
        wanted=wanted,
        timeout_s=own.timeout_s,
        say=say,
        readiness=readiness,
        group=own.group,
    )
    ledger = (RootLedger if own.by_region else FleetLedger)(
        registry,
        lease,
        members,
        terms,
        folder.checkpoints.folder,
        fleet.authority.certificate_path.read_bytes(),
        int(fleet.settings.largest_update_mb * 1e6),
    )
    everyone = [*observers, *registered_observers(folder.path)]

    def carry_on() -> None:
        run_federation(
            devices,
            config,
            cohort,
            folder,
            everyone,
            resume=True,
            ledger=ledger,
            devices=members,
            regions=members if isinstance(members, RegionMembers) else None,
            start=start_of(config),
            public=public_of(config),
        )

    try:
        _until_devices_do(carry_on, lambda: len(folder.checkpoints.rounds()))
    except LeaseLost:
        raise
    except FedAffectError as error:
        # Such as a disk that is full: said now, not when the next attempt finds it open.
        ledger.give_up(str(error))
        raise


def _is_own(config: RunSettings) -> bool:
    return config.data.dataset == OWN_EXAMPLES


def _cohort(own: FleetRunSettings, fleet: FleetFolder, registry: Registry, config: RunSettings) -> Path:
    if own.cohort_folder:
        return Path(own.cohort_folder)
    if _is_own(config):
        return retry_while_away(lambda: own_cohort(fleet, registry, config))
    return prepared_cohort(config)


def _least(config: RunSettings, own: FleetRunSettings, wanted: int) -> int:
    """Devices that a round needs at least: as asked; else two, and of a benchmark's half of those that it asks.

    Devices are switched off, and revoked for good. A masked sum needs two.
    """
    usual = LEAST if _is_own(config) else max(1, wanted // 2)
    return max(own.min_devices or min(usual, wanted), LEAST if config.secagg.secagg else 1)


def _until_devices_do(carry_on: Callable[[], None], committed: Callable[[], int]) -> None:
    """Carry on again after a round of which no device's update counts, later each time.

    A run that ended over that would be at the mercy of the few devices, or the one, that are online at night.
    """
    pause_s, before, left = _FIRST_PAUSE_S, committed(), _ATTEMPTS
    while True:
        try:
            return carry_on()
        except RoundFailedError as error:
            if committed() > before:
                pause_s, before, left = _FIRST_PAUSE_S, committed(), _ATTEMPTS
            left -= 1
            if not left:
                raise
            logger.warning("%s; devices are asked again in %.0f s", error, pause_s)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _restored(registry: Registry, lease: Lease, config: RunSettings) -> RunFolder:
    """The run folder, with no checkpoint beyond what the registry has committed."""
    last = retry_while_away(lambda: rounds.last_committed(registry, lease.run_id))
    path = config.output.out / config.run_name
    if not (path / "config.toml").is_file():
        if last is not None:
            raise RunDamaged(
                f"run {lease.run_id!r} has {last.round} rounds, and {path} is gone; restore it from a backup"
            )
        return RunFolder.create(config)
    folder = RunFolder.open(path)
    committed = last.round if last else 0
    done = folder.checkpoints.rounds()
    folder.checkpoints.keep_only({number for number in done if number <= committed})
    return folder


def _require_same_arrays(registry: Registry, run_id: str, folder: RunFolder, layout: ArrayLayout) -> None:
    last = retry_while_away(lambda: rounds.last_committed(registry, run_id))
    if last is None:
        return
    checkpoint = folder.checkpoints.load(last.round)
    if arrays_sha256(from_record(layout, named_to_record(checkpoint.arrays))) != last.arrays_sha256:
        raise RunDamaged(
            f"the checkpoint of round {last.round} in {folder.path} does not hold the arrays that were committed; "
            "restore it from a backup"
        )
