"""Takes Flower's tasks from the device's own SuperNode and answers them in this process.

Flower's SuperNode in its isolation mode ``process`` leaves the running of apps to a process beside it. Flower's own
one, the SuperExec, starts a program for every message, which unpacks the app that the server sent and imports it.
This one answers with what is installed on the device: a message costs milliseconds instead of a process, and no code
that a server sends ever runs here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx
from flwr.app import Context, Error, Message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import context_from_proto
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, pull_and_inflate_object_from_tree
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.runtime.run_clientapp import push_message, push_task_output

from fedaffect.client.device.object_chunks import MISSING_AT_MOST_S, MISSING_S
from fedaffect.edge.errors import FedAffectError

logger = logging.getLogger(__name__)

Answer = Callable[[Message, Context], Message]

_ACQUIRE: Final = frozenset({"/flwr.proto.Runtime/AcquireTask"})
# Where the SuperNode does not hold the question for a task until there is one, as ours does.
_BUSY_S, _IDLE_S = 0.05, 0.5
_HELD_S: Final = 0.5
_AWAKE_S: Final = 60.0
# Flower gives a task up after twice its interval of 30 s.
_BEAT_S: Final = 15.0
# A message comes as fast as the device's network is. That of a run that ended under way never comes whole, and Flower
# leaves its task open.
_ARRIVAL_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Task:
    """One message to be answered, and as whom."""

    number: int
    message: Message
    context: Context


class Executor:
    """Answers a SuperNode's tasks: their messages are waited for side by side, and answered one after the other.

    Parameters
    ----------
    address : str
        ``HOST:PORT`` of the SuperNode's Runtime API, on this machine.
    secret : bytes
        That it shares with the SuperNode: no other user of the machine gets a task.
    answer : callable
        What answers messages.
    """

    def __init__(self, address: str, secret: bytes, answer: Answer) -> None:
        self._address = address
        self._secret = secret
        self._answer = answer
        self._stop = threading.Event()
        self._answering = threading.Lock()

    def stop(self) -> None:
        """Have :meth:`run` end after the task at hand."""
        self._stop.set()

    def run(self) -> None:
        """Work until stopped; a SuperNode that is away is waited for."""
        auth = SuperExecAuthHttpInterceptor(master_secret=self._secret, protected_methods=_ACQUIRE)
        client = self._client(RuntimeVersionHttpInterceptor(component_name="SuperExec"), auth)
        busy = time.monotonic()
        try:
            while not self._stop.is_set():
                asked = time.monotonic()
                token = _token(client)
                if token:
                    threading.Thread(target=self._execute, args=(token,), name="task", daemon=True).start()
                    busy = time.monotonic()
                elif time.monotonic() - asked < _HELD_S:
                    awake = time.monotonic() - busy < _AWAKE_S
                    self._stop.wait(_BUSY_S if awake else _IDLE_S)
        finally:
            client.close()

    def _client(self, *interceptors: Any) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            server_address=self._address,
            insecure=True,
            root_certificates=None,
            interceptors=list(interceptors),
        )

    def _execute(self, token: str) -> None:
        """One task, from its message to its reply."""
        client = self._client(
            RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"), RuntimeTokenHttpInterceptor(token)
        )
        over = threading.Event()
        threading.Thread(target=_beat, args=(client, over), name="heartbeat", daemon=True).start()
        try:
            task = _pulled(client)
            with self._answering:
                # A reply takes its sender from here.
                TaskIdentity.task_id = task.number
                TaskIdentity.run_id, TaskIdentity.node_id = task.context.run_id, task.context.node_id
                reply, details = self._answered(task.message, task.context)
                push_message(client, reply, task.context)
                status = SubStatus.FAILED if details else SubStatus.COMPLETED
                push_task_output(client, task.context, status, details)
        except (httpx.HTTPError, RuntimeError, ObjectPullError) as error:
            # The SuperNode ended, or the run did; the server asks again where it still wants an answer.
            logger.warning("a task could not be finished: %s", error)
        finally:
            over.set()
            client.close()

    def _answered(self, message: Message, context: Context) -> tuple[Message, str]:
        try:
            return self._answer(message, context), ""
        except (FedAffectError, ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
            logger.exception("a %s message could not be answered", message.metadata.message_type)
            why = f"{type(error).__name__}: {error}"
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, why), reply_to=message), why


def _pulled(client: RuntimeHttpClient) -> _Task:
    """What a task consists of, once its message is there as a whole."""
    given = client.PullTaskInput(PullTaskInputRequest())
    context = context_from_proto(given.context)
    waiting = client.PullMessages(PullAppMessagesRequest())
    if not waiting.messages_list:
        raise RuntimeError("the task's message is gone")
    tree, node = waiting.message_object_trees[0], Node(node_id=context.node_id)
    message: Message = pull_and_inflate_object_from_tree(
        tree,
        make_pull_object_fn_protobuf(client.PullObject, node, context.run_id),
        make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, node, context.run_id),
        return_type=Message,
        max_time=_ARRIVAL_S,
        max_tries_per_object=None,
        initial_backoff=MISSING_S,
        backoff_cap=MISSING_AT_MOST_S,
    )
    # It is no part of what is sent: the root of the tree is the message's own id.
    message.metadata.__dict__["_message_id"] = tree.object_id
    return _Task(given.task_id, message, context)


def _beat(client: RuntimeHttpClient, over: threading.Event) -> None:
    """Say that the task is still worked on; Flower's own sender would end this process where its run is over."""
    while not over.wait(_BEAT_S):
        try:
            client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
        except (httpx.HTTPError, RuntimeError) as error:
            logger.debug("a heartbeat was not taken: %s", error)


def _token(client: RuntimeHttpClient) -> str:
    """Of a task that waits; empty where none does, or the SuperNode is away."""
    try:
        reply = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
    except (httpx.HTTPError, RuntimeError) as error:
        # It is starting, or was killed and starts anew.
        logger.debug("no task: %s", error)
        return ""
    return str(reply.token) if reply.HasField("task") else ""
