"""Replies of a round, taken one at a time: summed and dropped where the strategy allows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from fedaffect.client.compression.codecs import Codec
from fedaffect.client.compression.compress import compress, decompress
from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.flower_compat.records import wire_bytes as wire_bytes
from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.client.secagg.encoding import Decoded, beside_sum, fixed_point_sum
from fedaffect.client.update import Update
from fedaffect.client.wire import (
    ARRAYS,
    COMPRESSED,
    CONTROL,
    CONTROL_SUMS,
    METRICS,
    NUM_EXAMPLES,
    REFUSED,
    SUMS,
    named_to_record,
    to_record,
    weights_of,
)
from fedaffect.edge.errors import FedAffectError, TrainingError
from fedaffect.server.federation.robustness.checks import UpdateChecks, UpdateRejectedError
from fedaffect.server.federation.strategies.scaffold import NUM_CLIENTS

# Losses are summed in units of 2^-32, so that their mean does not depend on the order of replies either.
_LOSS_UNIT = 2**32


class RoundReplies:
    """What came back in one round.

    Where the strategy is foldable, each reply becomes part of a fixed-point sum and is forgotten, so that
    memory does not grow with the clients of a round; otherwise replies are kept, as robust strategies need
    each of them.

    Parameters
    ----------
    layout : ArrayLayout
    foldable : bool
        Whether one averaged reply is enough.
    names : sequence of str
        Client names by partition id, for messages.
    round_number : int
    checks : UpdateChecks, optional
        What each update must hold; by default no more than that it is one of this model.
    folded : bool
        Whether the grid may answer with sums over clients. Elsewhere one that claims to be such a sum is rejected.
    codec : Codec, optional
        How updates are compressed; one that is although nobody asked for it is rejected.
    uniform : bool
        Whether every client weighs one, whatever it says: privacy of clients needs that.
    """

    def __init__(
        self,
        layout: ArrayLayout,
        foldable: bool,
        names: Sequence[str],
        round_number: int,
        checks: UpdateChecks | None = None,
        folded: bool = True,
        uniform: bool = False,
        codec: Codec | None = None,
    ) -> None:
        self._codec = codec
        self._uniform = uniform
        self._checks = checks or UpdateChecks(layout)
        self._folded = folded
        self._layout = layout
        self._foldable = foldable
        self._names = names
        self._round = round_number
        self._sums = FixedPointSum(layout)
        self._control: FixedPointSum | None = None
        self._individuals: dict[int, Message] = {}
        self._loss = 0
        self._template: Message | None = None
        self._metrics: MetricRecord | None = None
        self._bytes: int | None = None
        # Of one client, where a round counts them itself.
        self.bytes_down = 0
        self.clients = 0
        self.examples = 0
        # Updates that were within their client's clipping norm, where clients say so.
        self.within_clip = 0.0
        self.abandoned = False
        self.failures: list[tuple[int, str]] = []
        # Updates that came and were not let in, by client name; failures too.
        self.rejected: dict[str, str] = {}
        self.refusals: list[tuple[int, str]] = []

    def take(self, reply: Message, client: int) -> None:
        """Account for one reply. Whatever it brings, it cannot end the round for the others.

        Parameters
        ----------
        reply : Message
        client : int
            Partition id of its sender.

        Raises
        ------
        TrainingError
            If it is no reply of a fedaffect client, or the grid's own sums overflow.
        """
        if reply.has_error():
            if reply.error.code == REFUSED:
                self.refusals.append((client, reply.error.reason or "it does not learn now"))
                return
            self.failures.append((client, reply.error.reason or f"error code {reply.error.code}"))
            return
        content = reply.content
        metrics = content.metric_records.get(METRICS)
        if metrics is None or NUM_EXAMPLES not in metrics:
            raise TrainingError(
                self._blame(client, "it replied without metrics", "start it with fedaffect.client.app:app")
            )
        try:
            self._checks.weights(metrics)
            self._take_arrays(reply, client)
        except UpdateRejectedError as error:
            self.failures.append((client, str(error)))
            self.rejected[self._name(client)] = str(error)
            return
        loss = float(cast(float, metrics.get("train_loss", 0.0)))
        examples = 1 if self._uniform else int(cast(int, metrics[NUM_EXAMPLES]))
        self.clients += 1
        self.examples += examples
        self.within_clip += min(1.0, max(0.0, float(cast(float, metrics.get("within-clip", 0.0)))))
        self._loss += round(loss * _LOSS_UNIT) * examples
        self._template = self._template or Message(RecordDict(), reply_to=reply)
        self._metrics = self._metrics or metrics

    def _take_arrays(self, reply: Message, client: int) -> None:
        if COMPRESSED in reply.content.array_records:
            self._decompress(reply)
        records = reply.content.array_records
        if not self._folded and (SUMS in records or ARRAYS not in records):
            raise UpdateRejectedError("its reply holds no arrays of its own")
        if SUMS in records:
            self._sums.merge(self._sum_of(records[SUMS]))
            if CONTROL_SUMS in records:
                self._control_sum().merge(self._sum_of(records[CONTROL_SUMS]))
            return
        if ARRAYS not in records:
            # One of a folded chunk; another reply brings the sum of all its clients.
            return
        if self._bytes is None:
            self._bytes = wire_bytes(reply.content)
        flat = self._checks.bounded(self._checks.vector(records[ARRAYS]))
        control = self._checks.vector(records[CONTROL]) if CONTROL in records else None
        if self._foldable:
            try:
                weights = {TRUNK: 1} if self._uniform else weights_of(reply.content.metric_records[METRICS])
                self._sums.add(flat, weights)
            except TrainingError as error:
                raise UpdateRejectedError(str(error)) from error
            if control is not None:
                self._control_sum().add(control, {TRUNK: 1})
        else:
            # Arrays of our own: some of Flower's strategies compute in place, and a grid's may be read-only.
            reply.content[ARRAYS] = to_record(self._layout, flat)
            self._individuals[client] = reply

    def _decompress(self, reply: Message) -> None:
        """Put arrays in the place of compressed ones, once their bytes are counted."""
        start = self._checks.start
        if self._codec is None or start is None:
            raise UpdateRejectedError("its update is compressed, and nobody asked for that")
        if self._bytes is None:
            self._bytes = wire_bytes(reply.content)
        arrays = {name: array.numpy() for name, array in reply.content.array_records[COMPRESSED].items()}
        try:
            read = decompress(self._codec, arrays, start)
        except (FedAffectError, ValueError, TypeError) as error:
            raise UpdateRejectedError(str(error)) from error
        del reply.content[COMPRESSED]
        for name, flat in read.items():
            reply.content[name or ARRAYS] = to_record(self._layout, flat)

    @property
    def individuals(self) -> Mapping[int, Message]:
        """Single replies by client, where they are kept."""
        return self._individuals

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

    def count_bytes(self, up: int, down: int) -> None:
        """What one client sent and was sent, where it took more than one message."""
        self._bytes, self.bytes_down = up, down

    def abandon(self, clients: Sequence[int], why: str) -> None:
        """Account for a round that ends without an update."""
        self.abandoned = True
        self.failures = [(client, why) for client in clients]

    def _sum_of(self, record: ArrayRecord) -> FixedPointSum:
        return FixedPointSum.from_arrays(self._layout, {name: array.numpy() for name, array in record.items()})

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
        TrainingError
            If no client answered, or the grid lost updates while folding.
        """
        # Where everybody who was asked said no, the round is over without anybody having failed.
        if self.abandoned or (self.refusals and not self.clients and not self.failures):
            return []
        if self.clients == 0:
            first = self._blame(*self.failures[0], "") if self.failures else "no client replied in time"
            raise TrainingError(f"no client finished round {self._round}: {first}")
        if not self.examples:
            return []
        if not self._foldable:
            return [self._individuals[client] for client in sorted(self._individuals)]
        if self._sums.count != self.clients:
            raise TrainingError(
                f"round {self._round} has {self.clients} replies but sums of {self._sums.count} updates; resume the run"
            )
        return [self._averaged(current)]

    def _averaged(self, current: Tensor) -> Message:
        metrics: Mapping[str, Any] = {
            NUM_EXAMPLES: self.examples,
            NUM_CLIENTS: self.clients,
            "train_loss": self.train_loss,
        }
        content = RecordDict(
            {ARRAYS: to_record(self._layout, self._sums.mean(current)), METRICS: MetricRecord(dict(metrics))}
        )
        if self._control is not None:
            content[CONTROL] = to_record(self._layout, self._control.mean(torch.zeros_like(current)))
        reply = cast(Message, self._template)
        reply.content = content
        return reply

    def bytes_up(self, current: Tensor) -> int:
        """Size of one client's update on the wire: what a device sends, whether or not the grid folds."""
        if self._bytes is not None:
            return self._bytes
        metrics = self._metrics or MetricRecord()
        if self._codec is not None:
            beside = {CONTROL: current} if self._control is not None else {}
            update = Update(current, {}, {}, extra=beside)
            arrays = compress(self._codec, current, update, None, client=0, round=0, seed=0).arrays
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
