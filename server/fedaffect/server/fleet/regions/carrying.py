"""A region's ServerApp: it carries out a root's orders of one run, until the root says that the run is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final

from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp import Grid

from fedaffect.client.wire import CONFIG, RUN
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.files import private_folder
from fedaffect.edge.system.tracing import stop_writing, write_traces
from fedaffect.server.federation.flower_grid import FlowerGrid
from fedaffect.server.federation.grid import GridCapabilities
from fedaffect.server.federation.regions.aggregator import RegionalAggregator
from fedaffect.server.federation.regions.order import REGION
from fedaffect.server.federation.robustness.reply_validation import one_line
from fedaffect.server.federation.secagg.journal import Journal
from fedaffect.server.federation.secagg.training import JOURNAL
from fedaffect.server.fleet.errors import RegionError
from fedaffect.server.fleet.regions.ledger import RegionLedger
from fedaffect.server.fleet.regions.orders import ERROR, Orders
from fedaffect.server.fleet.runs.lease_holder import held_lease
from fedaffect.server.fleet.runs.members import FleetMembers
from fedaffect.server.fleet.runs.readiness import AskedDevices
from fedaffect.server.fleet.runs.root_regions import CLIENTS, REGION_RUN
from fedaffect.server.fleet.runs.run_runner import fleet_of_process, logged
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.flower_compat.grid import look_sooner_for_replies
from fedaffect.server.registry import Registry, audit, runs
from fedaffect.server.registry.errors import LeaseLost
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.retry import open_when_back, retry_while_away

logger = logging.getLogger("flwr")

_LOOK_S: Final = 0.05
# The audit log's word for an order that was carried out, from which the metrics are.
ANSWERED: Final = "order.answered"


def carry_orders(grid: Grid, flower_run_id: int, run_id: str, settings: Mapping[str, Any]) -> None:
    """Carry a root's orders out until its run is over, or this process dies.

    Parameters
    ----------
    grid : Grid
    flower_run_id : int
    run_id : str
        Ours.
    settings : mapping
        What the root said of its run.

    Raises
    ------
    FedAffectError
        If it cannot go on; a next attempt may.
    """
    fleet = fleet_of_process()
    look_sooner_for_replies()
    write_traces("fedaffect-region")
    with ExitStack() as ending, logged(fleet.logs / f"run-{run_id}.log"):
        ending.callback(stop_writing)
        registry = ending.enter_context(open_when_back(fleet.settings.registry, subject=run_id, actor="aggregator"))
        retry_while_away(lambda: runs.attach(registry, run_id, flower_run_id))
        lease = ending.enter_context(held_lease(registry, run_id))
        RegionAtWork(grid, registry, lease, fleet, settings).carry()


class RegionAtWork:
    """A region's aggregator of one run.

    Parameters
    ----------
    grid : Grid
    registry : Registry
    lease : Lease
    fleet : FleetFolder
    settings : mapping
        Of the run, as the region's node wrote them.
    """

    def __init__(
        self, grid: Grid, registry: Registry, lease: Lease, fleet: FleetFolder, settings: Mapping[str, Any]
    ) -> None:
        self._registry, self._lease = registry, lease
        self._orders = Orders.of(fleet.path, lease.run_id)
        self._least_devices = fleet.settings.least_devices
        self._root_run = str(settings[REGION_RUN])
        devices = FlowerGrid(grid, GridCapabilities(keeps_client_states=True, packs_arrays=True))
        self._members = FleetMembers(
            devices,
            registry,
            # How many a round needs is the root's to say.
            minimum=0,
            gather_s=float(settings["gather-s"]),
            say=lambda words: retry_while_away(lambda: runs.note(registry, lease, words)),
            readiness=AskedDevices(devices, {RUN: lease.run_id}) if settings.get("own") else None,
        )
        folder = private_folder(private_folder(fleet.runs) / lease.run_id)
        self._ledger = RegionLedger(
            registry,
            lease,
            self._members,
            {},
            folder,
            fleet.authority.certificate_path.read_bytes(),
            int(fleet.settings.largest_update_mb * 1e6),
            skipping=True,
        )
        sums = self._ledger.sums(Journal(folder / JOURNAL))
        self._aggregator = RegionalAggregator(devices, self._members.nodes, range(2**31), sums, self._ledger)

    def carry(self) -> None:
        """Answer orders as they come."""
        while True:
            if (found := self._orders.next()) is not None:
                path, content = found
                if not self._orders.answer(path, self._answer(content)):
                    # Its root has it not, and so nothing of it counts.
                    self._ledger.not_passed_up()
            elif (closed := self._orders.closed()) is not None:
                self._close(closed)
                return
            else:
                time.sleep(_LOOK_S)

    def _answer(self, content: RecordDict) -> RecordDict:
        try:
            if "round" not in content.config_records[REGION]:
                clients = list(self._members.gather(content.config_records[CONFIG]))
                return RecordDict({REGION: ConfigRecord({CLIENTS: clients})})
            return self._sum(content)
        except LeaseLost:
            raise
        # Whatever an order raises it raises again in the next process, which finds it still waited for.
        except Exception as error:
            logger.exception("an order of run %s could not be carried out", self._root_run)
            known = isinstance(error, FedAffectError | OSError)
            why = str(error) if known else one_line(f"the order is malformed ({type(error).__name__}: {error})")
            self._audit(outcome="failed", why=why[:300])
            return RecordDict({REGION: ConfigRecord({ERROR: why})})

    def _sum(self, content: RecordDict) -> RecordDict:
        began, order = time.monotonic(), content.config_records[REGION]
        self._require_enough(len(order["clients"]))  # type: ignore[arg-type]
        if set(order["clients"]) - set(self._members.nodes.node_ids):  # type: ignore[arg-type]
            # This process may have started after the root was told who is there.
            self._members.gather(content.config_records[CONFIG])
        answer = self._aggregator.answer(content)
        about = answer.config_records[REGION]
        asked, summed, seconds = len(order["clients"]), int(about["clients"]), time.monotonic() - began  # type: ignore[arg-type]
        if summed:
            self._require_enough(summed)
        self._ledger.passed_up(int(order["round"]), answer)  # type: ignore[arg-type]
        logger.info("round %s of %s: a sum over %d of %d devices", order["round"], self._root_run, summed, asked)
        self._audit(outcome="summed", round=order["round"], asked=asked, devices=summed, seconds=round(seconds, 3))
        return answer

    def _require_enough(self, devices: int) -> None:
        if devices < self._least_devices:
            raise RegionError(
                f"a sum over {devices} of this region's devices does not leave it: it needs {self._least_devices} "
                f"(least-devices in its fleet.toml)"
            )

    def _audit(self, **facts: Any) -> None:
        said = {"subject": self._lease.run_id, "actor": self._lease.owner, **facts}
        retry_while_away(lambda: audit.write(self._registry, ANSWERED, **said))

    def _close(self, closed: Mapping[str, Any]) -> None:
        """Close the run as the root closed its own."""
        self._ledger.close_before(int(closed["committed"]) + 1)
        good = closed["state"] == "finished"
        state, reason = ("finished", "") if good else ("failed", f"the root's is {closed['state']}")
        retry_while_away(lambda: runs.finish(self._registry, self._lease, state=state, reason=reason))
        self._orders.remove()
        logger.info("run %s is %s", self._root_run, closed["state"])
