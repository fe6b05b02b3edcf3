"""Resident Ray actors as a grid: the simulation's way of reaching its clients."""

from __future__ import annotations

import itertools
import math
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from uuid import uuid4

import numpy as np
import ray
import torch
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MessageType, MetricRecord, RecordDict
from numpy.typing import NDArray
from ray import ObjectRef
from ray.actor import ActorHandle

from fedaffect.client.cohort import Cohort
from fedaffect.client.flower_compat.names import SUPERLINK_NODE_ID, ErrorCode, act_as
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg.answering import PAYLOAD
from fedaffect.client.wire import COMPRESSED, CONFIG, MASKED, METRICS, SECAGG, open_task
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.grid import GridCapabilities
from fedaffect.server.federation.memory_array import memory_record
from fedaffect.server.ray_session import ray_session
from fedaffect.simulation.grid.cohort_hosts import CohortHosts
from fedaffect.simulation.grid.dispatch import Chunk, Delivery, Dispatcher
from fedaffect.simulation.grid.freed_memory import keep_freed_memory
from fedaffect.simulation.grid.kept import KeptFolders
from fedaffect.simulation.grid.schedule import chunks_by_cost
from fedaffect.simulation.grid.worker import ClientWorker, Outcome, Request, TaskOpener
from fedaffect.simulation.grid.workforce import Workforce

# Individual replies that wait in Ray's object store at any time, for each call.
_REPLY_BYTES = 32 << 20
# Also where nothing happens, somebody may have to be told why.
_LONGEST_LOOK_S = 5.0
# Clients that train at once there by default.
_ON_A_GPU = 64


class PartitionIds(Mapping[int, int]):
    """Partition id by node id, for any number of clients in no memory: node n is partition n - 1."""

    def __init__(self, clients: int) -> None:
        self._clients = clients

    def __getitem__(self, node_id: int) -> int:
        if not 1 <= node_id <= self._clients:
            raise KeyError(node_id)
        return node_id - 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self._clients + 1))

    def __len__(self) -> int:
        return self._clients


@dataclass(slots=True)
class _Pending:
    """A request's messages that nobody has answered yet, by partition id, and its place in the store."""

    request: ObjectRef[Any]
    messages: dict[int, Message] = field(default_factory=dict)


