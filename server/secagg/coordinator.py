"""A round of secure aggregation over any Flower grid: four messages to each client, one sum back."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from client.layout import TRUNK, ArrayLayout
from client.secagg import answering
from client.secagg.encoding import Decoded, Encoding
from client.secagg.errors import SecAggError
from client.secagg.protocol import KEYS, SHARES, UNMASK
from client.secagg.protocol import MASKED as MASKED_STAGE
from client.secagg.session import Session
from client.wire import CONFIG, MASKED, REFUSED, SECAGG
from server.aggregation import wire_bytes
from server.secagg.attempt import Attempt
from server.secagg.errors import AttemptFailedError, RoundAbandonedError
from server.secagg.journal import Journal, Spread
from server.transport import Nodes, replies

logger = logging.getLogger(__name__)

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class SecureSum:
    """What a round gave.

    Parameters
    ----------
    decoded : Decoded
    survivors : frozenset of int
        Partition ids of the clients in it.
    failures : list of (int, str)
        The others, each with its reason.
    refusals : list of (int, str)
        Those who said no, which is no failure.
    reply : Message
        One of the replies, for its addresses.
    bytes_up, bytes_down : int
        Of one client on the wire, over all stages and attempts.
    """

    decoded: Decoded
    survivors: frozenset[int]
    failures: list[tuple[int, str]]
    refusals: list[tuple[int, str]]
    reply: Message
    bytes_up: int
    bytes_down: int


@dataclass(slots=True)
class _Traffic:
    """Bytes of one client, measured on one message of each stage."""

    up: int = 0
    down: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    refusals: dict[int, str] = field(default_factory=dict)
    reply: Message | None = None


class Coordinator:
    """Runs rounds, each in as many attempts as it takes, up to :data:`ATTEMPTS`.

    Parameters
    ----------
    grid : Grid
    nodes : Nodes
    journal : Journal
    timeout_s : float
        How long each stage waits for its replies.
    neighbours, threshold : int, optional
        As :func:`server.secagg.graph.plan_for` takes them.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: Nodes,
        journal: Journal,
        timeout_s: float,
        neighbours: int | None = None,
        threshold: int | None = None,
    ) -> None:
        self._grid = grid
        self._nodes = nodes
        self._journal = journal
        self._timeout_s = timeout_s
        self._shape: dict[str, int | None] = {"neighbours": neighbours, "threshold": threshold}

    def sum_of(
        self, round_number: int, messages: Sequence[Message], layout: ArrayLayout, encoding: Encoding
    ) -> SecureSum:
        """Sum the updates of a round's clients.

        Parameters
        ----------
        round_number : int
        messages : sequence of Message
            The round's train messages, one a client, as plain aggregation would send them.
        layout : ArrayLayout
        encoding : Encoding

        Raises
        ------
        RoundAbandonedError
            If unmasking began and did not end, now or before a crash: the round ends without a sum.
        AttemptFailedError
            If every attempt lost too many clients before that.
        """
        if self._journal.is_closed(round_number):
            raise RoundAbandonedError(
                f"unmasking of round {round_number} had begun when the run stopped; another sum over its updates must "
                f"not exist, and the parameters stay as they were"
            )
        traffic = _Traffic()
        for attempts_left in reversed(range(ATTEMPTS)):
            session = self._journal.begin(round_number)
            attempt = Attempt(session, encoding.length(layout), encoding.dtype, **self._shape)
            try:
                total = self._attempt(session, attempt, messages, encoding, traffic)
                break
            except AttemptFailedError as error:
                if not attempts_left:
                    first = next(iter(traffic.failures.values()), "")
                    raise AttemptFailedError(f"{error}{'; first of all, ' + first if first else ''}") from error
                logger.warning("%s; trying again with fresh keys", error)
        decoded = encoding.decode(layout, total)
        if decoded.mean_square:
            self._journal.learn(session, _spread(layout, decoded, len(attempt.survivors)))
        failures = {client: why for client, why in traffic.failures.items() if client not in attempt.survivors}
        return SecureSum(
            decoded=decoded,
            survivors=attempt.survivors,
            failures=sorted(failures.items()),
            refusals=sorted((c, why) for c, why in traffic.refusals.items() if c not in attempt.survivors),
            reply=cast(Message, traffic.reply),
            bytes_up=traffic.up,
            bytes_down=traffic.down,
        )

    def _attempt(
        self, session: Session, attempt: Attempt, messages: Sequence[Message], encoding: Encoding, traffic: _Traffic
    ) -> Any:
        trains = {self._nodes.partitions[message.metadata.dst_node_id]: message.content for message in messages}
        ask = _Asking(self._grid, self._nodes, session, self._timeout_s, traffic, trains)
        ask.stage(KEYS, dict.fromkeys(trains, b""), lambda c, reply: attempt.take_keys(c, _payload(reply)))
        requests = attempt.close_keys()
        settings = {answering.THRESHOLD: attempt.threshold}
        ask.stage(SHARES, requests, lambda c, reply: attempt.take_shares(c, _payload(reply)), settings)
        requests = attempt.close_shares()
        settings = encoding.to_record()
        ask.stage(MASKED_STAGE, requests, lambda c, reply: attempt.take_masked(c, _vector(reply)), settings)
        requests = attempt.close_masked()
        # On disk before anybody is asked to unmask.
        self._journal.close(session, attempt.survivors)
        ask.stage(UNMASK, requests, lambda c, reply: attempt.take_unmask(c, _payload(reply)))
        return attempt.finish()


