"""Which devices can be asked now: online with Flower, enrolled, with consent and a valid key."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from flwr.app import ConfigRecord

from fedaffect.edge.errors import TrainingError
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.fleet.errors import TooFewDevices
from fedaffect.server.fleet.runs.readiness import Everybody, Readiness
from fedaffect.server.registry import Registry, devices
from fedaffect.server.registry.retry import retry_while_away

logger = logging.getLogger("flwr")

_LOOK_S: Final = 0.3
# A round waits this long for all enrolled devices, then goes on with those that are online.
GATHER_S: Final = 15.0
_GIVE_UP_S: Final = 600.0


class FleetMembers:
    """Devices by partition id.

    Parameters
    ----------
    grid : TrainingGrid
    registry : Registry
    minimum : int
        Devices that a round needs at least.
    gather_s : float
        How long a round waits for all devices.
    wanted : int
        Devices that a round asks.
    timeout_s : float, optional
        How long a round waits for the least it needs before the run ends. None ends this attempt after ten minutes, and
        the next one waits again.
    say : callable, optional
        Told what a round waits for, whenever that changes; "" once it waits no more.
    readiness : Readiness, optional
        Which of the devices that are there would train; all of them if not given.
    group : str, optional
        Only devices of this group are asked.
    regions : bool
        Whether regions are asked, and no devices.
    """

    def __init__(
        self,
        grid: TrainingGrid,
        registry: Registry,
        minimum: int,
        gather_s: float = GATHER_S,
        *,
        wanted: int = 0,
        timeout_s: float | None = None,
        say: Callable[[str], None] | None = None,
        readiness: Readiness | None = None,
        group: str | None = None,
        regions: bool = False,
    ) -> None:
        self._grid = grid
        self._registry = registry
        self._minimum = minimum
        self._gather_s = gather_s
        self._wanted = max(wanted, minimum)
        self._timeout_s = timeout_s
        self._say = say
        self._readiness: Readiness = readiness or Everybody()
        self._group = group
        self._regions = regions
        # None before the first round: the process before may have left a word.
        self._said: str | None = None
        self._partitions: dict[int, int] = {}
        self._node_ids: dict[int, int] = {}
        self._missed: set[str] = set()
        self.nodes = Nodes(self._node_ids, self._partitions)
        self.device_ids: dict[int, str] = {}

    def gather(self, question: ConfigRecord | None = None) -> Sequence[int]:
        """Partitions of the devices that can be asked, ascending; `nodes` and `device_ids` are changed in place.

        Parameters
        ----------
        question : ConfigRecord, optional
            The settings of a train request, by which devices say whether they would answer it.

        Raises
        ------
        TooFewDevices
            If there are too few for as long as the operator wanted to wait.
        TrainingError
            If there are too few for too long.
        """
        began = time.monotonic()
        while True:
            known = retry_while_away(lambda: devices.nodes(self._registry))
            wanted = {n: d for n, d in known.items() if self._is_wanted(d)}
            here = [node for node in self._grid.get_node_ids() if node in wanted]
            waited = time.monotonic() - began
            # By device: one that is changing its key has two nodes, and is at one of them.
            missing = {device.id for device in wanted.values()} - {wanted[node].id for node in here}
            # A device that was missed once is not waited for again before it is online.
            everybody = not (missing - self._missed)
            ready = self._readiness.of(self._newest(here, wanted), question)
            enough = self._count(ready) >= self._minimum
            if enough and (everybody or waited > self._gather_s):
                self._missed = missing
                self._tell("")
                return self._choose(ready, wanted)
            if not enough:
                self._wait_for_more(len(here), self._unready(here, ready), waited)
            time.sleep(_LOOK_S)

    def _is_wanted(self, device: devices.Device) -> bool:
        of_group = self._group in (None, device.group)
        return device.consent and of_group and (device.region is not None) == self._regions

    def _count(self, ready: Sequence[int]) -> int:
        """Devices behind these nodes."""
        return len(ready)

    @property
    def asks_first(self) -> bool:
        """Whether devices are asked before a round whether they would train."""
        return self._readiness.asks

    def refused(self, partition: int, why: str) -> None:
        """A device that was asked refused."""
        if (node := self._node_ids.get(partition)) is not None:
            self._readiness.refused(node, why)

    def _unready(self, here: Sequence[int], ready: Sequence[int]) -> str:
        """How many of those that are online would train, and why the others would not."""
        why = self._readiness.reasons(here)
        return f", of which {len(ready)} would train now ({why})" if why else ""

    def _wait_for_more(self, here: int, unready: str, waited_s: float) -> None:
        """Say what is waited for, or give up."""
        needed = f"{self._minimum} of {self._wanted}"
        if self._timeout_s is not None and waited_s > self._timeout_s:
            raise TooFewDevices(
                f"a round needs {needed} devices, and {here} were online after {self._timeout_s:g} s (--timeout)"
                f"{unready}; see fedaffect fleet status"
            )
        if self._timeout_s is None and waited_s > _GIVE_UP_S:
            raise TrainingError(
                f"{here} devices can be asked{unready}, and a round needs {self._minimum}; see fedaffect fleet status"
            )
        self._tell(f"waits for devices: a round needs {needed}, and {here} are online{unready}")

    def _tell(self, words: str) -> None:
        if words == self._said:
            return
        if words or self._said:
            logger.info("the run %s", words or "goes on: enough devices are online")
        self._said = words
        if self._say is not None:
            self._say(words)

    def _newest(self, here: Sequence[int], wanted: Mapping[int, devices.Device]) -> list[int]:
        """One node a device; where its old one is still there, that of its newest key."""
        chosen: dict[str, int] = {}
        for node in here:
            device = wanted[node]
            if device.id not in chosen or node == device.node_id:
                chosen[device.id] = node
        return list(chosen.values())

    def _choose(self, here: Sequence[int], wanted: Mapping[int, devices.Device]) -> list[int]:
        """By the registry's partitions: what a node says of itself could be another device's."""
        self._node_ids.clear()
        self._partitions.clear()
        self.device_ids.clear()
        for node in here:
            device = wanted[node]
            self._node_ids[device.partition] = node
            self._partitions[node] = device.partition
            self.device_ids[device.partition] = device.id
        return sorted(self._node_ids)
