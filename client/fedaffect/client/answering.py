"""What a client answers to one message, whatever carried it: Flower's messages, or the calls of a simulation's worker.

:func:`answer` is the only place where a client answers. What surrounds it turns messages into a :class:`Question` and
an :class:`Answer` into a reply (:mod:`fedaffect.client.flower_messages`, :mod:`fedaffect.simulation.grid.worker`); the
learning itself is :class:`fedaffect.client.task.ClientTask`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from flwr.app import MessageType
from numpy.typing import NDArray

from fedaffect.client.algorithms.registry import algorithm
from fedaffect.client.compression.compress import NONE, codec, compress, kept_norm
from fedaffect.client.layout import ArrayLayout, Values, like
from fedaffect.client.local_task import Evaluation, LocalTask
from fedaffect.client.secagg.answering import answer_stage, session_of
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.masks import Words
from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.signed_keys import Credentials, NoCredentials
from fedaffect.client.shared_part import SharedPart
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import ClientState, Update
from fedaffect.client.wire import (
    ABOUT,
    ALGORITHM,
    ARRAYS,
    ATTEMPT,
    BASE,
    COMPRESSION,
    CONTROL,
    NUM_EXAMPLES,
    OWN,
    PAID,
    PARTIAL_AGGREGATION,
    RUN,
    SEED,
    SERVER_ROUND,
    SPLIT,
    update_metrics,
    vector_of,
)
from fedaffect.edge.errors import ConfigError, TrainingError, unknown_name


class Guard(Protocol):
    """Has the last word on every number about a client's own examples that leaves it: a device's budget of privacy."""

    def train(
        self,
        task: LocalTask,
        client: int,
        start: Values,
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
        start : Values, shape (P,)
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

    def evaluate(self, evaluate: Callable[[], Evaluation]) -> Evaluation:
        """Figures on a client's own examples, to be answered as they are.

        Raises
        ------
        FedAffectError
            If they must not leave.
        """

    def paid(self, run: str, round: int) -> Mapping[str, int | float]:
        """What a round has cost, for the fleet; nothing where it cost nothing."""


class NoGuard:
    """Lets every number leave."""

    def train(
        self,
        task: LocalTask,
        client: int,
        start: Values,
        config: TrainConfig,
        run: str,
        round: int,
        train: Callable[[], Update],
    ) -> Update:
        """Train."""
        return train()

    def evaluate(self, evaluate: Callable[[], Evaluation]) -> Evaluation:
        """Evaluate."""
        return evaluate()

    def paid(self, run: str, round: int) -> Mapping[str, int | float]:
        """Nothing."""
        return {}


class ClientMemory(Protocol):
    """What a client keeps from message to message."""

    def state_before(self, round: int) -> ClientState | None:
        """The newest state that an earlier round left."""

    def keep_state(self, state: ClientState) -> None:
        """Keep a state for later rounds."""

    def secrets(self) -> bytes | None:
        """What the last message of a secure sum left."""

    def keep_secrets(self, memory: bytes) -> None:
        """Keep what the next message of a secure sum needs."""


@dataclass(frozen=True)
class Question:
    """One message to a client; what many clients are asked alike is read once.

    Parameters
    ----------
    kind : str
        Flower's message type.
    config : mapping
        The message's config record; empty where it has none.
    arrays : mapping of str to mapping of str to array
        Array records by name: ``arrays``, and ``control`` where a strategy sends one.
    """

    kind: str
    config: Mapping[str, Any]
    arrays: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    _vectors: dict[str, Values] = field(default_factory=dict, repr=False)

    @cached_property
    def train_config(self) -> TrainConfig:
        """Settings of local training."""
        return TrainConfig.from_record(self.config)

    @property
    def round(self) -> int:
        """Of the federation, counted from 1."""
        return int(self.config[SERVER_ROUND])

    @property
    def seed(self) -> int:
        """The run's."""
        return int(self.config[SEED])

    @property
    def run(self) -> str:
        """Of a fleet; empty elsewhere."""
        return str(self.config.get(RUN, ""))

    @property
    def partial_aggregation(self) -> bool:
        """Whether trained arrays are to be summed where they were made."""
        return self.kind == MessageType.TRAIN and bool(self.config.get(PARTIAL_AGGREGATION, False))

    def vector(self, task: LocalTask, name: str = ARRAYS) -> Values:
        """Parameters of an array record, (P,), as a task takes them."""
        if name not in self._vectors:
            self._vectors[name] = task.of_array(vector_of(task.layout, self.arrays[name]))
        return self._vectors[name]