@dataclass(frozen=True, slots=True)
class _Asking:
    """Asks the clients of an attempt, one stage after the other."""

    grid: Grid
    nodes: Nodes
    session: Session
    timeout_s: float
    traffic: _Traffic
    contents: Mapping[int, RecordDict]

    def stage(
        self,
        name: str,
        requests: Mapping[int, bytes],
        take: Callable[[int, RecordDict], None],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Ask every client of a stage and take what comes; who does not answer, or wrongly, has dropped out."""
        messages = [self._message(client, name, payload, settings or {}) for client, payload in requests.items()]
        if messages:
            self.traffic.down += wire_bytes(messages[0].content)
        silent = set(requests)
        measured = False
        for reply in replies(self.grid, messages, self.timeout_s):
            client = self.nodes.sender(reply)
            silent.discard(client)
            if reply.has_error():
                why = reply.error.reason or f"error code {reply.error.code}"
                if reply.error.code == REFUSED:
                    self.traffic.refusals[client] = why
                else:
                    self._lost(client, name, why)
                continue
            if not measured:
                self.traffic.up += wire_bytes(reply.content)
                measured = True
            self.traffic.reply = self.traffic.reply or Message(RecordDict(), reply_to=reply)
            try:
                take(client, reply.content)
            except SecAggError as error:
                self._lost(client, name, str(error))
        for client in silent:
            self._lost(client, name, f"no reply within {self.timeout_s:g} s")

    def _message(
        self,
        client: int,
        stage: str,
        payload: bytes,
        settings: Mapping[str, Any],
    ) -> Message:
        record = ConfigRecord(
            {
                answering.STAGE: stage,
                answering.RUN: self.session.run,
                answering.ROUND: self.session.round,
                answering.ATTEMPT: self.session.attempt,
                answering.CLIENT: client,
                answering.PAYLOAD: payload,
                **settings,
            }
        )
        # The whole request where there is something to train, and what it is about in any case.
        content = self.contents[client]
        records = {name: content[name] for name in (content if stage == MASKED_STAGE else (CONFIG,))}
        return Message(RecordDict({**records, SECAGG: record}), self.nodes.node_ids[client], MessageType.TRAIN)

    def _lost(self, client: int, stage: str, why: str) -> None:
        self.traffic.failures[client] = f"stage {stage!r} of secure aggregation: {why}"


def _spread(layout: ArrayLayout, decoded: Decoded, clients: int) -> Spread:
    """What sums tell; nothing of it where a norm is bounded, since that budget covers the sum of changes alone."""
    weight = decoded.weights[TRUNK]
    squares = np.add.reduceat(np.square(decoded.changes), layout.offsets[:-1]) / np.array(layout.sizes)
    whole = math.sqrt(float(np.mean(np.square(decoded.changes)))) or 1.0
    profile = tuple(float(part) for part in np.sqrt(squares) / whole)
    return Spread(math.sqrt(decoded.mean_square / weight), weight / clients, profile)


def _payload(content: RecordDict) -> bytes:
    record = content.config_records.get(SECAGG)
    payload = None if record is None else record.get(answering.PAYLOAD)
    if not isinstance(payload, bytes):
        raise SecAggError("it replied without an answer; start it with client.app:app")
    return payload


def _vector(content: RecordDict) -> Any:
    record = content.array_records.get(MASKED)
    if record is None or MASKED not in record:
        raise SecAggError("it replied without a masked update; start it with client.app:app")
    return np.asarray(record[MASKED].numpy())
