"""Replies of a round, taken one at a time: summed and dropped where the strategy allows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from fedaffect.client.compression.compress import compress
from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.flower_compat.records import wire_bytes as wire_bytes
from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.client.secagg.encoding import Decoded
from fedaffect.client.secagg.sums import beside_sum, fixed_point_sum
from fedaffect.client.update import Update
from fedaffect.client.wire import (
    ARRAYS,
    COMPRESSED,
    CONTROL,
    METRICS,
    NUM_EXAMPLES,
    REFUSED,
    named_to_record,
    to_record,
)
from fedaffect.edge.errors import FedAffectError, TrainingError
from fedaffect.server.federation.failures import RoundFailedError
from fedaffect.server.federation.memory_array import memory_record
from fedaffect.server.federation.regions.region_sum import RegionSum
from fedaffect.server.federation.robustness.reply_validation import (
    UpdateRejectedError,
    UpdateValidator,
    ValidUpdate,
    read_error,
    read_size,
)
from fedaffect.server.federation.round_ledger import NoLedger, RoundLedger
from fedaffect.server.federation.strategies.scaffold import NUM_CLIENTS

# Losses are summed in units of 2^-32, so that their mean does not depend on the order of replies either.
_LOSS_UNIT = 2**32


class RoundReplies:
    """What came back in one round.

    Where the strategy needs nothing but the mean, each reply becomes part of a fixed-point sum and is forgotten, so
    that memory does not grow with the clients of a round; otherwise updates are kept, as robust strategies need each of
    them.

    Parameters
    ----------
    validator : UpdateValidator
        Reads updates.
    needs_mean_only : bool
        Whether one averaged reply is enough for the strategy.
    names : sequence of str
        Client names by partition id, for messages.
    round_number : int
    uniform : bool
        Whether every client weighs one, whatever it says: privacy of clients needs that.
    ledger : RoundLedger, optional
        Records how each client answered, before its update counts.
    """

    def __init__(
        self,
        validator: UpdateValidator,
        needs_mean_only: bool,
        names: Sequence[str],
        round_number: int,
        uniform: bool = False,
        ledger: RoundLedger | None = None,
    ) -> None:
        self._validator = validator
        self._layout = validator.layout
        self._needs_mean_only = needs_mean_only
        self._names = names
        self._round = round_number
        self._uniform = uniform
        self._ledger = ledger or NoLedger()
        self._sums = FixedPointSum(self._layout)
        self._control: FixedPointSum | None = None
        # By client: its update, and its reply without content.
        self._individuals: dict[int, tuple[ValidUpdate, Message]] = {}
        self._loss = 0
        self._template: Message | None = None
        self._metrics: MetricRecord | None = None
        self._bytes: int | None = None
        # Of one client, where a round counts them itself.
        self.bytes_down = 0
        self.clients = 0
        # Who share the room of a sum.
        self.asked = 1
        self.examples = 0
        # Updates that were within their client's clipping norm, where clients say so.
        self.within_clip = 0.0
        self.abandoned = False
        self.failures: list[tuple[int, str]] = []
        # Reasons of updates that came and were rejected, by client name; they are failures too.
        self.rejected: dict[str, str] = {}
        self._rejected: set[int] = set()
        self.refusals: list[tuple[int, str]] = []
        # Clients whose failure is no fault of what runs them: a trace or a deadline, a lie, a round given up.
        self.excused: set[int] = set()

    def take(self, reply: Message, client: int) -> None:
        """Account for one reply. Whatever it holds, it cannot end the round for the others.

        Parameters
        ----------
        reply : Message
        client : int
            Partition id of its sender.

        Raises
        ------
        TrainingError
            If the grid's own sums overflow.
        """
        if reply.has_error():
            code, reason = read_error(reply)
            self._ledger.record_outcome(client, reply, None)
            (self.refusals if code == REFUSED else self.failures).append((client, reason))
            return
        try:
            update = self._validator.read(reply)
            size = read_size(reply) if self._bytes is None and update.arrays is not None else None
        except UpdateRejectedError as error:
            self._ledger.record_outcome(client, reply, str(error))
            self._reject(client, str(error))
            return
        if (why := self._ledger.record_outcome(client, reply, None)) is not None:
            self.failures.append((client, why))
            return
        try:
            self._sum_up(update)
        except UpdateRejectedError as error:
            self._reject(client, str(error))
            return
        self._bytes = self._bytes or size
        self._metrics = self._metrics or reply.content.metric_records[METRICS]
        self._template = self._template or Message(RecordDict(), reply_to=reply)
        if update.arrays is not None and not self._needs_mean_only:
            # What it held was read; the strategy gets it back from the update.
            reply.content = RecordDict()
            self._individuals[client] = (update, reply)
        examples = 1 if self._uniform else update.counts[TRUNK]
        self.clients += 1
        self.examples += examples
        self.within_clip += update.within_clip
        self._loss += round(update.train_loss * _LOSS_UNIT) * examples

    def _reject(self, client: int, why: str) -> None:
        self.failures.append((client, why))
        self.rejected[self._name(client)] = why
        self._rejected.add(client)
        self.excused.add(client)

    def _sum_up(self, update: ValidUpdate) -> None:
        if update.sums is not None:
            self._sums.merge(update.sums)
            if update.control_sums is not None:
                self._control_sum().merge(update.control_sums)
        if update.arrays is None or not self._needs_mean_only:
            return
        try:
            if update.control is not None:
                self._control_sum().require_room(update.control, {TRUNK: 1}, self.asked)
            self._sums.add(update.arrays, {TRUNK: 1} if self._uniform else update.counts, self.asked)
        except TrainingError as error:
            raise UpdateRejectedError(str(error)) from error
        if update.control is not None:
            self._control_sum().add(update.control, {TRUNK: 1})

    @property
    def individuals(self) -> Mapping[int, ValidUpdate]:
        """Single updates by client, where they are kept."""
        return {client: update for client, (update, _) in self._individuals.items()}

    def take_secure(self, current: Tensor, decoded: Decoded, clients: int, reply: Message) -> None:
        """Account for a whole round at once, of which only sums are known.

        Parameters
        ----------
        current : Tensor of float32, shape (P,)
            The parameters that the round began with.
        decoded : Decoded
        clients : int
            How many are in it.
        reply : Message
            One of theirs.
        """
        self._sums.merge(fixed_point_sum(self._layout, current, decoded, clients))
        for values in decoded.beside.values():
            self._control_sum().merge(beside_sum(self._layout, values, clients))
        self.clients = clients
        self.within_clip = float(decoded.within)
        self.examples = decoded.weights[TRUNK]
        self._loss = round(decoded.loss * _LOSS_UNIT)
        self._template = reply

    def as_part(self, current: Tensor) -> RegionSum:
        """What was received as one sum, for who adds up sums of several servers.

        Parameters
        ----------
        current : Tensor of float32, shape (P,)
            The parameters that the round began with.
        """
        return RegionSum(
            clients=self.clients,
            examples=self.examples,
            loss=self._loss,
            within_clip=self.within_clip,
            failures=self.failures,
            refusals=self.refusals,
            rejected=self._rejected,
            excused=self.excused,
            bytes_up=self.bytes_up(current) if self.clients else 0,
            sums=self._sums if self.clients else None,
            control=self._control,
        )

    def merge(self, part: RegionSum, reply: Message | None) -> None:
        """Account for a part of the round that another server summed.

        Parameters
        ----------
        part : RegionSum
        reply : Message, optional
            What brought it.

        Raises
        ------
        TrainingError
            If the sum of all parts overflows; nothing is changed then.
        """
        if part.sums is not None:
            self._sums.require_room_for(part.sums)
        if part.control is not None:
            self._control_sum().require_room_for(part.control)
        if part.sums is not None:
            self._sums.merge(part.sums)
        if part.control is not None:
            self._control_sum().merge(part.control)
        self.clients += part.clients
        self.examples += part.examples
        self.within_clip += part.within_clip
        self._loss += part.loss
        self.failures += part.failures
        self.refusals += part.refusals
        self.excused |= part.excused
        self.rejected |= {self._name(client): why for client, why in part.failures if client in part.rejected}
        if reply is not None and part.clients:
            self._template = self._template or Message(RecordDict(), reply_to=reply)
            self.count_bytes(self._bytes or part.bytes_up, max(self.bytes_down, part.bytes_down))

    def count_bytes(self, up: int, down: int) -> None:
        """What one client sent and was sent, where it took more than one message."""
        self._bytes, self.bytes_down = up, down

    def abandon(self, clients: Sequence[int], why: str) -> None:
        """Account for a round that ends without an update."""
        self.abandoned = True
        self.failures = [(client, why) for client in clients]
        self.excused |= set(clients)

    def _control_sum(self) -> FixedPointSum:
        if self._control is None:
            self._control = FixedPointSum(self._layout)
        return self._control

    def _name(self, client: int) -> str:
        return self._names[client] if 0 <= client < len(self._names) else str(client)

    def _blame(self, client: int, what: str, remedy: str) -> str:
        who = f"client {self._name(client)!r} (partition {client}) in round {self._round}"
        return f"{who}: {what}{'; ' + remedy if remedy else ''}"

    @property
    def train_loss(self) -> float:
        """Mean training loss, weighted by examples; NaN where there were none."""
        return self._loss / _LOSS_UNIT / self.examples if self.examples else math.nan

    def for_strategy(self, current: Tensor) -> list[Message]:
        """What Flower's strategy gets to aggregate.

        Parameters
        ----------
        current : Tensor of float32, shape (P,)
            The round's global parameters, kept for groups that nobody had examples of.

        Returns
        -------
        list of Message
            One averaged reply, or all of them ordered by client. Empty if no example was trained on, or the round
            was abandoned.

        Raises
        ------
        RoundFailedError
            If no client's update counts.
        TrainingError
            If the grid lost updates of a partial sum.
        """
        # Where everybody who was asked said no, the round is over without anybody having failed.
        if self.abandoned or (self.refusals and not self.clients and not self.failures):
            return []
        if self.clients == 0:
            first = self._blame(*self.failures[0], "") if self.failures else "no client replied in time"
            raise RoundFailedError(f"no client finished round {self._round}: {first}")
        if not self.examples:
            return []
        if not self._needs_mean_only:
            return [self._single(client) for client in sorted(self._individuals)]
        if self._sums.count != self.clients:
            raise TrainingError(
                f"round {self._round} has {self.clients} replies but sums of {self._sums.count} updates; resume the run"
            )
        return [self._averaged(current)]

    def _single(self, client: int) -> Message:
        """One client's reply; only what was checked, and the same records and keys from every client."""
        update, reply = self._individuals[client]
        metrics = MetricRecord({NUM_EXAMPLES: update.counts[TRUNK], "train_loss": update.train_loss})
        reply.content = RecordDict({ARRAYS: self._record(cast(Tensor, update.arrays)), METRICS: metrics})
        return reply

    def _record(self, flat: Tensor) -> ArrayRecord:
        # It goes to the strategy, and nowhere else.
        return memory_record(self._layout.unflatten(flat))

    def _averaged(self, current: Tensor) -> Message:
        metrics: Mapping[str, Any] = {
            NUM_EXAMPLES: self.examples,
            NUM_CLIENTS: self.clients,
            "train_loss": self.train_loss,
        }
        content = RecordDict({ARRAYS: self._record(self._sums.mean(current)), METRICS: MetricRecord(dict(metrics))})
        if self._control is not None:
            content[CONTROL] = self._record(self._control.mean(torch.zeros_like(current)))
        reply = cast(Message, self._template)
        reply.content = content
        return reply

    def bytes_up(self, current: Tensor) -> int:
        """Size of one client's update on the wire: what a device sends, also where the grid sends sums."""
        if self._bytes is not None:
            return self._bytes
        metrics = self._metrics or MetricRecord()
        if self._validator.codec is not None:
            beside = {CONTROL: current} if self._control is not None else {}
            update = Update(current, {}, {}, extra=beside)
            arrays = compress(self._validator.codec, current, update, None, client=0, round=0, seed=0).arrays
            return wire_bytes(RecordDict({COMPRESSED: named_to_record(arrays), METRICS: metrics}))
        content = RecordDict({ARRAYS: to_record(self._layout, current), METRICS: metrics})
        if self._control is not None:
            content[CONTROL] = to_record(self._layout, current)
        return wire_bytes(content)


def to_vector(layout: ArrayLayout, record: ArrayRecord) -> Tensor:
    """What a strategy made of the replies, as float32 parameters (P,); some of Flower's leave float64.

    Raises
    ------
    TrainingError
        If it is not numbers any more.
    """
    try:
        return layout.flatten({name: np.asarray(array.numpy(), dtype=np.float32) for name, array in record.items()})
    except FedAffectError as error:
        raise TrainingError(f"the strategy's new parameters do not hold: {error}") from error
