"""What runs inside a Ray actor: one resident task that answers for many clients in one call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import torch
from cachetools import FIFOCache
from flwr.app import MessageType
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.answering import Client, Question, answer
from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.flower_compat.names import ErrorCode
from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.client.secagg.masks import Words
from fedaffect.client.secagg.secret_folder import SecretFolder
from fedaffect.client.state_store import StateFolder
from fedaffect.client.task import ClientTask
from fedaffect.client.update import ClientState, Update
from fedaffect.client.wire import ARRAYS, CONTROL, CONTROL_SUMS, DIVERGED, SUMS, open_task, task_key
from fedaffect.edge.errors import FedAffectError, TrainingError
from fedaffect.edge.system.own_code import said_of
from fedaffect.simulation.grid.cohorts import Cohorts
from fedaffect.simulation.grid.freed_memory import keep_freed_memory
from fedaffect.simulation.grid.greeting import Greeting, Hello, answer_greeting
from fedaffect.simulation.grid.kept import KeptFiles, KeptFolders
from fedaffect.simulation.grid.parcel import Parcel, unpack

logger = logging.getLogger(__name__)

TaskKey: TypeAlias = tuple[str, str, str]
TaskOpener: TypeAlias = Callable[[TaskKey, str], ClientTask]
# What a client made of a round among others, if it trained with them.
Made: TypeAlias = Update | TrainingError | None


@dataclass(frozen=True, slots=True)
class Request:
    """What all messages of a round have in common; put into Ray's object store once.

    Parameters
    ----------
    key : str
        Names this request; unique within a grid.
    kind : str
        Flower's message type.
    config : mapping
        The messages' config record.
    arrays : mapping of str to mapping of str to NDArray
        Array records by name: ``arrays``, and ``control`` where a strategy sends one.
    personal : mapping of int to mapping
        By partition id, the record of secure aggregation that each message has for itself.
    """

    key: str
    kind: str
    config: Mapping[str, Any]
    arrays: Mapping[str, Mapping[str, NDArray[Any]]]
    personal: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def question(self) -> Question:
        """What every client is asked."""
        return Question(self.kind, self.config, self.arrays)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One client's answer on its way out of an actor.

    Parameters
    ----------
    client : int
        Partition id.
    metrics : mapping
        The reply's metric record.
    arrays : mapping of str to float32 array, shape (P,)
        The reply's array records, each as one vector; empty where they are summed in the actor.
    compressed : mapping of str to array, optional
        In place of the reply's arrays.
    masked : uint32 or uint16 array, optional
        A masked update, in place of metrics and arrays.
    payload : bytes, optional
        Another answer of secure aggregation.
    error : tuple of int and str, optional
        Flower's error code and the reason, where the client failed.
    kept : pair of bytes, optional
        What the client keeps from now on, where its worker does not see the server's folders.
    """

    client: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    compressed: Mapping[str, NDArray[Any]] | None = None
    masked: Words | None = None
    payload: bytes | None = None
    error: tuple[int, str] | None = None
    kept: KeptFiles | None = None


@dataclass(frozen=True, slots=True)
class _FolderMemory:
    """What one client keeps, in folders that all workers share."""

    states: StateFolder
    secret_folder: SecretFolder
    client: int
    # False before the first client of a run kept anything; a client trains only once a round.
    any_states: bool

    def state_before(self, round: int) -> ClientState | None:
        """The newest state that an earlier round left."""
        return self.states.load(self.client, round) if self.any_states else None

    def keep_state(self, state: ClientState) -> None:
        """Keep a state for later rounds."""
        self.states.save(self.client, state)

    def secrets(self) -> bytes | None:
        """What the last message of a secure sum left."""
        return self.secret_folder.load(self.client)

    def keep_secrets(self, memory: bytes) -> None:
        """Keep what the next message of a secure sum needs."""
        self.secret_folder.save(self.client, memory)


