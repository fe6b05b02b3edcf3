"""What runs inside a Ray actor: one resident task that answers for many clients in one call."""

from __future__ import annotations

import ctypes
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from flwr.app import MessageType
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.compression.compress import NONE, codec, compress, promised_norm
from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.flower_compat.names import ErrorCode
from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.client.secagg.answering import answer_stage
from fedaffect.client.secagg.masks import Words
from fedaffect.client.secagg.secret_folder import SecretFolder
from fedaffect.client.state_store import StateFolder
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import Update
from fedaffect.client.wire import (
    ARRAYS,
    COMPRESSION,
    CONTROL,
    CONTROL_SUMS,
    DIVERGED,
    FOLD,
    NUM_EXAMPLES,
    SEED,
    SERVER_ROUND,
    SPLIT,
    SUMS,
    open_task,
    task_key,
    update_metrics,
)
from fedaffect.edge.errors import FedAffectError, TrainingError
from fedaffect.simulation.grid.cohorts import Cohorts

logger = logging.getLogger(__name__)

TaskKey: TypeAlias = tuple[str, str, str]
TaskOpener: TypeAlias = Callable[[TaskKey, str], ClientTask]
# What a client made of a round among others, if it trained with them.
Made: TypeAlias = Update | TrainingError | None

# Named as in malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


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
    def folds(self) -> bool:
        """Whether trained arrays are to be summed in the actor."""
        return self.kind == MessageType.TRAIN and bool(self.config.get(FOLD, False))


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
        The reply's array records, each as one vector; empty where they are folded.
    compressed : mapping of str to array, optional
        In place of the reply's arrays.
    masked : uint32 or uint16 array, optional
        A masked update, in place of metrics and arrays.
    payload : bytes, optional
        Another answer of secure aggregation.
    error : tuple of int and str, optional
        Flower's error code and the reason, where the client failed.
    """

    client: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    compressed: Mapping[str, NDArray[Any]] | None = None
    masked: Words | None = None
    payload: bytes | None = None
    error: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What all clients of a request share, worked out once."""

    vectors: Mapping[str, Tensor]
    train_config: TrainConfig
    # False before the first client of a run kept anything; a client trains only once a round.
    states_exist: bool


