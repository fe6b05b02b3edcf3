"""Flower's messages to a client, decoded for :func:`fedaffect.client.answering.answer` and its answers encoded."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict

from fedaffect.client.answering import Answer, Client, Guard, NoGuard, Question, answer, require_partition
from fedaffect.client.layout import as_array
from fedaffect.client.local_task import LocalTask
from fedaffect.client.secagg.answering import MEMORY, PAYLOAD
from fedaffect.client.secagg.signed_keys import Credentials, NoCredentials
from fedaffect.client.state_store import last_two, newest_before, unpack_states
from fedaffect.client.update import ClientState
from fedaffect.client.wire import (
    ARRAYS,
    COMPRESSED,
    CONFIG,
    DIVERGED,
    MASKED,
    METRICS,
    PACKED,
    SECAGG,
    named_to_record,
    open_task,
    pack,
    task_key,
    to_record,
)
from fedaffect.edge.errors import TrainingError

_STATE = "state"


class TrainingData(Protocol):
    """What a client learns from, and who it is."""

    def opened(self, config: Mapping[str, Any], context: Context) -> tuple[LocalTask, int]:
        """The resident task for a message, and this client's place in its cohort."""


class CohortPartition:
    """A partition of the cohort that the server prepared: simulations, and nodes on the server's machine."""

    def opened(self, config: Mapping[str, Any], context: Context) -> tuple[LocalTask, int]:
        """The resident task for a message, and this client's place in its cohort."""
        return _resident(task_key(config)), require_partition(partition_of(context))


@functools.lru_cache(maxsize=2)
def _resident(key: tuple[str, str, str]) -> LocalTask:
    # One thread: the same sums in the same order as in every other engine.
    import torch

    torch.set_num_threads(1)
    return open_task(key)


def partition_of(context: Context) -> int | None:
    """The partition that this node was started with; None where it was started without one."""
    partition = context.node_config.get("partition-id")
    return None if partition is None else int(partition)


class ContextMemory:
    """What a client keeps, in the context that Flower hands it with every message."""

    def __init__(self, context: Context) -> None:
        self._state = context.state

    def state_before(self, round: int) -> ClientState | None:
        """The newest state that an earlier round left."""
        return newest_before(self._states(), round)

    def keep_state(self, state: ClientState) -> None:
        """Keep a state, and the one before it."""
        kept: ArrayRecord = named_to_record(
            {
                f"{s.round}/{name}": as_array(tensor)
                for s in last_two(self._states(), state).values()
                for name, tensor in s.tensors.items()
            }
        )
        self._state[_STATE] = kept

    def secrets(self) -> bytes | None:
        """What the last message of a secure sum left."""
        kept = self._state.config_records.get(SECAGG)
        return None if kept is None else cast(bytes, kept[MEMORY])

    def keep_secrets(self, memory: bytes) -> None:
        """Keep what the next message of a secure sum needs."""
        self._state[SECAGG] = ConfigRecord({MEMORY: memory})

    def _states(self) -> dict[int, ClientState]:
        record: Mapping[str, Any] = self._state.array_records.get(_STATE, {})
        return unpack_states({name: np.array(array.numpy()) for name, array in record.items()})


def answer_message(
    message: Message,
    context: Context,
    data: TrainingData | None = None,
    guard: Guard | None = None,
    credentials: Credentials | None = None,
) -> Message:
    """Answer a message of any kind.

    Parameters
    ----------
    message : Message
    context : Context
        Its state is changed where the client keeps something for later rounds.
    data : TrainingData, optional
        A partition of the server's cohort if not given.
    guard : Guard, optional
        Asked before anything about the client's own examples is answered.
    credentials : Credentials, optional
        Of the client, for secure sums.

    Returns
    -------
    Message
        An error reply with code ``DIVERGED`` where training left no numbers.

    Raises
    ------
    FedAffectError
        As :func:`fedaffect.client.answering.answer`.
    """
    opened = (data or CohortPartition()).opened
    client = Client(
        partition_of(context),
        lambda config: opened(config, context),
        ContextMemory(context),
        guard or NoGuard(),
        credentials or NoCredentials(),
    )
    records = message.content.array_records
    question = Question(
        message.metadata.message_type,
        message.content.config_records.get(CONFIG, {}),
        {name: {key: array.numpy() for key, array in record.items()} for name, record in records.items()},
    )
    try:
        given = answer(question, client, message.content.config_records.get(SECAGG))
    except TrainingError as error:
        return Message(Error(DIVERGED, str(error)), reply_to=message)
    # As it came: what is packed travels between machines.
    return Message(_reply(given, packed=PACKED in records.get(ARRAYS, {})), reply_to=message)


def _reply(given: Answer, packed: bool) -> RecordDict:
    reply = RecordDict({name: ConfigRecord(dict(record)) for name, record in given.records.items()})
    if given.payload is not None:
        reply[SECAGG] = ConfigRecord({PAYLOAD: given.payload})
    elif given.masked is not None:
        reply[MASKED] = named_to_record({MASKED: given.masked})
    else:
        reply[METRICS] = MetricRecord(dict(given.metrics))
    if given.compressed is not None:
        reply[COMPRESSED] = named_to_record(given.compressed)
    elif given.update is not None and given.layout is not None:
        for name, vector in {ARRAYS: given.update.weights, **given.update.extra}.items():
            record = to_record(given.layout, vector)
            reply[name] = pack(record) if packed else record
    return reply