class RayGrid:
    """Simulated clients on resident actors; a context manager.

    The same messages as through Flower's own engine give the same replies, except where a train request's config asks
    for partial aggregation: then trained arrays come summed, one ``sums`` record (and ``control_sums``) in the reply of
    the first client that it covers, while the other clients' replies hold metrics only.

    Parameters
    ----------
    cohort_folder : Path
        The prepared cohort; one node for each of its clients. Machines of a cluster that do not see it get a copy.
    actors : int, optional
        As many as Ray has room for by default.
    cpus_per_actor, gpus_per_actor : float
        What Ray reserves for each; fractions share a device. An actor computes on one core in any case.
    cohort_size : int, optional
        Clients that an actor trains at once; by default 64 on a GPU, and one after the other on a CPU.
    address : str, optional
        A Ray cluster; by default Ray runs on this machine only.
    state_folder : Path, optional
        Where clients keep what they need in later rounds (SCAFFOLD's control variates, an optimiser's state);
        by default it is gone afterwards. It lies on the server's machine, wherever clients are trained.
    attempts : int
        How many actors a client may take down before it is answered with an error.
    opener : callable
        Makes an actor's resident task; :func:`fedaffect.client.wire.open_task` but in tests.

    Raises
    ------
    ConfigError
        If Ray has no room for that many actors, or does not answer.
    """

    def __init__(
        self,
        cohort_folder: Path,
        *,
        actors: int | None = None,
        cpus_per_actor: float = 1.0,
        gpus_per_actor: float = 0.0,
        cohort_size: int | None = None,
        address: str | None = None,
        state_folder: Path | None = None,
        attempts: int = 3,
        opener: TaskOpener = open_task,
    ) -> None:
        offsets = np.asarray(Cohort.load(cohort_folder).client_offsets)
        self._examples: NDArray[np.int64] = np.diff(offsets)
        self._requests = itertools.count()
        self._pending: dict[str, _Pending] = {}
        self._mailbox: dict[str, Message] = {}
        self._closing = ExitStack()
        # Actors may have started in another working directory than this process is in now.
        state_folder = state_folder.resolve() if state_folder else None
        self._state_folder = state_folder
        with ExitStack() as stack:
            if state_folder is None:
                state_folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedaffect-state-")))
            # More actors than cores were asked for: Ray counts cores by what it is told.
            cores = max(math.ceil(actors * cpus_per_actor), os.cpu_count() or 1) if actors else None
            stack.enter_context(ray_session(address, cores))
            workforce = Workforce(actors, len(self._examples), cpus_per_actor, gpus_per_actor)
            options: dict[str, Any] = {"num_cpus": cpus_per_actor, "num_gpus": gpus_per_actor, "max_restarts": 0}
            kind = ray.remote(ClientWorker).options(**options)
            device = "cuda" if gpus_per_actor else "cpu"
            self._cohort_size = cohort_size or (_ON_A_GPU if gpus_per_actor else 1)

            def open_actor() -> ActorHandle[ClientWorker]:
                return cast("ActorHandle[ClientWorker]", kind.remote(state_folder, device, opener, self._cohort_size))

            self._kept = KeptFolders.at(state_folder)
            self._hosts = CohortHosts(open_actor, cohort_folder, self._kept)
            self._dispatcher = Dispatcher(self._hosts, workforce.fitting(), attempts)
            self._workforce = workforce
            stack.callback(self._dispatcher.close)
            self._closing = stack.pop_all()
        keep_freed_memory()
        _identify()

    def __enter__(self) -> RayGrid:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the actors, and Ray where this grid started it."""
        self._closing.close()

    @property
    def replaced_actors(self) -> int:
        """Actors that died and were replaced so far."""
        return self._dispatcher.replaced

    @property
    def answers_by_machine(self) -> Mapping[str, int]:
        """Answers of clients by the address of the machine that gave them."""
        return dict(self._hosts.answers)

    @property
    def capabilities(self) -> GridCapabilities:
        """Workers start on demand and sum updates; what clients kept is there where the folder of their states is."""
        kept = self._state_folder is not None and self._state_folder.is_dir()
        return GridCapabilities(
            partial_aggregation=True, keeps_client_states=kept, starts_workers_on_demand=True, takes_memory=True
        )

    def get_node_ids(self) -> range:
        """Node ids, 1..K, the same in every run; partition k is node k + 1."""
        return range(1, len(self._examples) + 1)

    def partition_ids(self, clients: int) -> PartitionIds:
        """Partition id by node id, of all clients."""
        return PartitionIds(len(self._examples))

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send messages and yield replies as they come, in no particular order.

        Clients are started only as replies are taken, so that a slow consumer does not fill the memory.
        Leaving the iterator early withdraws the messages not yet handed out.

        Parameters
        ----------
        messages : iterable of Message
        timeout : float, optional
            Seconds after which no more clients are started; those under way are waited for.
        """
        waiting = set(self.push_messages(messages))
        # After that, since the first messages wait for actors.
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                for message_id in [m for m in self._mailbox if m in waiting]:
                    waiting.discard(message_id)
                    yield self._mailbox.pop(message_id)
                if not waiting or not self._dispatcher.busy:
                    return
                left = _LONGEST_LOOK_S if deadline is None else max(0.0, deadline - time.monotonic())
                self._advance(min(left, _LONGEST_LOOK_S))
                if deadline is not None and time.monotonic() >= deadline:
                    deadline = None
                    waiting -= self._withdraw(waiting)
        finally:
            if waiting:
                self._abandon(waiting)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages; returns their ids, for :meth:`pull_messages`."""
        ids: list[str] = []
        alike: dict[tuple[Any, ...], list[Message]] = {}
        # Kept while their ids serve as keys.
        messages = list(messages)
        kinds: dict[tuple[str, int], tuple[Any, ...]] = {}
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(uuid4())
            ids.append(message.metadata.message_id)
            if message.metadata.dst_node_id not in self.get_node_ids():
                reason = f"there is no node {message.metadata.dst_node_id}; nodes are 1..{len(self._examples)}"
                self._post(message, Message(Error(ErrorCode.NODE_UNAVAILABLE, reason), reply_to=message))
                continue
            shared = (message.metadata.message_type, id(message.content))
            if shared not in kinds:
                kinds[shared] = _kind_of(message)
            alike.setdefault(kinds[shared], []).append(message)
        for group in alike.values():
            self._submit(group)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Replies that have come to these messages, without waiting."""
        self._advance(0.0)
        return [self._mailbox.pop(message_id) for message_id in message_ids if message_id in self._mailbox]

    def _submit(self, messages: list[Message]) -> None:
        content = messages[0].content
        request = Request(
            key=f"{next(self._requests)}",
            kind=messages[0].metadata.message_type,
            config=dict(content.config_records.get(CONFIG, {})),
            arrays={name: _named_arrays(record) for name, record in content.array_records.items()},
            personal={
                message.metadata.dst_node_id - 1: dict(message.content.config_records[SECAGG])
                for message in messages
                if SECAGG in message.content.config_records
            },
        )
        self._workforce.gather(self._dispatcher, self._advance)
        pending = _Pending(ray.put(request))
        for message in messages:
            client = message.metadata.dst_node_id - 1
            if client in pending.messages:
                raise ConfigError(f"two equal messages to node {client + 1} in one round; send one")
            pending.messages[client] = message
        self._pending[request.key] = pending
        clients = list(pending.messages)
        partial = request.question.partial_aggregation
        reply_bytes = sum(array.nbytes for named in request.arrays.values() for array in named.values())
        most = None if partial else max(1, _REPLY_BYTES // max(1, reply_bytes))
        # The constant stands for what a client costs however few examples it has.
        costs = [1.0 + float(self._examples[client]) for client in clients]
        least = self._cohort_size if request.kind == MessageType.TRAIN and not request.personal else 1
        chunks = chunks_by_cost(clients, costs, max(1, self._dispatcher.ready), most, least)
        self._dispatcher.submit([Chunk(request.key, pending.request, partial, tuple(c)) for c in chunks])

    def _advance(self, timeout_s: float | None) -> None:
        for delivery in self._dispatcher.poll(timeout_s):
            self._deliver(delivery)
        self._workforce.note(self._dispatcher.ready)

    def _deliver(self, delivery: Delivery[Outcome]) -> None:
        self._kept.write({outcome.client: outcome.kept for outcome in delivery.outcomes if outcome.kept is not None})
        pending = self._pending.get(delivery.key)
        if pending is None:
            return
        sums = delivery.sums
        for outcome in delivery.outcomes:
            message = pending.messages.pop(outcome.client)
            if outcome.error is not None:
                self._post(message, Message(Error(*outcome.error), reply_to=message))
                continue
            self._post(message, Message(_reply(outcome, delivery.layout, sums), reply_to=message))
            sums = {}
        if not pending.messages:
            del self._pending[delivery.key]

    def _post(self, message: Message, reply: Message) -> None:
        reply.metadata.__dict__["_message_id"] = str(uuid4())
        self._mailbox[message.metadata.message_id] = reply

    def _withdraw(self, message_ids: set[str]) -> set[str]:
        """Do not start what has not been handed out; returns the messages that will stay unanswered."""
        gone: set[str] = set()
        for key, pending in self._requests_of(message_ids):
            for client in self._dispatcher.withdraw(key):
                gone.add(pending.messages.pop(client).metadata.message_id)
            if not pending.messages:
                del self._pending[key]
        return gone

    def _abandon(self, message_ids: set[str]) -> None:
        """Nobody waits for these any more, whether handed out or not."""
        for key, _ in self._requests_of(message_ids):
            del self._pending[key]
            self._dispatcher.withdraw(key)
        for message_id in message_ids:
            self._mailbox.pop(message_id, None)

    def _requests_of(self, message_ids: set[str]) -> list[tuple[str, _Pending]]:
        return [
            (key, pending)
            for key, pending in self._pending.items()
            if any(message.metadata.message_id in message_ids for message in pending.messages.values())
        ]


def _kind_of(message: Message) -> tuple[Any, ...]:
    """Equal for messages that differ only in their addressee."""
    content = message.content
    config: Mapping[str, Any] = content.config_records.get(CONFIG, {})
    settings = tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in config.items()))
    arrays = tuple((name, id(record)) for name, record in content.array_records.items())
    # What secure aggregation asks of each client alone travels beside what they have in common.
    return message.metadata.message_type, arrays, settings, SECAGG in content.config_records