@dataclass(frozen=True, slots=True)
class Client:
    """Who answers.

    Parameters
    ----------
    partition : int, optional
        What it says it is; None where it was started without one.
    opened : callable
        Gives the resident task for a message's config, and this client's place in its cohort.
    memory : ClientMemory
    guard : Guard
    credentials : Credentials
        Of secure sums.
    made : Update or TrainingError, optional
        Its update or failure, where it trained together with others before.
    """

    partition: int | None
    opened: Callable[[Mapping[str, Any]], tuple[LocalTask, int]]
    memory: ClientMemory
    guard: Guard = NoGuard()  # noqa: RUF009 - holds nothing
    credentials: Credentials = NoCredentials()  # noqa: RUF009 - holds nothing
    made: Update | TrainingError | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back.

    Parameters
    ----------
    metrics : mapping
        The reply's metric record; empty in secure sums.
    update : Update, optional
        A trained update as the server will read it; for a secure sum it stays here.
    layout : ArrayLayout, optional
        Of the update: of the parameters that are shared.
    compressed : mapping of str to array, optional
        What travels in place of the update's arrays.
    masked : uint32 or uint16 array, optional
        What travels in place of the update in a secure sum.
    payload : bytes, optional
        Another answer of a secure sum.
    records : mapping of str to mapping
        Config records for a fleet's round ledger: which round is answered, and what it has cost the device.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    update: Update | None = None
    layout: ArrayLayout | None = None
    compressed: Mapping[str, NDArray[Any]] | None = None
    masked: Words | None = None
    payload: bytes | None = None
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def answer(question: Question, client: Client, secagg: Mapping[str, Any] | None = None) -> Answer:
    """Answer a message of any kind.

    Parameters
    ----------
    question : Question
    client : Client
        Its memory is changed where it keeps something for later messages.
    secagg : mapping, optional
        The record of secure aggregation that this client's message has for it alone.

    Raises
    ------
    ConfigError
        If nothing answers messages of this type, or the message is not from a fedaffect server.
    TrainingError
        If training left no numbers.
    SecAggError
        If the client refuses a stage.
    """
    if question.kind == MessageType.QUERY:
        return _identify(question, client)
    if question.kind == MessageType.EVALUATE:
        return _evaluate(question, client)
    if question.kind != MessageType.TRAIN:
        raise unknown_name("message type", question.kind, (MessageType.TRAIN, MessageType.EVALUATE, MessageType.QUERY))
    if secagg is not None:
        return _answer_securely(question, client, secagg)
    shared, _, update, arrays = _train(question, client)
    records = _for_the_ledger(question, client)
    return Answer(dict(update_metrics(update)), update, shared.layout, arrays, records=records)


def _identify(question: Question, client: Client) -> Answer:
    """Which partition this is, and where asked for, how many examples it has."""
    partition = require_partition(client.partition)
    if not question.config:
        return Answer({"partition-id": partition})
    task, place = client.opened(question.config)
    return Answer({"partition-id": partition, NUM_EXAMPLES: len(task.cohort.rows_of(place))})


def require_partition(partition: int | None) -> int:
    """The partition that a node was started with.

    Raises
    ------
    ConfigError
        If it was started without one.
    """
    if partition is None:
        raise ConfigError("this node has no partition-id; start it with --node-config 'partition-id=…'")
    return partition


