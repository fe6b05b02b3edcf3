"""A grid of Flower's over resident actors, for a ClientApp that was never seen."""

from __future__ import annotations

import copy
import itertools
import logging
import secrets
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, cast
from uuid import uuid4

import ray
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from ray import ObjectRef
from ray.actor import ActorHandle

from fedaffect.client.flower_compat.names import SUPERLINK_NODE_ID, ErrorCode, act_as
from fedaffect.edge.errors import ConfigError
from fedaffect.server.flower_compat.projects import Run, new_run
from fedaffect.server.ray_session import ray_session
from fedaffect.simulation.apps.contents import Asked, Parts, content_bytes, divide
from fedaffect.simulation.apps.hosts import AppHosts
from fedaffect.simulation.apps.worker import Answer, AppWorker, Setting
from fedaffect.simulation.grid.dispatch import AHEAD, Chunk, Delivery, Dispatcher
from fedaffect.simulation.grid.freed_memory import keep_freed_memory
from fedaffect.simulation.grid.schedule import chunks_by_cost
from fedaffect.simulation.grid.workforce import Workforce

logger = logging.getLogger(__name__)

# A call costs a millisecond or two; what is not delivered is lost with its actor, and late for a round's end.
_CALL_S = 1.0
# Replies that wait in Ray's object store at any time, for each call.
_REPLY_BYTES = 32 << 20
# How often to look whether the time is over.
_LOOK_S = 0.5
# As Flower's engine has it.
_RESOURCES: Mapping[str, float] = {"num_cpus": 2, "num_gpus": 0.0}


@dataclass(slots=True)
class _Round:
    """Messages that went out together and that nobody has answered yet, by partition id."""

    shared: ObjectRef[Any]
    parts: Mapping[int, Parts]
    messages: dict[int, Message]