def _named_arrays(record: ArrayRecord) -> dict[str, NDArray[Any]]:
    return {name: array.numpy() for name, array in record.items()}


def _reply(outcome: Outcome, layout: ArrayLayout | None, sums: Mapping[str, Mapping[str, NDArray[Any]]]) -> RecordDict:
    if outcome.payload is not None:
        return RecordDict({SECAGG: ConfigRecord({PAYLOAD: outcome.payload})})
    if outcome.masked is not None:
        return RecordDict({MASKED: memory_record({MASKED: outcome.masked})})
    reply = RecordDict({METRICS: MetricRecord(dict(outcome.metrics))})
    if outcome.compressed is not None:
        reply[COMPRESSED] = memory_record({name: array.copy() for name, array in outcome.compressed.items()})
    if layout is not None:
        for name, vector in outcome.arrays.items():
            # Out of Ray's store, which must not fill up with what a strategy holds on to.
            reply[name] = memory_record(layout.unflatten(torch.from_numpy(vector.copy())))
    for name, arrays in sums.items():
        # Read-only and in Ray's store: the reader adds them up at once.
        reply[name] = memory_record(arrays)
    return reply


def _identify() -> None:
    # Flower's messages ask who sends them; its own engine sets the same three.
    act_as(run_id=secrets.randbits(63), node_id=SUPERLINK_NODE_ID, task_id=1)
