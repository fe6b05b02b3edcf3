"""A grid that runs the real client app in this process, one client after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flwr.app import Context, Error, Message, MessageType
from flwr.common.constant import ErrorCode
from flwr.supercore.run import Run
from tests.support.direct_grid import DirectGrid

from fedaffect.client.app import app

Fault = Callable[[int, Message], None]


class InProcessGrid(DirectGrid):
    """Clients with random-looking node ids that answer when they are asked for their replies.

    Parameters
    ----------
    clients : int
    contexts : dict, optional
        What devices remember; handing it to another grid stands for devices that outlive the server.
    fault : callable, optional
        Called with the partition id and the message before a client trains; what it raises, the client raises.
    """

    def __init__(self, clients: int, contexts: dict[int, Context] | None = None, fault: Fault | None = None) -> None:
        super().__init__(clients)
        # Neither in the order of partitions nor close to each other, as in a fleet.
        self.nodes = {1000 + 7919 * (k * 7 % clients + k * clients): k for k in range(clients)}
        if contexts is not None:
            self.contexts = contexts
        self.fault = fault
        self.pushed: list[Message] = []

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        self.pushed += messages
        return super().push_messages(messages)

    def reply(self, partition: int, message: Message, context: Context) -> Message:
        try:
            if self.fault is not None and message.metadata.message_type == MessageType.TRAIN:
                self.fault(partition, message)
            return app(message, context)
        except RuntimeError as error:
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=message)