class AppGrid(Grid):
    """Simulated nodes on resident actors; a context manager, and the grid of a ServerApp.

    Nodes are numbered 1..N, and partition k is node k + 1. A node answers one message at a time, in the order in which
    they were sent. What it keeps in ``context.state`` lies here, so that no actor's death loses it.

    Parameters
    ----------
    client_app : ClientApp
    nodes : int
        How many there are. One that is not asked anything costs nothing.
    resources : mapping of str to float, optional
        What Ray reserves for an actor: ``num_cpus`` and ``num_gpus``, fractions too, and others of Ray's options; two
        CPUs by default, as Flower's engine has it. As many actors start as there is room for.
    run_config : mapping, optional
        What ``context.run_config`` holds for every node.
    init_args : mapping, optional
        Of ``ray.init``, where Ray does not run yet.
    attempts : int
        How many actors a client may take down before it is answered with an error.
    gpu_growth : bool
        Have TensorFlow take memory of a GPU as it needs it.

    Raises
    ------
    ConfigError
        If there are no nodes, Ray has no room for an actor, or the app cannot be sent to one.
    """

    def __init__(
        self,
        client_app: ClientApp,
        nodes: int,
        *,
        resources: Mapping[str, float] | None = None,
        run_config: Mapping[str, Any] | None = None,
        init_args: Mapping[str, Any] | None = None,
        attempts: int = 3,
        gpu_growth: bool = False,
    ) -> None:
        if nodes < 1:
            raise ConfigError(f"a simulation needs at least one node, not {nodes}")
        self._nodes = nodes
        self._run = new_run(secrets.randbits(63))
        self._keys = itertools.count()
        self._rounds: dict[str, _Round] = {}
        # What a node was asked while it had another message to answer; one that has none is not in it.
        self._turns: dict[int, deque[Message]] = {}
        self._contexts: dict[int, Context] = {}
        self._mailbox: dict[str, Message] = {}
        self._unanswered: dict[str, Message] = {}
        self._looked = time.monotonic()
        # Seconds of a client by the type of its message.
        self._took: dict[str, float] = {}
        self.asked = self.failures = self.answers = 0
        self._closing = ExitStack()
        setting = Setting(self._run.run_id, dict(run_config or {}), nodes)
        options = {**_RESOURCES, **(resources or {})}
        cpus, gpus = options["num_cpus"], options["num_gpus"]
        if cpus <= 0 or gpus < 0:
            raise ConfigError(f"an actor takes {cpus:g} CPUs and {gpus:g} GPUs; give it at least a part of a CPU")
        with ExitStack() as stack:
            settings = dict(init_args or {})
            address, cores = settings.pop("address", None), settings.pop("num_cpus", None)
            stack.enter_context(ray_session(address, cores, **settings))
            self._workforce = Workforce(None, nodes, cpus, gpus)
            kind = ray.remote(AppWorker).options(max_restarts=0, **options)

            def open_actor() -> ActorHandle[Any]:
                return cast("ActorHandle[Any]", kind.remote(list(sys.path), gpus, gpu_growth))

            hosts = AppHosts(open_actor, _sent(client_app), setting, self._messages_of)
            self._dispatcher = Dispatcher(hosts, self._workforce.fitting(), attempts)
            stack.callback(self._dispatcher.close)
            self._closing = stack.pop_all()
        keep_freed_memory()
        # Flower's messages ask who sends them; its own engine sets the same three.
        act_as(run_id=self._run.run_id, node_id=SUPERLINK_NODE_ID, task_id=1)

    def __enter__(self) -> AppGrid:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the actors, and Ray where this grid started it."""
        self._closing.close()

    @property
    def run(self) -> Run:
        """Flower's record of the run."""
        return self._run

    def set_run(self, run: Run) -> None:
        """Be the grid of another run; messages carry its number from now on."""
        self._run = run
        act_as(run_id=run.run_id, node_id=SUPERLINK_NODE_ID, task_id=1)

    @property
    def replaced_actors(self) -> int:
        """Actors that died and were replaced so far."""
        return self._dispatcher.replaced

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Flower's former way to make a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> range:
        """Node ids, 1..N."""
        return range(1, self._nodes + 1)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages; returns their ids, for :meth:`pull_messages`. Actors work whether that is called or not."""
        return self._push(messages, at_once=True)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Replies that have come to these messages, in their order, without waiting."""
        self._advance(0.0)
        return [self._mailbox.pop(message_id) for message_id in message_ids if message_id in self._mailbox]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages and wait for the replies.

        Parameters
        ----------
        messages : iterable of Message
        timeout : float, optional
            Seconds after which those that are there are returned; clients that have not started by then never do.

        Returns
        -------
        list of Message
            In the order of the messages, so that sums over them do not depend on which client was faster.
        """
        ids = self._push(messages, at_once=False)
        # After that, since the first messages wait for actors.
        deadline = None if timeout is None else time.monotonic() + timeout
        waiting = {message_id for message_id in ids if message_id not in self._mailbox}
        while waiting:
            left = _LOOK_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                self._withdraw(waiting)
                break
            self._advance(min(left, _LOOK_S))
            waiting -= self._mailbox.keys()
        return [self._mailbox.pop(message_id) for message_id in ids if message_id in self._mailbox]

    def _push(self, messages: Iterable[Message], at_once: bool) -> list[str]:
        ids: list[str] = []
        alike: dict[str, list[Message]] = {}
        for message in messages:
            if message.metadata.reply_to_message_id:
                raise ValueError("a reply cannot be sent to a node; send Message(content, node, type)")
            message.metadata.__dict__["_message_id"] = uuid4().hex
            # Who sends the same object again, while this one is under way, gives it another id.
            message = _kept(message)
            ids.append(message.metadata.message_id)
            self._unanswered[ids[-1]] = message
            self.asked += 1
            node = message.metadata.dst_node_id
            if node not in self.get_node_ids():
                reason = f"there is no node {node}; nodes are 1..{self._nodes}"
                self._post(message, Message(Error(ErrorCode.NODE_UNAVAILABLE, reason), reply_to=message))
            elif node in self._turns:
                self._turns[node].append(message)
            else:
                self._turns[node] = deque()
                alike.setdefault(message.metadata.message_type, []).append(message)
        for group in alike.values():
            self._submit(group, at_once)
        return ids

    def _submit(self, messages: Sequence[Message], at_once: bool) -> None:
        """Hand out messages of one type, one a node."""
        self._workforce.gather(self._dispatcher, self._advance)
        key = str(next(self._keys))
        shared, parts = divide(messages)
        by_client = {message.metadata.dst_node_id - 1: message for message in messages}
        self._rounds[key] = _Round(ray.put(shared), parts, by_client)
        # As long as nobody knows better, each call is for one client.
        seconds = self._took.get(messages[0].metadata.message_type, _CALL_S)
        reply_bytes = max(1, content_bytes(messages[0].content))
        most = max(1, min(int(_CALL_S / max(seconds, 1e-6)), _REPLY_BYTES // reply_bytes))
        chunks = chunks_by_cost(list(by_client), [1.0] * len(by_client), max(1, self._dispatcher.ready), most)
        made = [Chunk(key, self._rounds[key].shared, False, tuple(chunk)) for chunk in chunks]
        self._dispatcher.submit(made, len(made) if at_once else AHEAD)

    def _messages_of(self, chunk: Chunk) -> list[Asked]:
        this = self._rounds[chunk.key]
        return [
            Asked(client, this.messages[client].metadata, this.parts[client + 1], self._contexts.get(client))
            for client in chunk.clients
        ]

    def _advance(self, timeout_s: float) -> None:
        for delivery in self._dispatcher.poll(timeout_s):
            self._deliver(delivery)
        self._workforce.note(self._dispatcher.ready)
        if time.monotonic() - self._looked > _LOOK_S:
            self._looked = time.monotonic()
            self._expire()

    def _deliver(self, delivery: Delivery[Answer]) -> None:
        this = self._rounds[delivery.key]
        for answer in delivery.outcomes:
            message = this.messages.pop(answer.client)
            if answer.context is not None:
                self._contexts[answer.client] = answer.context
            if answer.error is None:
                self._took[message.metadata.message_type] = answer.seconds
            self._post(message, self._reply(answer, message))
        self._next([answer.client for answer in delivery.outcomes])
        if not this.messages:
            del self._rounds[delivery.key]

    def _reply(self, answer: Answer, message: Message) -> Message:
        self.answers += 1
        if answer.error is None:
            return cast(Message, answer.reply)
        self.failures += 1
        # The first with its traceback, since the others are mostly the same.
        logger.warning("node %d: %s", message.metadata.dst_node_id, answer.error[1])
        if answer.trace and self.failures == 1:
            logger.warning(answer.trace)
        return Message(Error(*answer.error), reply_to=message)

    def _next(self, clients: Iterable[int]) -> None:
        """These have answered: let them go on with what they were asked meanwhile."""
        for client in clients:
            turn = self._turns[client + 1]
            if turn:
                self._submit([turn.popleft()], at_once=False)
            else:
                del self._turns[client + 1]

    def _post(self, message: Message, reply: Message) -> None:
        """Put a reply where it is waited for, if it is."""
        if self._unanswered.pop(message.metadata.message_id, None) is None:
            return
        reply.metadata.__dict__["_message_id"] = uuid4().hex
        reply.metadata.delivered_at = datetime.now(UTC).isoformat()
        self._mailbox[message.metadata.message_id] = reply

    def _withdraw(self, message_ids: set[str]) -> None:
        """Nobody waits for these any more, and those that were not handed out never are."""
        for message_id in message_ids:
            del self._unanswered[message_id]
        for turn in self._turns.values():
            for message in [m for m in turn if m.metadata.message_id in message_ids]:
                turn.remove(message)
        for key, this in list(self._rounds.items()):
            if not any(message.metadata.message_id in message_ids for message in this.messages.values()):
                continue
            gone = self._dispatcher.withdraw(key)
            for client in gone:
                del this.messages[client]
            if not this.messages:
                del self._rounds[key]
            self._next(gone)

    def _expire(self) -> None:
        """Answer for nodes that had not answered when their message's time to live was over."""
        now = time.time()
        for message in list(self._unanswered.values()):
            if message.metadata.created_at + message.metadata.ttl < now:
                reason = f"no reply within the message's ttl of {message.metadata.ttl:g} s"
                self._post(message, Message(Error(ErrorCode.REPLY_MESSAGE_UNAVAILABLE, reason), reply_to=message))


def _kept(message: Message) -> Message:
    """A message with metadata of its own, and the same content."""
    kept = copy.copy(message)
    kept.__dict__["_metadata"] = copy.copy(message.metadata)
    return kept


def _sent(client_app: ClientApp) -> ObjectRef[Any]:
    try:
        return ray.put(client_app)
    except (TypeError, AttributeError, RuntimeError) as error:
        why = " ".join(str(error).split())[:80]
        raise ConfigError(f"the ClientApp cannot be sent to Ray ({why}); define what it uses in a module") from error
