"""A region's part of a root's rounds, in the region's own registry.

A region cannot know whether a round counts before the root goes on to the next: a root that was killed repeats the
round, with another attempt here. So the part of a round stays open until then, and the region remembers in a file what
it passed up, by which it commits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from flwr.app import RecordDict
from torch import Tensor

from fedaffect.client.flower_compat.records import record_to_bytes
from fedaffect.edge.system.files import write_private
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.fleet.runs.ledger import FleetLedger
from fedaffect.server.registry import Registry, rounds
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.retry import retry_while_away


class RegionLedger(FleetLedger):
    """Implements `fedaffect.server.federation.round_ledger.RoundLedger` for a region.

    Parameters
    ----------
    registry, lease, members, terms, checkpoints, authority, largest_bytes
        As of `FleetLedger`; the file of what was passed up lies where the checkpoints of a run would.
    """

    _figures: Mapping[str, int] = {}

    def begin(self, number: int, clients: Sequence[int], weights: Tensor) -> Mapping[str, str | int]:
        """Close the part of the round before, and open one."""
        self.close_before(number)
        return super().begin(number, clients, weights)

    def end(self, clients: Sequence[int], received: RoundReplies) -> None:
        """Devices without an outcome get one; how many may fail is the root's to say."""
        self._record_rest(clients, received)
        self._figures = {
            "clients": received.clients,
            "refusals": len(received.refusals),
            "failures": len(received.failures),
        }

    def passed_up(self, number: int, answer: RecordDict) -> None:
        """Remember the sum of the open attempt at a round, which goes up now."""
        open_ = self._open
        if open_ is not None and open_.round == number:
            sha256 = hashlib.sha256(record_to_bytes(answer)).hexdigest()
            said = {"round": open_.round, "attempt": open_.attempt, "sha256": sha256, "figures": self._figures}
            write_private(_path(self._checkpoints), json.dumps(said).encode(), replace=True)

    def not_passed_up(self) -> None:
        """Forget that: the root waited for it no more."""
        _path(self._checkpoints).unlink(missing_ok=True)

    def close_before(self, number: int) -> None:
        """Commit the open part of a round before ``number``; give one of that round up, as the root repeats it."""
        close_before(self._registry, self._lease, self._checkpoints, number)
        self._open = None
        self._end_trace()


def close_before(registry: Registry, lease: Lease, folder: Path, number: int) -> None:
    """As `RegionLedger.close_before`, for parts that any process opened.

    Parameters
    ----------
    registry : Registry
    lease : Lease
    folder : Path
        Where what was passed up is remembered.
    number : int
    """
    open_ = next((r for r in retry_while_away(lambda: rounds.under_way(registry)) if r.run_id == lease.run_id), None)
    if open_ is None:
        return
    said = json.loads(_path(folder).read_text()) if _path(folder).exists() else {}
    if open_.round < number and (said.get("round"), said.get("attempt")) == (open_.round, open_.attempt):
        retry_while_away(
            lambda: rounds.commit(
                registry,
                lease,
                open_.round,
                open_.attempt,
                arrays_sha256=said["sha256"],
                checkpoint="",
                metrics=said["figures"],
            )
        )
        return
    why = "the root asked for another attempt" if open_.round >= number else "no sum of it was passed up"
    retry_while_away(lambda: rounds.abandon(registry, lease, open_.round, open_.attempt, reason=why))


def _path(folder: Path) -> Path:
    return folder / "passed-up.json"
