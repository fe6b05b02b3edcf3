"""Flower's Runtime API, as the process that runs apps beside a SuperNode speaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx
from flwr.app import Context, Message
from flwr.common.constant import SubStatus
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
from flwr.supernode.runtime.run_clientapp import push_message, push_task_output

from fedaffect.client.flower_compat.names import act_as
from fedaffect.client.flower_compat.object_chunks import WAITS

# The SuperNode ended, or the run did.
TASK_ERRORS: Final = (httpx.HTTPError, RuntimeError, ObjectPullError)

_ACQUIRE: Final = frozenset({"/flwr.proto.Runtime/AcquireTask"})
# A message comes as fast as the device's network is. That of a run that ended under way never comes whole, and Flower
# leaves its task open.
_MESSAGE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Task:
    """One message to be answered, and as whom."""

    number: int
    message: Message
    context: Context

    def act_as_its_node(self) -> None:
        """Have replies that this process makes come from the task's node."""
        act_as(self.context.run_id, self.context.node_id, self.number)


class TaskQueue:
    """Where a SuperNode's tasks are acquired.

    Parameters
    ----------
    address : str
        ``HOST:PORT`` of the SuperNode's Runtime API, on this machine.
    secret : bytes
        Shared with the SuperNode: no other user of the machine gets a task.
    """

    def __init__(self, address: str, secret: bytes) -> None:
        self._address = address
        auth = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=_ACQUIRE)
        self._client = _client(address, RuntimeVersionHttpInterceptor(component_name="SuperExec"), auth)

    def acquire(self) -> TaskClient | None:
        """The next task; None where none waits.

        Raises
        ------
        httpx.HTTPError or RuntimeError
            If the SuperNode is away.
        """
        reply = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
        return TaskClient(self._address, str(reply.token)) if reply.HasField("task") else None

    def close(self) -> None:
        """Hang up."""
        self._client.close()


class TaskClient:
    """One acquired task; methods raise :data:`TASK_ERRORS`.

    Parameters
    ----------
    address : str
        As of :class:`TaskQueue`.
    token : str
        What the SuperNode gave out with the task.
    """

    def __init__(self, address: str, token: str) -> None:
        version = RuntimeVersionHttpInterceptor(component_name="flwr-clientapp")
        self._client = _client(address, version, RuntimeTokenHttpInterceptor(token))

    def pull(self) -> Task:
        """What the task consists of, once its message is there as a whole."""
        given = self._client.PullTaskInput(PullTaskInputRequest())
        context = context_from_proto(given.context)
        waiting = self._client.PullMessages(PullAppMessagesRequest())
        if not waiting.messages_list:
            raise RuntimeError("the task's message is gone")
        tree, node = waiting.message_object_trees[0], Node(node_id=context.node_id)
        message: Message = pull_and_inflate_object_from_tree(
            tree,
            make_pull_object_fn_protobuf(self._client.PullObject, node, context.run_id),
            make_confirm_message_received_fn_protobuf(self._client.ConfirmMessageReceived, node, context.run_id),
            return_type=Message,
            max_time=_MESSAGE_S,
            max_tries_per_object=None,
            **WAITS,
        )
        # It is no part of what is sent: the root of the tree is the message's own id.
        message.metadata.__dict__["_message_id"] = tree.object_id
        return Task(given.task_id, message, context)

    def push(self, task: Task, reply: Message, failure: str) -> None:
        """Hand in the reply; ``failure`` says why there is no other, and is empty where all went well."""
        push_message(self._client, reply, task.context)
        status = SubStatus.FAILED if failure else SubStatus.COMPLETED
        push_task_output(self._client, task.context, status, failure)

    def heartbeat(self) -> None:
        """Say that the task is still worked on."""
        self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def _client(address: str, *interceptors: Any) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        server_address=address, insecure=True, root_certificates=None, interceptors=list(interceptors)
    )
