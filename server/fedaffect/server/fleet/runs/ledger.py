"""The round ledger of a fleet's run: who was asked, who answered or refused, and which round is finished."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from flwr.app import Message
from torch import Tensor

from fedaffect.client.protocol.identity import openssh
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.signed_keys import SignedKeys, verified
from fedaffect.client.wire import ATTEMPT, BASE, REFUSED, RUN, TRACE
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system import tracing
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.failures import RoundFailedError
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.robustness.reply_validation import (
    UpdateRejectedError,
    read_answered_round,
    read_error,
    read_size,
)
from fedaffect.server.federation.round_ledger import arrays_sha256
from fedaffect.server.federation.secagg.journal import Journal
from fedaffect.server.federation.secagg.sum_ledger import SumLedger, Tally
from fedaffect.server.fleet.runs.charging import paid_by_all, paid_by_device
from fedaffect.server.fleet.runs.members import FleetMembers
from fedaffect.server.fleet.runs.secure_sums import FleetSums
from fedaffect.server.registry import Registry, audit, devices, keys, participations, privacy, rounds
from fedaffect.server.registry.errors import DeviceRefused, LedgerConflict, UnknownRun, UpdateRefused
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.participations import Outcome, Slot
from fedaffect.server.registry.retry import note_outage, retry_while_away

logger = logging.getLogger("flwr")

_LONGEST_REASON: Final = 300

T = TypeVar("T")


class FleetLedger:
    """Implements `fedaffect.server.federation.round_ledger.RoundLedger` over the registry.

    Parameters
    ----------
    registry : Registry
    lease : Lease
    members : FleetMembers
    terms : mapping of str to str
        What every message says of the run: its label set, and what else devices' own examples must fit.
    checkpoints : Path
        Where the arrays of rounds lie.
    authority : bytes
        PEM of the fleet's authority, which certified the devices' keys.
    largest_bytes : int
        Of an update.
    skipping : bool
        Whether rounds may be left out.
    """

    def __init__(
        self,
        registry: Registry,
        lease: Lease,
        members: FleetMembers,
        terms: Mapping[str, str],
        checkpoints: Path,
        authority: bytes,
        largest_bytes: int = 2**31,
        skipping: bool = False,
    ) -> None:
        self._registry = registry
        self._lease = lease
        self._members = members
        self._terms = terms
        self._checkpoints = checkpoints
        self._authority = authority
        self._largest_bytes = largest_bytes
        self._skipping = skipping
        self._open: rounds.Round | None = None
        self._spans = ExitStack()
        self._trace = ""
        self._asked_at = 0.0
        self._asked: tuple[int, ...] = ()
        self._used = False
        self._recorded: set[int] = set()

    def begin(self, number: int, clients: Sequence[int], weights: Tensor) -> Mapping[str, str | int]:
        """Open an attempt at a round and record whom it asks."""
        return self._begin(number, clients, arrays_sha256(weights))

    def _begin(self, number: int, clients: Sequence[int], base: str) -> Mapping[str, str | int]:
        # Of several clients of a region, the region once.
        ids = list(dict.fromkeys(self._members.device_ids[client] for client in clients))
        self._open = self._do(
            lambda: rounds.open_round(
                self._registry, self._lease, number, selected=ids, base_sha256=base, skipping=self._skipping
            )
        )
        attempt = self._open.attempt
        self._do(lambda: participations.ask(self._registry, self._lease, number, attempt, ids))
        self._asked_at = time.monotonic()
        self._begin_trace()
        self._asked, self._used, self._recorded = tuple(clients), False, set()
        return self.about()

    def _begin_trace(self) -> None:
        """Devices get the trace of the attempt, where any is written."""
        self._end_trace()
        if tracing.is_on():
            attempt = self._attempt()
            # A round is the beginning, whatever was before.
            tracing.arrived(None)
            opened = tracing.span("round", run=attempt.run_id, round=attempt.round, attempt=attempt.attempt)
            self._spans.enter_context(opened)
            self._trace = tracing.outgoing()

    def _end_trace(self) -> None:
        self._spans.close()
        self._trace = ""

    def about(self) -> Mapping[str, str | int]:
        """What the open attempt's messages say about it, for replies to repeat."""
        attempt = self._attempt()
        said: dict[str, str | int] = {
            **self._terms,
            RUN: attempt.run_id,
            ATTEMPT: attempt.attempt,
            BASE: attempt.base_sha256,
        }
        return said if not self._trace else {**said, TRACE: self._trace}

    def sums(self, journal: Journal) -> SumLedger:
        """The ledger of secure sums, with the registry's numbers of attempts."""
        return FleetSums(self, journal)

    def attempt(self, round_number: int) -> Session:
        """The open attempt at a round; the next one where a sum was tried in it."""
        attempt = self._attempt()
        if self._used:
            self.abandon(round_number, "too many devices dropped out before unmasking")
            self._begin(round_number, self._asked, attempt.base_sha256)
            attempt = self._attempt()
        self._used = True
        return Session(attempt.run_id, attempt.round, attempt.attempt)

    def check_keys(self, session: Session, client: int, signed: SignedKeys) -> None:
        """Refuse signed keys that neighbours would refuse, and those of a key that counts no more."""
        if not signed.signature:
            return
        certificate = verified(signed, session, client, (self._authority,))
        if certificate.device_id != self._members.device_ids.get(client) or not self._do(
            lambda: keys.counts_now(self._registry, "device", openssh(certificate.key))
        ):
            raise SecAggError("its keys are signed with a key that counts no more; use fedaffect device rotate")

    def unmask(self, clients: Sequence[int]) -> None:
        """Fix whose sum is opened, for whatever aggregator comes after."""
        attempt, ids = self._attempt(), [self._members.device_ids[client] for client in clients]
        self._do(
            lambda: rounds.begin_unmasking(self._registry, self._lease, attempt.round, attempt.attempt, devices=ids)
        )

    def unmasking_began(self, round_number: int) -> bool:
        """Whether any aggregator ever fixed whose sum of a round is opened."""
        return self._do(lambda: rounds.unmasking_began(self._registry, self._lease.run_id, round_number))

    def record_sum(self, tally: Tally) -> None:
        """Record who failed or refused in an attempt at a sum, and the bytes of all."""
        attempt, seconds = self._attempt(), time.monotonic() - self._asked_at
        # A refusal goes before a failure.
        ended = dict.fromkeys(tally.failures, "failed") | dict.fromkeys(tally.refusals, "refused")
        reasons = tally.failures | tally.refusals
        for client, why in tally.refusals.items():
            self._members.refused(client, why)
        for client, state in ended.items():
            if client not in self._recorded:
                outcome = Outcome(state=state, reason=reasons[client][:_LONGEST_REASON], seconds=seconds)
                self._record(client, self._slot(self._members.device_ids[client]), outcome)
        for client, why in tally.liars.items():
            device_id = self._members.device_ids[client]
            logger.warning("device %s lied in a secure sum: %s; see to it, or fedaffect fleet revoke", device_id, why)
            said = {"subject": str(self._slot(device_id)), "actor": self._lease.owner, "why": why}
            self._do(partial(audit.write, self._registry, "sum.liar", **said))
        sizes = {
            self._members.device_ids[client]: (tally.up.get(client, 0), down) for client, down in tally.down.items()
        }
        self._do(lambda: participations.measure(self._registry, self._lease, attempt.round, attempt.attempt, sizes))

    def record_outcome(self, client: int, reply: Message, rejected: str | None) -> str | None:
        """Accept an update once, if it is valid and answers this attempt; None if so, else why it is not counted."""
        device_id = self._members.device_ids.get(client)
        attempt = self._open
        if device_id is None or attempt is None:
            return "it comes from no device that was asked"
        seconds = time.monotonic() - self._asked_at
        if reply.has_error():
            code, why = read_error(reply)
            if code == REFUSED:
                self._members.refused(client, why)
                self._record(client, self._slot(device_id), Outcome(state="refused", reason=why, seconds=seconds))
                return None
            outcome = Outcome(state="failed", reason=why, seconds=seconds)
            self._record(client, self._slot(device_id), outcome)
            # Also a loss that is not a number: one device cannot end a fleet's run.
            return outcome.reason
        try:
            size = read_size(reply)
        except UpdateRejectedError as error:
            size, rejected = 0, rejected or str(error)
        if rejected is None and size > self._largest_bytes:
            rejected = f"the update has {size} bytes, more than {self._largest_bytes}; it is not counted"
        if rejected is not None:
            return self._reject(client, device_id, rejected, size)
        try:
            slot, base = self._said(reply, device_id)
        except UpdateRejectedError as error:
            return self._reject(client, device_id, str(error), size)
        self._charge(reply, slot)
        outcome = Outcome(state="answered", base_sha256=base, seconds=seconds, bytes_up=size)
        return self._record(client, slot, outcome)

    def _charge(self, reply: Message, slot: Slot) -> None:
        """Record what an update has cost its device before it counts."""
        try:
            paid = paid_by_device(reply, slot)
            if paid is not None:
                self._do(lambda: privacy.charge(self._registry, paid))
        except (UpdateRejectedError, ConfigError, LedgerConflict, UnknownRun, ArithmeticError, ValueError) as error:
            # The device's own ledger decides; what does not fit in this one is for whoever reads the audit log.
            logger.warning("what %s says it has spent is not recorded: %s", slot, error)

    def _reject(self, client: int, device_id: str, why: str, size: int) -> str:
        """Not count an update that was read, and say so in the audit log."""
        slot = self._slot(device_id)
        self._record(client, slot, Outcome(state="failed", reason=why, bytes_up=size))
        self._do(
            lambda: audit.write(
                self._registry, "update.refused", subject=str(slot), actor=f"device:{device_id}", why=why, bytes=size
            )
        )
        return why

    def _record(self, client: int, slot: Slot, outcome: Outcome) -> str | None:
        """Why the registry refuses an outcome; None where it takes it."""
        try:
            self._do(lambda: participations.record_outcome(self._registry, self._lease, slot, outcome))
        except (UpdateRefused, DeviceRefused) as error:
            logger.warning("%s", error)
            return str(error)
        self._recorded.add(client)
        return None

    def _slot(self, device_id: str) -> Slot:
        attempt = self._attempt()
        return Slot(attempt.run_id, attempt.round, attempt.attempt, device_id)

    def _said(self, reply: Message, device_id: str) -> tuple[Slot, str]:
        """Which slot and which arrays an update says that it answers."""
        said = read_answered_round(reply)
        return Slot(said.run, said.round, said.attempt, device_id), said.base

    def end(self, clients: Sequence[int], received: RoundReplies) -> None:
        """A device that did not answer by itself has failed, or is part of a masked sum.

        Raises
        ------
        RoundFailedError
            If devices that had said they would train all refused: a round in which nobody trained is no round.
        """
        self._record_rest(clients, received)
        number = self._attempt().round
        if self._members.asks_first and not received.clients and not self.unmasking_began(number):
            why = next((why for _, why in (*received.refusals, *received.failures)), "nobody answered")
            raise RoundFailedError(f"no device trained in round {number}: {why}")

    def _record_rest(self, clients: Sequence[int], received: RoundReplies) -> None:
        """Outcomes of those that have none yet."""
        failed = dict(received.failures)
        for client in clients:
            if client in self._recorded:
                continue
            reason = failed.get(client)
            summed = reason is None and not received.abandoned
            outcome = Outcome(state="answered" if summed else "failed", reason=(reason or "")[:_LONGEST_REASON])
            self._record(client, self._slot(self._members.device_ids[client]), outcome)
        self._do(
            lambda: devices.seen(self._registry, [self._members.device_ids[c] for c in clients if c not in failed])
        )

    def commit(self, record: RoundRecord, weights: Tensor) -> None:
        """Finish the round for good."""
        attempt = self._attempt().attempt
        sha256 = arrays_sha256(weights)
        path = self._checkpoints / f"round-{record.round:05d}.safetensors"
        paid = paid_by_all(self._lease.run_id, attempt, record)
        if paid is not None:
            # Before the round is released.
            self._do(lambda: privacy.charge(self._registry, paid))
        figures = {"clients": record.clients, "refusals": record.refusals, "failures": record.failures}
        self._do(
            lambda: rounds.commit(
                self._registry,
                self._lease,
                record.round,
                attempt,
                arrays_sha256=sha256,
                checkpoint=str(path),
                metrics={**figures, "train_loss": record.train_loss, "dev": dict(record.dev) if record.dev else None},
            )
        )
        self._open = None
        self._end_trace()

    def abandon(self, number: int, why: str) -> None:
        """Give the attempt up."""
        if self._open is not None:
            attempt = self._open.attempt
            self._do(lambda: rounds.abandon(self._registry, self._lease, number, attempt, reason=why))
            self._open = None
            self._end_trace()

    def give_up(self, why: str) -> None:
        """Abandon what is open because the whole run stops here: a full disk, say."""
        if self._open is not None:
            self.abandon(self._open.round, why)

    def _do(self, act: Callable[[], T]) -> T:
        """Something with the registry, also if its database is away for a while."""
        return retry_while_away(act, recovered=self._was_away)

    def _was_away(self, seconds: float) -> None:
        note_outage(self._registry, seconds, subject=self._lease.run_id, actor=self._lease.owner)

    def _attempt(self) -> rounds.Round:
        if self._open is None:
            raise UpdateRefused("no round is open; nothing can be counted or committed")
        return self._open
