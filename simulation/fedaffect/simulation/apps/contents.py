"""Contents of messages on their way to workers: what several have in common travels once."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, Metadata, MetricRecord, RecordDict

Record: TypeAlias = ArrayRecord | ConfigRecord | MetricRecord
# Records of a message by name: one of its own, or the place of one that others have too.
Parts: TypeAlias = tuple[tuple[str, Record | int], ...]

# An array's element, if it is no other than most.
_ELEMENT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """One client's message on its way to a worker.

    Parameters
    ----------
    client : int
        Partition id.
    metadata : Metadata
        The message's.
    parts : tuple of (str, record or int)
        Its content.
    context : Context, optional
        The client's, if it ever changed.
    """

    client: int
    metadata: Metadata
    parts: Parts
    context: Context | None

    def content(self, shared: Sequence[Record]) -> RecordDict:
        """The message's content: records of its own, whatever the client does to them.

        Parameters
        ----------
        shared : sequence of record
            What messages of this round have in common.
        """
        return RecordDict(
            {name: own_copy(shared[part]) if isinstance(part, int) else part for name, part in self.parts}
        )


def divide(messages: Iterable[Message]) -> tuple[list[Record], dict[int, Parts]]:
    """Tell records that several messages share from those of one alone.

    Parameters
    ----------
    messages : iterable of Message
        One a node.

    Returns
    -------
    shared : list of record
    parts : dict of int to Parts
        Each node's, by its id; the same object for messages of one content.
    """
    messages = list(messages)
    uses = Counter(id(record) for message in messages for record in message.content.values())
    places: dict[int, int] = {}
    shared: list[Record] = []
    made: dict[int, Parts] = {}
    parts: dict[int, Parts] = {}
    for message in messages:
        content = message.content
        if id(content) not in made:
            for record in content.values():
                if uses[id(record)] > 1 and id(record) not in places:
                    places[id(record)] = len(shared)
                    shared.append(record)
            made[id(content)] = tuple((name, places.get(id(record), record)) for name, record in content.items())
        parts[message.metadata.dst_node_id] = made[id(content)]
    return shared, parts


def own_copy(record: Record) -> Record:
    """A record that may be changed without changing another; bytes of arrays are not copied, as nobody can change them.

    Parameters
    ----------
    record : ArrayRecord, ConfigRecord or MetricRecord
    """
    if not isinstance(record, ArrayRecord):
        return copy.deepcopy(record)
    own = record.copy()
    for name, array in record.items():
        own[name] = copy.copy(array)
    return own


def content_bytes(records: Mapping[str, Record]) -> int:
    """About how many bytes its arrays take."""
    return sum(
        _ELEMENT_BYTES * math.prod(array.shape)
        for record in records.values()
        if isinstance(record, ArrayRecord)
        for array in record.values()
    )
