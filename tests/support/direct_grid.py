"""A grid that answers in this process, one client after the other, with what answers on a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from uuid import uuid4

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedaffect.client.flower_messages import answer_message
from fedaffect.server.federation.flower_grid import FlowerGrid
from fedaffect.server.federation.grid import GridCapabilities


class DirectGrid(Grid):
    """Clients whose node ids are their partitions plus one.

    Parameters
    ----------
    clients : int
    """

    capabilities = GridCapabilities(keeps_client_states=True)

    def __init__(self, clients: int) -> None:
        self.nodes = {k + 1: k for k in range(clients)}
        self.contexts: dict[int, Context] = {}
        self.waiting: dict[str, Message] = {}
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1

    def set_run(self, run: Run) -> None:
        """Nothing to set."""

    @property
    def run(self) -> Run:
        """None in particular."""
        return Run.create_empty(1)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """All of them."""
        return list(self.nodes)

    def partition_ids(self, clients: int) -> Mapping[int, int]:
        """As the clients say."""
        return FlowerGrid(self).partition_ids(clients)

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Answers as they are asked for."""
        return FlowerGrid(self).stream(messages, timeout=timeout)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Keep messages until their replies are asked for."""
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(uuid4())
            self.waiting[message.metadata.message_id] = message
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Answer them."""
        return [self._answer(self.waiting.pop(i)) for i in message_ids if i in self.waiting]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Both."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        partition = self.nodes[node]
        empty = Context(
            run_id=1, node_id=node, node_config={"partition-id": partition}, state=RecordDict(), run_config={}
        )
        return self.reply(partition, message, self.contexts.setdefault(partition, empty))

    def reply(self, partition: int, message: Message, context: Context) -> Message:
        """What a client answers.

        Parameters
        ----------
        partition : int
            Which client.
        message : Message
        context : Context
            What it remembers.
        """
        return answer_message(message, context)
