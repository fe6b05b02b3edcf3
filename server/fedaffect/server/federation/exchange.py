"""What a round sends to its clients, and what reads their replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flwr.app import ConfigRecord, Message
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fedaffect.client.compression.codecs import Codec
from fedaffect.client.flower_compat.records import wire_bytes
from fedaffect.client.shared_part import SharedPart
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.wire import COMPRESSION, PARTIAL_AGGREGATION, named_to_record, pack
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.grid import Nodes
from fedaffect.server.federation.memory_array import memory_record
from fedaffect.server.federation.privacy.mechanism import PrivacyMechanism
from fedaffect.server.federation.robustness.reply_validation import UpdateValidator
from fedaffect.server.federation.round_ledger import RoundLedger
from fedaffect.server.federation.strategies.flower import ChosenNodes, quiet_flower


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Makes a round's requests, and opens what takes the replies.

    Parameters
    ----------
    strategy : Strategy
        Writes the messages.
    nodes : Nodes
    shared : SharedPart
        Requests carry the whole model, replies what of it is shared.
    names : sequence of str
        Client names by partition id.
    request : callable
        Makes a request's config record from further settings.
    train_config : TrainConfig
    lr_at : callable
        The learning rate of a round.
    privacy : PrivacyMechanism
    ledger : RoundLedger
    compression : str
        What clients are asked for; empty where they are asked for none.
    codec : Codec, optional
        What reads it.
    partial_aggregation : bool
        Whether the grid is to sum updates.
    packed : bool
        Whether a record's arrays travel as one.
    in_memory : bool
        Whether a request's arrays stay arrays of this process.
    needs_mean_only : bool
        Whether the round keeps a sum of updates instead of each.
    norm_bound : float
        Largest norm of an update; 0 for none.
    """

    strategy: Strategy
    nodes: Nodes
    shared: SharedPart
    names: Sequence[str]
    request: Callable[[Mapping[str, object]], ConfigRecord]
    train_config: TrainConfig
    lr_at: Callable[[int], float]
    privacy: PrivacyMechanism
    ledger: RoundLedger
    compression: str
    codec: Codec | None
    partial_aggregation: bool
    packed: bool
    in_memory: bool
    needs_mean_only: bool
    norm_bound: float
    # Of one request, on the wire.
    bytes_down: int = field(default=0, init=False)

    def messages(
        self, number: int, weights: Tensor, clients: Sequence[int], about: Mapping[str, str | int] | None = None
    ) -> list[Message]:
        """Train requests of a round.

        Parameters
        ----------
        number : int
        weights : Tensor of float32, shape (P,)
        clients : sequence of int
            Partition ids.
        about : mapping, optional
            What the round ledger wants repeated in replies.
        """
        config = self.question(number, about)
        named = self.shared.whole.unflatten(weights)
        arrays = memory_record(named) if self.in_memory else named_to_record(named)
        with quiet_flower():
            view = ChosenNodes(self.nodes.of(clients))
            messages = list(self.strategy.configure_train(number, arrays, config, view))
        # Flower shuffles even when everybody takes part.
        messages.sort(key=lambda message: self.nodes.partitions[message.metadata.dst_node_id])
        # The same from round to round but for a digit of the round's number.
        self.bytes_down = self.bytes_down or wire_bytes(messages[0].content)
        if self.packed:
            packed = {name: pack(record) for name, record in messages[0].content.array_records.items()}
            for message in messages:
                for name, record in packed.items():
                    message.content[name] = record
        return messages

    def question(self, number: int, about: Mapping[str, str | int] | None = None) -> ConfigRecord:
        """The settings of a round's train requests; see :meth:`messages`."""
        settings = replace(self.train_config, lr=self.lr_at(number), privacy=self.privacy.client_settings()).to_record()
        compression = {COMPRESSION: self.compression} if self.compression else {}
        return self.request({**settings, **compression, PARTIAL_AGGREGATION: self.partial_aggregation, **(about or {})})

    def open(self, number: int, start: Tensor) -> RoundReplies:
        """Takes replies of clients that began from these parameters, (P,)."""
        # Where the server sees single updates, it holds them to the norm that its noise is made for.
        bound = self.norm_bound or (0.0 if self.partial_aggregation else self.privacy.update_norm())
        shared = self.shared
        validator = UpdateValidator(shared.layout, shared.take(start), bound, self.codec, self.partial_aggregation)
        return RoundReplies(validator, self.needs_mean_only, self.names, number, self.privacy.uniform, self.ledger)
