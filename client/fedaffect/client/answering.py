"""What a client answers to each kind of message; the work is :class:`fedaffect.client.task.ClientTask`'s."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, cast

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict
from numpy.typing import NDArray

from fedaffect.client.compression.compress import NONE, codec, compress, promised_norm
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg import answering
from fedaffect.client.secagg.answering import MEMORY, PAYLOAD, answer_stage
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.session import Session
from fedaffect.client.state_store import last_two, newest_before, unpack_states
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import ClientState, Update
from fedaffect.client.wire import (
    ABOUT,
    ARRAYS,
    ATTEMPT,
    BASE,
    COMPRESSED,
    COMPRESSION,
    CONFIG,
    CONTROL,
    DIVERGED,
    MASKED,
    METRICS,
    NUM_EXAMPLES,
    PACKED,
    PAID,
    RUN,
    SECAGG,
    SEED,
    SERVER_ROUND,
    SPLIT,
    from_record,
    named_to_record,
    open_task,
    pack,
    task_key,
    to_record,
    update_metrics,
)
from fedaffect.edge.errors import ConfigError, TrainingError, unknown_name

_STATE = "state"


class Holdings(Protocol):
    """What a client learns from, and who it is."""

    def opened(self, config: ConfigRecord, context: Context) -> tuple[ClientTask, int]:
        """The resident task for a message, and this client's place in its cohort."""


class Guard(Protocol):
    """Has the last word before a client trains: a device's budget of privacy."""

    def __call__(
        self,
        task: ClientTask,
        client: int,
        start: torch.Tensor,
        config: TrainConfig,
        run: str,
        round: int,
        train: Callable[[], Update],
    ) -> Update:
        """The update to answer with.

        Parameters
        ----------
        task : ClientTask
        client : int
            Its place in the task's cohort.
        start : Tensor of float32, shape (P,)
            The parameters that came.
        config : TrainConfig
        run : str
            Empty where the server names none.
        round : int
        train : callable
            Trains.

        Raises
        ------
        FedAffectError
            If it must not train.
        """

    def paid(self, run: str, round: int) -> Mapping[str, int | float]:
        """What the fleet is told that a round has cost; nothing where it cost nothing."""


class CohortHoldings:
    """A partition of the cohort that the server prepared: simulations, and nodes on the server's machine."""

    def opened(self, config: ConfigRecord, context: Context) -> tuple[ClientTask, int]:
        """The resident task for a message, and this client's place in its cohort."""
        return _resident(task_key(config)), partition_of(context)


@functools.lru_cache(maxsize=2)
def _resident(key: tuple[str, str, str]) -> ClientTask:
    # One thread: the same sums in the same order as in every other engine.
    torch.set_num_threads(1)
    return open_task(key)


def partition_of(context: Context) -> int:
    """The partition that this node says it is.

    Raises
    ------
    ConfigError
        If it was started without one.
    """
    try:
        return int(context.node_config["partition-id"])
    except KeyError:
        raise ConfigError("this node has no partition-id; start it with --node-config 'partition-id=…'") from None


def train(message: Message, context: Context, holdings: Holdings, guard: Guard | None = None) -> Message:
    """Train this client's partition from the arrays that came."""
    protocol = message.content.config_records.get(SECAGG)
    try:
        if protocol is not None:
            return _answer_securely(message, protocol, context, holdings, guard)
        task, _, update, arrays = _trained(message, context, holdings, guard)
    except TrainingError as error:
        return Message(Error(DIVERGED, str(error)), reply_to=message)
    if arrays is not None:
        compressed = RecordDict({COMPRESSED: named_to_record(arrays), METRICS: update_metrics(update)})
        compressed.update(_for_the_books(message, guard))
        return Message(compressed, reply_to=message)
    reply = RecordDict({ARRAYS: to_record(task.layout, update.weights), METRICS: update_metrics(update)})
    reply.update(_for_the_books(message, guard))
    for name, value in update.extra.items():
        reply[name] = to_record(task.layout, value)
    if PACKED in message.content.array_records[ARRAYS]:
        # As it came: what is packed travels between machines.
        for name, record in list(reply.array_records.items()):
            reply[name] = pack(record)
    return Message(reply, reply_to=message)


def _about(message: Message) -> ConfigRecord | None:
    """Which round of a fleet an answer belongs to, in the words of the question."""
    config = message.content.config_records.get(CONFIG)
    if config is None or RUN not in config:
        return None
    return ConfigRecord({name: config[name] for name in (RUN, ATTEMPT, BASE, SERVER_ROUND)})


def _for_the_books(message: Message, guard: Guard | None) -> dict[str, ConfigRecord]:
    """What a fleet's server notes down before it counts an update: which round it answers, and what it has cost."""
    about = _about(message)
    if about is None:
        return {}
    paid = guard.paid(str(about[RUN]), int(cast(int, about[SERVER_ROUND]))) if guard is not None else {}
    return {ABOUT: about, **({PAID: ConfigRecord(dict(paid))} if paid else {})}


