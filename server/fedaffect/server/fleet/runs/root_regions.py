"""A root's clients: devices of regions, each reached through its region, which answers for them with one sum."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from flwr.app import ConfigRecord, Error, Message, MessageType, RecordDict

from fedaffect.client.flower_compat.names import ErrorCode
from fedaffect.client.wire import CONFIG
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.grid import TrainingGrid
from fedaffect.server.federation.regions.order import REGION
from fedaffect.server.federation.regions.packing import packed, unpacked
from fedaffect.server.federation.robustness.reply_validation import UpdateRejectedError, one_line, read_error
from fedaffect.server.fleet.runs.ledger import FleetLedger
from fedaffect.server.fleet.runs.members import FleetMembers
from fedaffect.server.fleet.runs.own_examples import client_of
from fedaffect.server.registry import devices
from fedaffect.server.registry.participations import Outcome

logger = logging.getLogger("flwr")

# In an order, how long its answer is waited for; in the answer to who is there, their numbers with their region.
WITHIN: Final = "within-s"
CLIENTS: Final = "clients"
# Of a region's run: which of the root's it is a part of.
REGION_RUN: Final = "region-run"
# What a region's ServerApp may take to start, beyond the time that it waits for its devices.
_STARTING_S: Final = 120.0
_FRESH_S: Final = 2.0
# A region that did not say who is there is asked again after growing pauses.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
_REASONS, _LONGEST_REASON = 3, 200
# What the list of a region's devices may hold.
_MOST: Final = 2**24
# Of a device's number with its region, in runs over devices' own examples.
_MOST_NUMBER: Final = 2**22
_LISTS: Final = (CLIENTS, "failures", "refusals", "rejected", "excused")


class AskedRegions:
    """Asks regions before each round which of their devices would train; a `Readiness`.

    Parameters
    ----------
    grid : TrainingGrid
    terms : mapping
        What the run is about, as devices are told.
    about : mapping
        What a region needs to know of it: ``rounds``, ``gather-s``, and whether devices learn from their ``own``
        examples.
    clients : int
        Of the run's cohort.
    clock : callable, optional
        Seconds, monotonic.
    """

    # A region has asked them.
    asks = False

    def __init__(
        self,
        grid: TrainingGrid,
        terms: Mapping[str, Any],
        about: Mapping[str, Any],
        clients: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grid, self._terms, self._about, self._clock = grid, terms, about, clock
        self._cohort = clients
        self._asked_at: dict[int, float] = {}
        self._no: dict[int, tuple[str, float, float]] = {}
        # By node of a region: its devices that would train, by their numbers there.
        self.clients: dict[int, tuple[int, ...]] = {}
        self.own = bool(about["own"])
        # As they joined the fleet, by node; in a benchmark the first has the number that two list.
        self.names: dict[int, str] = {}

    def of(self, nodes: Collection[int], question: ConfigRecord | None) -> list[int]:
        """Regions that said who is there."""
        now = self._clock()
        due = [
            node
            for node in nodes
            if now - self._asked_at.get(node, -_FRESH_S) >= _FRESH_S and self._no.get(node, ("", now, 0.0))[1] <= now
        ]
        if due and question is not None:
            self._ask(due, ConfigRecord({**question, **self._terms}))
        if not self.own:
            self._refuse_the_later(nodes)
        return [node for node in nodes if self.clients.get(node)]

    def _refuse_the_later(self, nodes: Collection[int]) -> None:
        """In a benchmark a partition is one device's: a region that lists another's is left out, not the run ended."""
        taken: dict[int, int] = {}
        for node in nodes:
            its = self.clients.get(node, ())
            twice = next((number for number in its if number in taken), None)
            if twice is None:
                taken |= dict.fromkeys(its, node)
                continue
            del self.clients[node]
            other = self._name(taken[twice])
            self.refused(node, f"it lists partition {twice}, which region {other} has; enrol that device with one")
            logger.warning("region %s is left out: %s", self._name(node), self._no[node][0])

    def _name(self, node: int) -> str:
        return self.names.get(node, str(node))

    def _ask(self, nodes: Collection[int], question: ConfigRecord) -> None:
        # One that was silent before keeps the others waiting no longer than devices do.
        late = all(node in self._no for node in nodes)
        within_s = float(self._about["gather-s"]) + (_FRESH_S if late else _STARTING_S)
        about = ConfigRecord({**self._about, WITHIN: within_s})
        messages = [Message(RecordDict({CONFIG: question, REGION: about}), n, MessageType.QUERY) for n in nodes]
        for node in nodes:
            self.clients.pop(node, None)
        silent = set(nodes)
        for reply in self._grid.stream(messages, timeout=within_s + _FRESH_S):
            node = reply.metadata.src_node_id
            silent.discard(node)
            if reply.has_error():
                self.refused(node, read_error(reply)[1])
            elif (found := _numbers(reply)) is None:
                self.refused(node, "it did not say which devices it has")
            elif found and found[-1] >= (limit := _MOST_NUMBER if self.own else self._cohort):
                self.refused(node, f"it lists a device {found[-1]}, and numbers are below {limit}")
                logger.warning("region %s is left out: %s", self._name(node), self._no[node][0])
            else:
                self.clients[node], self._asked_at[node] = found, self._clock()
                self._no.pop(node, None)
                if not found:
                    self._no[node] = ("it has no device online", self._clock() + _FIRST_PAUSE_S, _FIRST_PAUSE_S)
        for node in silent:
            self.refused(node, "it did not answer")

    def refused(self, node: int, why: str) -> None:
        """It is asked again after a pause."""
        _, _, pause_s = self._no.get(node, ("", 0.0, _FIRST_PAUSE_S / 2))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._no[node] = (one_line(why)[:_LONGEST_REASON], self._clock() + pause_s, pause_s)

    def reasons(self, nodes: Collection[int]) -> str:
        """``1 x it did not answer``."""
        said = Counter(self._no[node][0] for node in nodes if node in self._no)
        return "; ".join(f"{count} x {reason}" for reason, count in said.most_common(_REASONS))


class RegionMembers(FleetMembers):
    """Devices of regions by the number that the root gives them; a `DevicePool`, and a `RegionPool` that reaches them.

    In a benchmark a device's number is that of its partition. In a run over devices' own examples, whose numbers are
    each region's own, it is put together from the region's and the device's.
    """

    _readiness: AskedRegions

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings, regions=True)
        # By place in the round: node and name; by client: its region's place, and its number there.
        self._regions_here: list[tuple[int, str]] = []
        self._places: dict[int, tuple[int, int]] = {}
        self._clients: dict[tuple[int, int], int] = {}

    @property
    def count(self) -> int:
        """Regions that were there when the round began."""
        return len(self._regions_here)

    def of(self, client: int) -> int:
        """The place of a client's region."""
        return self._places[client][0]

    def name(self, region: int) -> str:
        """As it joined the fleet."""
        return self._regions_here[region][1]

    def node_of(self, region: int) -> int:
        """The node that a region's order is sent to."""
        return self._regions_here[region][0]

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Orders out, with devices' numbers as regions have them; answers back, with those that the root gave."""
        sent = [self._to_region(message, timeout) for message in messages]
        orders = {message.metadata.dst_node_id: message for message in sent}
        for reply in self._grid.stream(sent, timeout=timeout):
            yield self._from_region(reply, orders.get(reply.metadata.src_node_id))

    def _to_region(self, message: Message, timeout: float | None) -> Message:
        order = dict(message.content.config_records[REGION])
        order[CLIENTS] = [self._places[client][1] for client in order[CLIENTS]]  # type: ignore[index, union-attr]
        order[WITHIN] = float(timeout or 0.0)
        content = RecordDict({**message.content, REGION: ConfigRecord(order)})
        return Message(packed(content), message.metadata.dst_node_id, message.metadata.message_type)

    def _from_region(self, reply: Message, order: Message | None) -> Message:
        if reply.has_error() or order is None or REGION not in reply.content.config_records:
            return reply
        node, about = reply.metadata.src_node_id, reply.content.config_records[REGION]
        try:
            reply.content = unpacked(reply.content)
        except UpdateRejectedError as error:
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=order)
        for name in _LISTS:
            if isinstance(value := about.get(name), list):
                # -1 is nobody that was asked, for which the sum is rejected.
                about[name] = [self._clients.get((node, number), -1) for number in value]  # type: ignore[arg-type]
        return reply

    def _newest(self, here: Sequence[int], wanted: Mapping[int, devices.Device]) -> list[int]:
        """In the order in which they joined."""
        self._readiness.names = {node: wanted[node].name for node in here}
        return sorted(super()._newest(here, wanted), key=lambda node: wanted[node].partition)

    def _count(self, ready: Sequence[int]) -> int:
        return sum(len(self._readiness.clients[node]) for node in ready)

    def _choose(self, here: Sequence[int], wanted: Mapping[int, devices.Device]) -> list[int]:
        for known in (self._node_ids, self._partitions, self.device_ids, self._places, self._clients):
            known.clear()
        self._regions_here = [(node, wanted[node].name) for node in here]
        stride = 1 + max((device.partition for device in wanted.values()), default=0)
        for place, node in enumerate(here):
            region = wanted[node]
            for number in self._readiness.clients[node]:
                client = client_of(region.partition, number, stride) if self._readiness.own else number
                self._places[client], self._clients[node, number] = (place, number), client
                # No node of Flower's: a message to a device is part of its region's order.
                self._node_ids[client], self._partitions[client + 1] = client + 1, client
                self.device_ids[client] = region.id
        return sorted(self._node_ids)


