"""A grid that runs the real client app in this process, one client after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import uuid4

from flwr.app import Context, Error, Message, MessageType, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from client.app import app

Fault = Callable[[int, Message], None]


class InProcessGrid(Grid):
    """Clients with random-looking node ids that answer when they are asked for their replies.

    Parameters
    ----------
    clients : int
    contexts : dict, optional
        What devices remember; handing it to another grid stands for devices that outlive the server.
    fault : callable, optional
        Called with the partition id and the message before a client trains; what it raises, the client raises.
    """

    keeps_client_states = True

    def __init__(self, clients: int, contexts: dict[int, Context] | None = None, fault: Fault | None = None) -> None:
        # Neither in the order of partitions nor close to each other, as in a fleet.
        self.nodes = {1000 + 7919 * (k * 7 % clients + k * clients): k for k in range(clients)}
        self.contexts = {} if contexts is None else contexts
        self.fault = fault
        self.waiting: dict[str, Message] = {}
        self.pushed: list[Message] = []
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        return Run.create_empty(1)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(uuid4())
            self.waiting[message.metadata.message_id] = message
            self.pushed.append(message)
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._answer(self.waiting.pop(i)) for i in message_ids if i in self.waiting]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        partition = self.nodes[message.metadata.dst_node_id]
        context = self.contexts.setdefault(
            partition,
            Context(
                run_id=1,
                node_id=message.metadata.dst_node_id,
                node_config={"partition-id": partition},
                state=RecordDict(),
                run_config={},
            ),
        )
        try:
            if self.fault is not None and message.metadata.message_type == MessageType.TRAIN:
                self.fault(partition, message)
            return app(message, context)
        except RuntimeError as error:
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=message)