class ClientWorker:
    """Trains and evaluates whatever clients it is given.

    Parameters
    ----------
    state_folder : Path
        Where clients keep what they need in later rounds; shared by all workers of the server's machine.
    device : str
        Where to compute.
    opener : callable
        Makes the resident task; :func:`fedaffect.client.wire.open_task` but in tests.
    cohort_size : int
        Clients that train at once; with 1, one after the other.
    """

    def __init__(
        self, state_folder: Path, device: str = "cpu", opener: TaskOpener = open_task, cohort_size: int = 1
    ) -> None:
        # One thread: the same sums in the same order whatever the number of cores or actors.
        torch.set_num_threads(1)
        keep_freed_memory()
        self._device = device
        self._opener = opener
        self._kept = KeptFolders.at(state_folder)
        # Where this worker does not see the server's folders: its own, and where the cohort lies here.
        self._apart: TemporaryDirectory[str] | None = None
        self._places: dict[str, str] = {}
        self._task: tuple[TaskKey, ClientTask] | None = None
        # Of the vectors in the last answers.
        self._layout: ArrayLayout | None = None
        # By request, whether any client had kept a state when it came.
        self._questions: FIFOCache[str, tuple[Question, bool]] = FIFOCache(2)
        self._sums: dict[str, dict[str, FixedPointSum]] = {}
        self._cohorts = Cohorts(cohort_size) if cohort_size > 1 else None

    def greet(self, greeting: Greeting) -> Hello:
        """Say where this worker runs and what it sees there of the server's files."""
        return answer_greeting(greeting)

    def settle(self, cohort: Path, parcel: Parcel | None, apart: bool) -> None:
        """Make ready for work away from the server's machine.

        Parameters
        ----------
        cohort : Path
            Where the cohort lies on the server's machine.
        parcel : Parcel, optional
            It, where this machine does not see it.
        apart : bool
            Whether what clients keep comes and goes with each call.
        """
        if parcel is not None:
            self._places[str(cohort)] = str(unpack(parcel))
        if apart:
            self._apart = TemporaryDirectory(prefix="fedaffect-kept-")
            self._kept = KeptFolders.at(Path(self._apart.name) / "states")
            self._kept.states.folder.mkdir()

    def run(
        self, request: Request, clients: Sequence[int], kept: Mapping[int, KeptFiles] | None = None
    ) -> tuple[list[Outcome], ArrayLayout | None]:
        """Answer for some clients, one after the other, or at once where that was asked for.

        Parameters
        ----------
        request : Request
        clients : sequence of int
            Partition ids.
        kept : mapping of int to pair of bytes, optional
            What they have kept, where this worker does not see it.

        Returns
        -------
        outcomes : list of Outcome
            One a client; a client that fails says so and does not stop the others.
        layout : ArrayLayout, optional
            How to read the outcomes' vectors, where there are any.
        """
        if kept:
            self._kept.write(kept)
        outcomes = [self._guarded(request, client, made) for client, made in self._made_at_once(request, clients)]
        if self._apart is not None:
            outcomes = [replace(outcome, kept=self._kept.take(outcome.client)) for outcome in outcomes]
        return outcomes, self._layout if any(o.arrays for o in outcomes) else None

    def collect(self, key: str) -> dict[str, dict[str, NDArray[Any]]]:
        """Hand over the sums of a request and start again.

        Returns
        -------
        dict of str to dict of str to NDArray
            ``sums`` and ``control_sums`` as :meth:`FixedPointSum.to_arrays`; empty where no client succeeded.
        """
        return {name: total.to_arrays() for name, total in self._sums.pop(key, {}).items()}

    def _made_at_once(self, request: Request, clients: Sequence[int]) -> Iterator[tuple[int, Made]]:
        """Updates of clients that trained at once, None for all others."""
        together = self._cohorts is not None and request.kind == MessageType.TRAIN and not request.personal
        opened = self._opened(request) if together else None
        if self._cohorts is None or opened is None:
            return iter([(client, None) for client in clients])
        task, question, start = opened
        return self._cohorts.answers(task, start, question.train_config, clients, question.round, question.seed)

    def _opened(self, request: Request) -> tuple[ClientTask, Question, Tensor] | None:
        try:
            task = self._resident_task(request.config)
            question, _ = self._asked(request)
            return task, question, question.vector(task)
        except Exception:
            # Each client will say so for itself.
            logger.debug("nothing to train at once", exc_info=True)
            return None

    def _guarded(self, request: Request, client: int, made: Made) -> Outcome:
        try:
            return self._answer(request, client, made)
        except TrainingError as error:
            return Outcome(client, error=(DIVERGED, str(error)))
        except Exception as error:
            # Whatever a client's code raises is that client's failure, not the run's.
            logger.exception("client %d failed", client)
            reason = str(error) if isinstance(error, FedAffectError) else said_of(error)
            return Outcome(client, error=(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason))

    def _answer(self, request: Request, number: int, made: Made) -> Outcome:
        question, any_states = self._asked(request)
        client = Client(
            number,
            lambda config: (self._resident_task(config), number),
            _FolderMemory(self._kept.states, self._kept.secrets, number, any_states),
            made=made,
        )
        given = answer(question, client, request.personal.get(number))
        if given.payload is not None or given.masked is not None:
            return Outcome(number, payload=given.payload, masked=given.masked)
        if given.update is None or given.layout is None:
            return Outcome(number, given.metrics)
        if question.partial_aggregation:
            self._add(given.layout, request.key, given.update)
            return Outcome(number, given.metrics)
        if given.compressed is not None:
            return Outcome(number, given.metrics, compressed=given.compressed)
        self._layout = given.layout
        vectors = {ARRAYS: given.update.weights, **given.update.extra}
        return Outcome(number, given.metrics, {name: vector.numpy() for name, vector in vectors.items()})

    def _add(self, layout: ArrayLayout, key: str, update: Update) -> None:
        """Add an update to the sums of its request."""
        if key not in self._sums:
            self._sums[key] = {SUMS: FixedPointSum(layout)}
        sums = self._sums[key]
        sums[SUMS].add(update.weights, update.counts)
        if CONTROL in update.extra:
            if CONTROL_SUMS not in sums:
                sums[CONTROL_SUMS] = FixedPointSum(layout)
            # Control variates are averaged over clients, not over examples.
            sums[CONTROL_SUMS].add(update.extra[CONTROL], {TRUNK: 1})

    def _resident_task(self, config: Mapping[str, Any]) -> ClientTask:
        key = task_key(config)
        if self._task is None or self._task[0] != key:
            self._task = None
            cohort, model, options = key
            self._task = (key, self._opener((self._places.get(cohort, cohort), model, options), self._device))
        return self._task[1]

    def _asked(self, request: Request) -> tuple[Question, bool]:
        if request.key not in self._questions:
            self._questions[request.key] = (request.question, self._kept.states.folder.is_dir())
        return self._questions[request.key]
