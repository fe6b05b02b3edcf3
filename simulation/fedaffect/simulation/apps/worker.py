"""What runs inside a Ray actor: one resident ClientApp that answers for many nodes in one call."""

from __future__ import annotations

import copy
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import ray
from cachetools import FIFOCache
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.client_app import LoadClientAppError
from ray import ObjectRef

from fedaffect.client.flower_compat.names import ErrorCode
from fedaffect.edge.system.own_code import said_of
from fedaffect.simulation.apps.contents import Asked, Record
from fedaffect.simulation.grid.freed_memory import keep_freed_memory
from fedaffect.simulation.grid.greeting import Greeting, Hello, answer_greeting

# A round's training and its evaluation may be under way at once.
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for all nodes of a run.

    Parameters
    ----------
    run_id : int
    run_config : mapping
        What ``context.run_config`` holds.
    nodes : int
        How many there are: ``num-partitions``.
    """

    run_id: int
    run_config: dict[str, Any]
    nodes: int

    def context(self, client: int) -> Context:
        """A node's context before it kept anything."""
        node_config: dict[str, Any] = {"partition-id": client, "num-partitions": self.nodes}
        return Context(self.run_id, client + 1, node_config, RecordDict(), dict(self.run_config))


@dataclass(frozen=True, slots=True)
class Answer:
    """One client's answer on its way out of an actor.

    Parameters
    ----------
    client : int
        Partition id.
    reply : Message, optional
        None where the client failed.
    context : Context, optional
        What the client keeps from now on, if that is not what it kept before.
    error : tuple of int and str, optional
        Flower's error code and the reason, where the client failed.
    trace : str
        The traceback of what it raised.
    seconds : float
        That it took.
    """

    client: int
    reply: Message | None = None
    context: Context | None = None
    error: tuple[int, str] | None = None
    trace: str = ""
    seconds: float = 0.0


class AppWorker:
    """Calls a ClientApp for whatever nodes it is given.

    Parameters
    ----------
    paths : sequence of str
        Where the server's process finds modules.
    gpus : float
        GPUs that Ray has reserved; without any, the app sees none.
    gpu_growth : bool
        Have TensorFlow take memory of a GPU as it needs it.
    """

    def __init__(self, paths: Sequence[str], gpus: float, gpu_growth: bool) -> None:
        sys.path += [path for path in paths if path not in sys.path]
        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        if gpu_growth:
            let_gpu_memory_grow()
        keep_freed_memory()
        self._app: ClientApp | None = None
        self._setting: Setting | None = None
        self._rounds: FIFOCache[str, Sequence[Record]] = FIFOCache(_ROUNDS)

    def greet(self, greeting: Greeting) -> Hello:
        """Say where this worker runs."""
        return answer_greeting(greeting)

    def load(self, app: ClientApp, setting: Setting) -> None:
        """Be ready to call an app; apart from the constructor, since its modules are found only after that."""
        self._app, self._setting = app, setting

    def run(self, key: str, shared: list[ObjectRef[Any]], asked: Sequence[Asked]) -> tuple[list[Answer], None]:
        """Answer for some clients, one after the other.

        Parameters
        ----------
        key : str
            Of the round that their messages belong to.
        shared : list of ObjectRef
            One, of what the round's messages have in common; in a list, so that it is fetched once a round.
        asked : sequence of Asked

        Returns
        -------
        answers : list of Answer
            One a client; a client that fails says so and does not stop the others.
        layout : None
            There are no vectors in them.
        """
        if key not in self._rounds:
            self._rounds[key] = ray.get(shared[0])
        return [self._answer(one, self._rounds[key]) for one in asked], None

    def _answer(self, asked: Asked, shared: Sequence[Record]) -> Answer:
        if self._app is None or self._setting is None:
            raise RuntimeError("asked before an app was loaded")
        began = time.perf_counter()
        context = asked.context or self._setting.context(asked.client)
        # With the same bytes, so that comparing them costs nothing.
        before = copy.deepcopy(context)
        message = Message(metadata=asked.metadata, content=asked.content(shared))  # type: ignore[call-overload]
        message.metadata.delivered_at = datetime.now(UTC).isoformat()
        try:
            reply = self._app(message, context)
        except Exception as error:  # noqa: BLE001 - whatever an app raises is its client's failure, not the run's
            load = isinstance(error, LoadClientAppError)
            code = ErrorCode.LOAD_CLIENT_APP_EXCEPTION if load else ErrorCode.CLIENT_APP_RAISED_EXCEPTION
            return _failure(asked, code, said_of(error), began, traceback.format_exc())
        if context.run_config != self._setting.run_config:
            return _failure(asked, ErrorCode.UNKNOWN, "the app changed context.run_config; use context.state", began)
        if not isinstance(reply, Message) or reply.metadata.reply_to_message_id != asked.metadata.message_id:
            what = type(reply).__name__
            reason = f"the app returned no reply ({what}) to its message; return Message(content, reply_to=message)"
            return _failure(asked, ErrorCode.UNKNOWN, reason, began)
        kept = None if context == before else context
        return Answer(asked.client, reply, kept, seconds=time.perf_counter() - began)


def _failure(asked: Asked, code: int, reason: str, began: float, trace: str = "") -> Answer:
    return Answer(asked.client, error=(code, reason), trace=trace, seconds=time.perf_counter() - began)


def let_gpu_memory_grow() -> None:
    """Have TensorFlow take memory of a GPU as it needs it, in this process."""
    # Here, not above: it brings a SuperLink with its database.
    from flwr.simulation.ray_transport.utils import enable_tf_gpu_growth

    enable_tf_gpu_growth()
