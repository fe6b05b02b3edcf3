"""A grid on which some clients send other updates than they learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedaffect.client.flower_compat.names import Run
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import ARRAYS, CONFIG, FOLD, from_record, to_record
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.transport import Nodes, replies
from fedaffect.simulation.attacks.registry import Campaign


class AttackedGrid(Grid):
    """A view of a grid: what malicious clients answer to train requests is tampered with on its way.

    They are never folded into a sum with honest ones, so that each sends its own; all else is passed on.

    Parameters
    ----------
    grid : Grid
        The real one.
    campaign : Campaign
        Its attack changes updates.
    clients : int
        K.
    """

    def __init__(self, grid: Grid, campaign: Campaign, clients: int) -> None:
        self._grid = grid
        self._campaign = campaign
        nodes = Nodes.find(grid, clients)
        self._partitions: Mapping[int, int] = nodes.partitions
        self._malicious = set(nodes.of(campaign.malicious(clients)))

    @property
    def folds(self) -> bool:
        """Whether the real grid sums updates of honest clients."""
        return bool(getattr(self._grid, "folds", False))

    @property
    def keeps_client_states(self) -> bool:
        """As the real grid."""
        return bool(getattr(self._grid, "keeps_client_states", False))

    def partition_ids(self) -> Mapping[int, int]:
        """Partition id by node id."""
        return self._partitions

    def stream(self, messages: Iterable[Message], *, timeout: float) -> Iterator[Message]:
        """Send messages and yield replies as they come.

        Parameters
        ----------
        messages : iterable of Message
        timeout : float
            Seconds after which no more is waited for.
        """
        messages = list(messages)
        unfolded: dict[int, RecordDict] = {}
        starts: dict[int, ArrayRecord] = {}
        for message in messages:
            node = message.metadata.dst_node_id
            if node in self._malicious and message.metadata.message_type == MessageType.TRAIN:
                starts[node] = message.content.array_records[ARRAYS]
                if message.content.config_records[CONFIG].get(FOLD):
                    message.content = _alone(message.content, unfolded)
        for reply in replies(self._grid, messages, timeout):
            node = reply.metadata.src_node_id
            if node in starts and reply.has_content():
                self._tamper(reply, starts[node])
            yield reply

    def _tamper(self, reply: Message, start: ArrayRecord) -> None:
        tamper = self._campaign.attack.tamper
        if tamper is not None:
            if ARRAYS not in reply.content.array_records:
                raise ConfigError("a malicious client's update came in a form that this attack cannot change")
            layout = ArrayLayout(tuple(start), tuple(tuple(array.shape) for array in start.values()))
            trained = from_record(layout, reply.content.array_records[ARRAYS])
            sent = tamper(from_record(layout, start), trained, self._campaign.options)
            reply.content[ARRAYS] = to_record(layout, sent)

    def set_run(self, run: Run) -> None:
        """Passed on."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The real grid's run."""
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Passed on."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Passed on."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Passed on; what is pushed and pulled is not tampered with."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Passed on."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages and wait for all replies."""
        return list(self.stream(messages, timeout=timeout if timeout is not None else float("inf")))


def _alone(content: RecordDict, made: dict[int, RecordDict]) -> RecordDict:
    """The same content without folding; one for all messages that share one, as grids tell requests apart by it."""
    if id(content) not in made:
        config = ConfigRecord({**content.config_records[CONFIG], FOLD: False})
        made[id(content)] = RecordDict({**dict(content), CONFIG: config})
    return made[id(content)]