class RootLedger(FleetLedger):
    """The round ledger of a root: who was asked are regions, each with one outcome for its devices."""

    def end(self, clients: Sequence[int], received: RoundReplies) -> None:
        """A region whose sum has a device in it has answered."""
        missing = {**dict(received.refusals), **dict(received.failures)}
        regions: dict[str, list[int]] = {}
        for client in clients:
            regions.setdefault(self._members.device_ids[client], []).append(client)
        summed = {region for region, its in regions.items() if any(client not in missing for client in its)}
        for region, its in regions.items():
            out = [missing[client] for client in its if client in missing]
            reason = f"{len(out)} of {len(its)} devices are not in its sum: {out[0]}" if out else ""
            state = "answered" if region in summed and not received.abandoned else "failed"
            self._record(its[0], self._slot(region), Outcome(state=state, reason=reason[:_LONGEST_REASON]))
        self._do(lambda: devices.seen(self._registry, sorted(summed)))


def _numbers(reply: Message) -> tuple[int, ...] | None:
    """The devices that a region says it has; None where it says something else."""
    about = reply.content.config_records.get(REGION)
    said = None if about is None else about.get(CLIENTS)
    if not isinstance(said, list) or len(said) > _MOST or len(set(said)) != len(said):
        return None
    fine = all(isinstance(number, int) and 0 <= number < 2**30 for number in said)
    return tuple(sorted(said)) if fine else None  # type: ignore[arg-type]