def _trained(
    message: Message, context: Context, holdings: Holdings, guard: Guard | None
) -> tuple[ClientTask, torch.Tensor, Update, Mapping[str, NDArray[Any]] | None]:
    """The task, the parameters that came, the update, and its arrays where it is to travel compressed.

    What the client keeps for later rounds is kept.
    """
    config = cast(ConfigRecord, message.content[CONFIG])
    task, client = holdings.opened(config, context)
    round = int(cast(int, config[SERVER_ROUND]))
    control = message.content.array_records.get(CONTROL)
    states = _load_states(context)
    start = from_record(task.layout, message.content.array_records[ARRAYS])
    settings = TrainConfig.from_record(config)
    seed, state = int(cast(int, config[SEED])), newest_before(states, round)

    def trained() -> Update:
        return task.train(
            start,
            settings,
            client=client,
            round=round,
            seed=seed,
            state=state,
            server_control=None if control is None else from_record(task.layout, control),
        )

    run = str(config.get(RUN, ""))
    update = trained() if guard is None else guard(task, client, start, settings, run, round, trained)
    arrays = None
    if chosen := codec(str(config.get(COMPRESSION, NONE))):
        smaller = compress(chosen, start, update, state, client=client, round=round, seed=seed,
                           norm_bound=promised_norm(settings.privacy))  # fmt: skip
        update, arrays = smaller.update, smaller.arrays
    if update.state is not None:
        _save_states(context, last_two(states, update.state))
    return task, start, update, arrays


def _answer_securely(
    message: Message, protocol: ConfigRecord, context: Context, holdings: Holdings, guard: Guard | None
) -> Message:
    """One message of a secure aggregation; nothing of the update is in the reply but its masked form."""
    about = _about(message)
    if about is not None and answering.session_of(protocol) != Session(
        str(about[RUN]), int(cast(int, about[SERVER_ROUND])), int(cast(int, about[ATTEMPT]))
    ):
        raise SecAggError("a secure sum of one round was asked for in the words of another; the attempt is refused")

    def trained() -> tuple[ArrayLayout, torch.Tensor, Update]:
        task, start, update, _ = _trained(message, context, holdings, guard)
        return task.layout, start, update

    kept = context.state.config_records.get(SECAGG)
    answer = answer_stage(protocol, None if kept is None else cast(bytes, kept[MEMORY]), trained)
    context.state[SECAGG] = ConfigRecord({MEMORY: answer.memory})
    if answer.vector is not None:
        reply = RecordDict({MASKED: named_to_record({MASKED: answer.vector})})
        reply.update(_for_the_books(message, guard))
        return Message(reply, reply_to=message)
    return Message(RecordDict({SECAGG: ConfigRecord({PAYLOAD: answer.payload})}), reply_to=message)


def evaluate(message: Message, context: Context, holdings: Holdings) -> Message:
    """Evaluate the arrays that came on this client's own rows of a split, or on those it trains with."""
    config = cast(ConfigRecord, message.content[CONFIG])
    task, client = holdings.opened(config, context)
    rows = task.rows_for(client, str(config.get(SPLIT, "train")))
    result = task.evaluate(from_record(task.layout, message.content.array_records[ARRAYS]), rows)
    metrics = MetricRecord(
        {
            NUM_EXAMPLES: len(rows),
            "loss": result.loss_sum / max(1, len(rows)),
            "confusion": [int(n) for n in result.confusion.reshape(-1)],
        }
    )
    return Message(RecordDict({METRICS: metrics}), reply_to=message)


def query(message: Message, context: Context, holdings: Holdings) -> Message:
    """Say who this node is: its partition, and how many examples it holds."""
    metrics = MetricRecord({"partition-id": partition_of(context)})
    config = message.content.config_records.get(CONFIG)
    if config is not None:
        task, client = holdings.opened(config, context)
        metrics[NUM_EXAMPLES] = len(task.cohort.rows_of(client))
    return Message(RecordDict({METRICS: metrics}), reply_to=message)


def _load_states(context: Context) -> dict[int, ClientState]:
    record = context.state.array_records.get(_STATE)
    if record is None:
        return {}
    return unpack_states({name: torch.from_numpy(np.array(array.numpy())) for name, array in record.items()})


def _save_states(context: Context, states: dict[int, ClientState]) -> None:
    record: ArrayRecord = named_to_record(
        {f"{s.round}/{name}": tensor.numpy() for s in states.values() for name, tensor in s.tensors.items()}
    )
    context.state[_STATE] = record


ANSWERS: Mapping[str, Callable[[Message, Context, Holdings], Message]] = MappingProxyType(
    {MessageType.EVALUATE: evaluate, MessageType.QUERY: query}
)


def answer(message: Message, context: Context, holdings: Holdings | None = None, guard: Guard | None = None) -> Message:
    """Answer a message of any kind.

    Parameters
    ----------
    message : Message
    context : Context
        Its state is changed where the client keeps something for later rounds.
    holdings : Holdings, optional
        A partition of the server's cohort if not given.
    guard : Guard, optional
        Asked before training.

    Raises
    ------
    ConfigError
        If nothing answers messages of this type.
    """
    kind = message.metadata.message_type
    holdings = holdings or CohortHoldings()
    if kind == MessageType.TRAIN:
        return train(message, context, holdings, guard)
    if kind not in ANSWERS:
        raise unknown_name("message type", kind, (MessageType.TRAIN, *ANSWERS))
    return ANSWERS[kind](message, context, holdings)
