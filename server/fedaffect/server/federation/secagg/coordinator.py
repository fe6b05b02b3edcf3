"""A round of secure aggregation over any grid: four messages to each client, one sum back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg import answering
from fedaffect.client.secagg.encoding import Encoding
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.masks import Words
from fedaffect.client.secagg.protocol import KEYS, SHARES, UNMASK
from fedaffect.client.secagg.protocol import MASKED as MASKED_STAGE
from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.signed_keys import SignedKeys
from fedaffect.client.wire import CONFIG, REFUSED, SECAGG
from fedaffect.server.federation.aggregation import wire_bytes
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.federation.robustness.reply_validation import (
    UpdateRejectedError,
    read_accusation,
    read_error,
    read_masked,
    read_payload,
    read_size,
)
from fedaffect.server.federation.secagg.accusations import left_out
from fedaffect.server.federation.secagg.attempt import Attempt
from fedaffect.server.federation.secagg.errors import AttemptFailedError, RoundAbandonedError
from fedaffect.server.federation.secagg.sum_ledger import SumLedger, Tally

logger = logging.getLogger(__name__)

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class SecureSum:
    """What a round gave.

    Parameters
    ----------
    session : Session
        Of the attempt that gave it.
    total : uint32 or uint16 array, shape (V,)
        The words of all survivors added up, masks off.
    survivors : frozenset of int
        Partition ids of the clients in it.
    failures : list of (int, str)
        The others, each with its reason.
    refusals : list of (int, str)
        Those who refused, which is no failure.
    reply : Message
        One of the replies, for its addresses.
    bytes_up, bytes_down : int
        Of one client on the wire, over all stages and attempts.
    """

    session: Session
    total: Words
    survivors: frozenset[int]
    failures: list[tuple[int, str]]
    refusals: list[tuple[int, str]]
    reply: Message
    bytes_up: int
    bytes_down: int


class Coordinator:
    """Runs rounds, each in as many attempts as it takes, up to :data:`ATTEMPTS`.

    Whom an attempt's accusations leave out (:mod:`fedaffect.server.federation.secagg.accusations`), the round's next
    attempts do not ask; who is proved to lie, no later round of this process asks.

    Parameters
    ----------
    grid : TrainingGrid
    nodes : Nodes
    ledger : SumLedger
    timeout_s : float
        How long each stage waits for its replies.
    neighbours, threshold : int, optional
        As :func:`fedaffect.server.federation.secagg.graph.plan_for` takes them.
    """

    def __init__(
        self,
        grid: TrainingGrid,
        nodes: Nodes,
        ledger: SumLedger,
        timeout_s: float,
        neighbours: int | None = None,
        threshold: int | None = None,
    ) -> None:
        self._grid = grid
        self._nodes = nodes
        self._ledger = ledger
        self._timeout_s = timeout_s
        self._shape: dict[str, int | None] = {"neighbours": neighbours, "threshold": threshold}
        self._liars: dict[int, str] = {}

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
        if self._ledger.is_closed(round_number):
            raise RoundAbandonedError(
                f"unmasking of round {round_number} had begun when the run stopped; another sum over its updates must "
                f"not exist, and the parameters stay as they were"
            )
        so_far = Tally()
        out = {client: f"left out: in an earlier round {why}" for client, why in self._liars.items()}
        for attempts_left in reversed(range(ATTEMPTS)):
            session = self._ledger.begin(round_number)
            attempt = Attempt(session, encoding.length(layout), encoding.dtype, **self._shape)
            tally = self._left_out(messages, out)
            try:
                total = self._attempt(session, attempt, messages, encoding, tally, last=not attempts_left)
                break
            except AttemptFailedError as error:
                if not attempts_left:
                    first = next(iter((tally.failures or so_far.failures).values()), "")
                    raise AttemptFailedError(f"{error}{'; first of all, ' + first if first else ''}") from error
                out |= left_out(attempt.accusations)
                logger.warning("%s; trying again with fresh keys", error)
            finally:
                _add(so_far, tally)
        return SecureSum(
            session=session,
            total=total,
            survivors=attempt.survivors,
            failures=_of_others(so_far.failures, attempt.survivors),
            refusals=_of_others(so_far.refusals, attempt.survivors),
            reply=cast(Message, so_far.reply),
            bytes_up=max(so_far.up.values()),
            bytes_down=max(so_far.down.values()),
        )

    def _left_out(self, messages: Sequence[Message], out: Mapping[int, str]) -> Tally:
        """What came of those of a round whom its next attempt does not ask."""
        asked = {self._nodes.partitions[message.metadata.dst_node_id] for message in messages}
        return Tally(failures={client: why for client, why in out.items() if client in asked})

    def _attempt(
        self,
        session: Session,
        attempt: Attempt,
        messages: Sequence[Message],
        encoding: Encoding,
        tally: Tally,
        *,
        last: bool,
    ) -> Words:
        trains = {
            client: message.content
            for message in messages
            if (client := self._nodes.partitions[message.metadata.dst_node_id]) not in tally.failures
        }
        ask = _Asking(self._grid, self._nodes, session, self._timeout_s, tally, trains, self._ledger.about())
        try:
            ask.stage(KEYS, dict.fromkeys(trains, b""), lambda c, reply: self._take_keys(attempt, c, reply))
            _require_willing(tally, trains, 2)
            requests = attempt.close_keys()
            tally.failures |= attempt.left_out
            settings = {answering.THRESHOLD: attempt.threshold}
            ask.stage(SHARES, requests, lambda c, reply: attempt.take_shares(c, read_payload(reply)), settings)
            # Where devices insist on signed neighbours, it shows here.
            _require_willing(tally, trains, attempt.threshold)
            requests = attempt.close_shares()
            settings = encoding.to_record()
            ask.stage(MASKED_STAGE, requests, lambda c, reply: self._take_masked(attempt, c, reply), settings)
            # A budget that is spent shows only when there is something to train.
            _require_willing(tally, trains, attempt.threshold)
            if not last:
                attempt.require_undisputed()
            requests = attempt.close_masked()
            # Written down before anybody is asked to unmask.
            self._ledger.close(session, attempt.survivors)
            ask.stage(UNMASK, requests, lambda c, reply: attempt.take_unmask(c, read_payload(reply)))
            total = attempt.finish()
        except (AttemptFailedError, RoundAbandonedError):
            self._end(session, attempt, tally)
            raise
        self._end(session, attempt, tally)
        return total

    def _end(self, session: Session, attempt: Attempt, tally: Tally) -> None:
        tally.liars |= attempt.liars
        self._liars |= attempt.liars
        self._ledger.end(session, tally)

    def _take_keys(self, attempt: Attempt, client: int, reply: Message) -> None:
        answer = read_payload(reply)
        self._ledger.check_keys(attempt.session, client, SignedKeys.from_bytes(answer))
        attempt.take_keys(client, answer)

    def _take_masked(self, attempt: Attempt, client: int, reply: Message) -> None:
        if (accused := read_accusation(reply)) is not None:
            attempt.take_accusation(client, accused)
            named = ", ".join(map(str, sorted(attempt.accusations[client])))
            raise SecAggError(f"it masks nothing, as it says that the shares of client {named} are wrong")
        vector = read_masked(reply, attempt.length, attempt.dtype)
        attempt.check_masked(client, vector)
        why = self._ledger.record_outcome(client, reply)
        if why is not None:
            raise SecAggError(why)
        attempt.take_masked(client, vector)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Asks the clients of an attempt, one stage after the other."""

    grid: TrainingGrid
    nodes: Nodes
    session: Session
    timeout_s: float
    tally: Tally
    contents: Mapping[int, RecordDict]
    about: Mapping[str, str | int]

    def stage(
        self,
        name: str,
        requests: Mapping[int, bytes],
        take: Callable[[int, Message], None],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Ask every client of a stage and take what comes; who does not answer, or wrongly, has dropped out."""
        messages = [self._message(client, name, payload, settings or {}) for client, payload in requests.items()]
        down = wire_bytes(messages[0].content) if messages else 0
        for client in requests:
            self.tally.down[client] = self.tally.down.get(client, 0) + down
        silent, up = set(requests), 0
        for reply in self.grid.stream(messages, timeout=self.timeout_s):
            client = self.nodes.sender(reply)
            if client not in requests:
                continue
            silent.discard(client)
            if reply.has_error():
                code, why = read_error(reply)
                if code == REFUSED:
                    self.tally.refusals[client] = why
                else:
                    self._lost(client, name, why)
                continue
            self.tally.reply = self.tally.reply or Message(RecordDict(), reply_to=reply)
            try:
                up = up or read_size(reply)
                self.tally.up[client] = self.tally.up.get(client, 0) + up
                take(client, reply)
            except (SecAggError, UpdateRejectedError) as error:
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
        if self.about:
            records[CONFIG] = ConfigRecord({**cast(ConfigRecord, content[CONFIG]), **self.about})
        return Message(RecordDict({**records, SECAGG: record}), self.nodes.node_ids[client], MessageType.TRAIN)

    def _lost(self, client: int, stage: str, why: str) -> None:
        self.tally.failures[client] = f"stage {stage!r} of secure aggregation: {why}"


def _require_willing(tally: Tally, asked: Collection[int], least: int) -> None:
    """End a round in which so many refused that no sum is left; another attempt would hear the same.

    That is their right, and nobody's failure: where somebody failed, another attempt may still be worth it.
    """
    failed = tally.failures.keys() & set(asked)
    if tally.refusals and not failed and len(asked) - len(tally.refusals) < max(2, least):
        raise RoundAbandonedError(
            f"{len(tally.refusals)} of {len(asked)} clients refused, and a sum over the others hides nothing",
            _of_others(tally.refusals),
        )


def _add(so_far: Tally, tally: Tally) -> None:
    """A round's attempts together: the newest reason of each client, all its bytes."""
    so_far.failures |= tally.failures
    so_far.refusals |= tally.refusals
    for total, more in ((so_far.up, tally.up), (so_far.down, tally.down)):
        for client, size in more.items():
            total[client] = total.get(client, 0) + size
    so_far.reply = so_far.reply or tally.reply


def _of_others(reasons: Mapping[int, str], survivors: Collection[int] = ()) -> list[tuple[int, str]]:
    return sorted((client, why) for client, why in reasons.items() if client not in survivors)