class ClientWorker:
    """Trains and evaluates whatever clients it is given.

    Parameters
    ----------
    state_folder : Path
        Where clients keep what they need in later rounds; shared by all workers.
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
        self._states = StateFolder(state_folder)
        self._secrets = SecretFolder(state_folder.with_name(f"{state_folder.name}-secagg"))
        self._task: tuple[TaskKey, ClientTask] | None = None
        self._prepared: OrderedDict[str, _Prepared] = OrderedDict()
        self._sums: dict[str, dict[str, FixedPointSum]] = {}
        self._cohorts = Cohorts(cohort_size) if cohort_size > 1 else None

    def run(self, request: Request, clients: Sequence[int]) -> tuple[list[Outcome], ArrayLayout | None]:
        """Answer for some clients, one after the other, or at once where that was asked for.

        Parameters
        ----------
        request : Request
        clients : sequence of int
            Partition ids.

        Returns
        -------
        outcomes : list of Outcome
            One a client; a client that fails says so and does not stop the others.
        layout : ArrayLayout, optional
            How to read the outcomes' vectors, where there are any.
        """
        outcomes = [self._guarded(request, client, made) for client, made in self._made_at_once(request, clients)]
        layout = self._task[1].layout if self._task and any(o.arrays for o in outcomes) else None
        return outcomes, layout

    def collect(self, key: str) -> dict[str, dict[str, NDArray[Any]]]:
        """Hand over the sums of a request and start anew.

        Returns
        -------
        dict of str to dict of str to NDArray
            ``sums`` and ``control_sums`` as :meth:`FixedPointSum.to_arrays`; empty where no client succeeded.
        """
        return {name: total.to_arrays() for name, total in self._sums.pop(key, {}).items()}

    def _made_at_once(self, request: Request, clients: Sequence[int]) -> Iterator[tuple[int, Made]]:
        """Updates of clients that trained at once, None for all others."""
        together = self._cohorts is not None and request.kind == MessageType.TRAIN and not request.personal
        prepared = self._openable(request) if together else None
        if self._cohorts is None or prepared is None:
            return iter([(client, None) for client in clients])
        task, shared = prepared
        round, seed = int(request.config[SERVER_ROUND]), int(request.config[SEED])
        return self._cohorts.answers(task, shared.vectors[ARRAYS], shared.train_config, clients, round, seed)

    def _openable(self, request: Request) -> tuple[ClientTask, _Prepared] | None:
        try:
            task = self._resident_task(task_key(request.config))
            return task, self._prepare(task.layout, request)
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
            reason = str(error) if isinstance(error, FedAffectError) else f"{type(error).__name__}: {error}"
            return Outcome(client, error=(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason))

    def _answer(self, request: Request, client: int, made: Made) -> Outcome:
        if request.kind == MessageType.QUERY and not request.config:
            return Outcome(client, {"partition-id": client})
        if client in request.personal:
            return self._answer_securely(request, client)
        task = self._resident_task(task_key(request.config))
        if request.kind == MessageType.QUERY:
            return Outcome(client, {"partition-id": client, NUM_EXAMPLES: len(task.cohort.rows_of(client))})
        if request.kind == MessageType.EVALUATE:
            return self._evaluate(task, request, client)
        return self._train(task, request, client, made)

    def _train(self, task: ClientTask, request: Request, client: int, made: Made) -> Outcome:
        update, compressed = self._trained(task, request, client, made)
        metrics = dict(update_metrics(update))
        if request.folds:
            self._fold(task.layout, request.key, update)
            return Outcome(client, metrics)
        if compressed is not None:
            return Outcome(client, metrics, compressed=compressed)
        vectors_out = {ARRAYS: update.weights, **update.extra}
        return Outcome(client, metrics, {name: vector.numpy() for name, vector in vectors_out.items()})

    def _trained(
        self, task: ClientTask, request: Request, client: int, made: Made = None
    ) -> tuple[Update, Mapping[str, NDArray[Any]] | None]:
        """The update, as it will be read back, and its arrays where it is to travel compressed."""
        prepared = self._prepare(task.layout, request)
        round, seed = int(request.config[SERVER_ROUND]), int(request.config[SEED])
        state = self._states.load(client, round) if prepared.states_exist else None
        if isinstance(made, TrainingError):
            raise made
        update = made or task.train(
            prepared.vectors[ARRAYS],
            prepared.train_config,
            client=client,
            round=round,
            seed=seed,
            state=state,
            server_control=prepared.vectors.get(CONTROL),
            # Where nothing of it leaves this process as it is, there is no need to copy it.
            copy=not request.folds and client not in request.personal,
        )
        arrays = None
        if chosen := codec(str(request.config.get(COMPRESSION, NONE))):
            smaller = compress(chosen, prepared.vectors[ARRAYS], update, state, client=client, round=round, seed=seed,
                               norm_bound=promised_norm(prepared.train_config.privacy))  # fmt: skip
            update, arrays = smaller.update, smaller.arrays
        # Before folding: a sum cannot be taken back if the disk is full.
        if update.state is not None:
            self._states.save(client, update.state)
        return update, arrays

    def _answer_securely(self, request: Request, client: int) -> Outcome:
        def trained() -> tuple[ArrayLayout, Tensor, Update]:
            task = self._resident_task(task_key(request.config))
            update, _ = self._trained(task, request, client)
            return task.layout, self._prepare(task.layout, request).vectors[ARRAYS], update

        answer = answer_stage(request.personal[client], self._secrets.load(client), trained)
        self._secrets.save(client, answer.memory)
        if answer.vector is not None:
            return Outcome(client, masked=answer.vector)
        return Outcome(client, payload=answer.payload)

    def _fold(self, layout: ArrayLayout, key: str, update: Update) -> None:
        if key not in self._sums:
            self._sums[key] = {SUMS: FixedPointSum(layout)}
        sums = self._sums[key]
        sums[SUMS].add(update.weights, update.counts)
        if CONTROL in update.extra:
            if CONTROL_SUMS not in sums:
                sums[CONTROL_SUMS] = FixedPointSum(layout)
            # Control variates are averaged over clients, not over examples.
            sums[CONTROL_SUMS].add(update.extra[CONTROL], {TRUNK: 1})

    def _evaluate(self, task: ClientTask, request: Request, client: int) -> Outcome:
        rows = task.rows_for(client, str(request.config.get(SPLIT, "train")))
        result = task.evaluate(self._prepare(task.layout, request).vectors[ARRAYS], rows)
        metrics = {
            NUM_EXAMPLES: len(rows),
            "loss": result.loss_sum / max(1, len(rows)),
            "confusion": [int(n) for n in result.confusion.reshape(-1)],
        }
        return Outcome(client, metrics)

    def _resident_task(self, key: TaskKey) -> ClientTask:
        if self._task is None or self._task[0] != key:
            self._task = None
            self._task = (key, self._opener(key, self._device))
            self._prepared.clear()
        return self._task[1]

    def _prepare(self, layout: ArrayLayout, request: Request) -> _Prepared:
        if request.key not in self._prepared:
            self._prepared[request.key] = _Prepared(
                {name: layout.flatten(named) for name, named in request.arrays.items()},
                TrainConfig.from_record(request.config),
                self._states.folder.is_dir(),
            )
            while len(self._prepared) > 2:
                self._prepared.popitem(last=False)
        return self._prepared[request.key]


def keep_freed_memory() -> None:
    """Keep freed memory in this process, where the C library can.

    glibc returns each freed block of some megabytes to the kernel, and touching a fresh one costs more than
    copying it; a worker frees and takes blocks of the model's size for every client.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