def _evaluate(question: Question, client: Client) -> Answer:
    """Figures of the arrays that came on this client's own rows of a split, or on those it trains with."""
    task, place = client.opened(question.config)
    rows, weights = task.rows_for(place, str(question.config.get(SPLIT, "train"))), question.vector(task)
    figures = _figures(client, task, weights, rows)
    if (own := _own_model(question, client, task, weights)) is not None:
        figures |= {f"{OWN}{name}": value for name, value in _figures(client, task, own, rows).items()}
    return Answer({NUM_EXAMPLES: len(rows), **figures})


def _figures(client: Client, task: LocalTask, weights: Values, rows: NDArray[np.int64]) -> dict[str, Any]:
    result = client.guard.evaluate(lambda: task.evaluate(weights, rows))
    confusion = [int(n) for n in result.confusion.reshape(-1)]
    return {"loss": result.loss_sum / max(1, len(rows)), "confusion": confusion}


def _own_model(question: Question, client: Client, task: LocalTask, weights: Values) -> Values | None:
    """The model that this client would use itself, after the round that the question names; None without one."""
    name = str(question.config.get(ALGORITHM, ""))
    asks = name and SERVER_ROUND in question.config
    state = client.memory.state_before(question.round + 1) if asks else None
    if state is None:
        return None
    kept = {key: like(weights, values) for key, values in state.tensors.items()}
    return algorithm(name).personalised(task.shared(name), weights, kept)


def _train(
    question: Question, client: Client, copy: bool = True
) -> tuple[SharedPart, Values, Update, Mapping[str, NDArray[Any]] | None]:
    """The parameters that came, the update as it will be read, and its arrays where it is to travel compressed."""
    task, place = client.opened(question.config)
    start, round = question.vector(task), question.round
    shared = task.shared(question.train_config.algorithm)
    state = client.memory.state_before(round)
    if isinstance(client.made, TrainingError):
        raise client.made

    def trained() -> Update:
        return task.train(
            start,
            question.train_config,
            client=place,
            round=round,
            seed=question.seed,
            state=state,
            server_control=question.vector(task, CONTROL) if CONTROL in question.arrays else None,
            # Where the update is summed at once there is no need to copy it.
            copy=copy and not question.partial_aggregation,
        )

    update = client.made or client.guard.train(task, place, start, question.train_config, question.run, round, trained)
    arrays = None
    if chosen := codec(str(question.config.get(COMPRESSION, NONE))):
        smaller = compress(chosen, shared.take(start), update, state, client=place, round=round, seed=question.seed,
                           norm_bound=kept_norm(question.train_config.privacy))  # fmt: skip
        update, arrays = smaller.update, smaller.arrays
    # Before it is summed: a sum cannot be taken back if the disk is full.
    if update.state is not None:
        client.memory.keep_state(update.state)
    return shared, start, update, arrays


def _answer_securely(question: Question, client: Client, record: Mapping[str, Any]) -> Answer:
    """Answer a message of a secure sum; nothing of the update is in it but its masked form."""
    about = _about(question)
    if about and session_of(record) != Session(about[RUN], about[SERVER_ROUND], about[ATTEMPT]):
        raise SecAggError("a secure sum of one round was asked for in the words of another; the attempt is refused")

    def trained() -> tuple[ArrayLayout, Values, Update]:
        shared, start, update, _ = _train(question, client, copy=False)
        return shared.layout, shared.take(start), update

    stage = answer_stage(record, client.memory.secrets(), trained, client.credentials)
    client.memory.keep_secrets(stage.memory)
    if stage.vector is not None:
        return Answer(masked=stage.vector, records=_for_the_ledger(question, client))
    return Answer(payload=stage.payload)


def _about(question: Question) -> dict[str, Any]:
    """Which round of a fleet a message belongs to, in its own words; empty elsewhere."""
    return {name: question.config[name] for name in (RUN, ATTEMPT, BASE, SERVER_ROUND)} if question.run else {}


def _for_the_ledger(question: Question, client: Client) -> dict[str, Mapping[str, Any]]:
    """What a fleet's server records before it counts an update."""
    about = _about(question)
    if not about:
        return {}
    paid = client.guard.paid(question.run, question.round)
    return {ABOUT: about, **({PAID: paid} if paid else {})}
