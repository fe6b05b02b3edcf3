"""A grid on which some clients send other updates than they learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import ARRAYS, CONFIG, PARTIAL_AGGREGATION, from_record, to_record
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.grid import GridCapabilities, Nodes, TrainingGrid
from fedaffect.simulation.attacks.registry import Campaign


class AttackedGrid:
    """A view of a grid: what malicious clients answer to train requests is tampered with on its way.

    They are never part of a sum with honest ones, so that each sends its own; all else is passed on.

    Parameters
    ----------
    grid : TrainingGrid
        The real one.
    campaign : Campaign
        Its attack changes updates.
    clients : int
        K.
    """

    def __init__(self, grid: TrainingGrid, campaign: Campaign, clients: int) -> None:
        self._grid = grid
        self._campaign = campaign
        nodes = Nodes.find(grid, clients)
        self._partitions: Mapping[int, int] = nodes.partitions
        self._malicious = set(nodes.of(campaign.malicious(clients)))

    @property
    def capabilities(self) -> GridCapabilities:
        """As the real grid's: it sums updates of honest clients where it can."""
        return self._grid.capabilities

    def partition_ids(self, clients: int) -> Mapping[int, int]:
        """Partition id by node id."""
        return self._partitions

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send messages and yield replies as they come.

        Parameters
        ----------
        messages : iterable of Message
        timeout : float, optional
            Seconds after which no more is waited for.
        """
        messages = list(messages)
        alone: dict[int, RecordDict] = {}
        starts: dict[int, ArrayRecord] = {}
        for message in messages:
            node = message.metadata.dst_node_id
            if node in self._malicious and message.metadata.message_type == MessageType.TRAIN:
                starts[node] = message.content.array_records[ARRAYS]
                if message.content.config_records[CONFIG].get(PARTIAL_AGGREGATION):
                    message.content = _alone(message.content, alone)
        for reply in self._grid.stream(messages, timeout=timeout):
            node = reply.metadata.src_node_id
            if node in starts and reply.has_content():
                self._tamper(reply, starts[node])
            yield reply

    def _tamper(self, reply: Message, start: ArrayRecord) -> None:
        tamper = self._campaign.attack.tamper
        if tamper is not None:
            if ARRAYS not in reply.content.array_records:
                raise ConfigError("a malicious client's update came in a form that this attack cannot change")
            record = reply.content.array_records[ARRAYS]
            layout = ArrayLayout(tuple(record), tuple(tuple(array.shape) for array in record.values()))
            began = ArrayRecord({name: start[name] for name in record})
            sent = tamper(from_record(layout, began), from_record(layout, record), self._campaign.options)
            reply.content[ARRAYS] = to_record(layout, sent)

    def get_node_ids(self) -> Iterable[int]:
        """Passed on."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Passed on; what is pushed and pulled is not tampered with."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Passed on."""
        return self._grid.pull_messages(message_ids)


def _alone(content: RecordDict, made: dict[int, RecordDict]) -> RecordDict:
    """The content without partial aggregation; one for all messages that share one: grids tell requests apart by it."""
    if id(content) not in made:
        config = ConfigRecord({**content.config_records[CONFIG], PARTIAL_AGGREGATION: False})
        made[id(content)] = RecordDict({**dict(content), CONFIG: config})
    return made[id(content)]
