"""What a region passes up: one sum over its clients and who is in it; nothing of a single client but why it failed.

A plain sum hides nothing by itself: the region has read every update, and a sum over one client is its update. Where
that matters, sums are secure, and one over a single client is not made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from fedaffect.client.fixed_point import FRACTION_BITS, FixedPointSum
from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.client.secagg.encoding import Encoding
from fedaffect.client.secagg.masks import Words
from fedaffect.client.wire import CONTROL_SUMS, SUMS, named_to_record
from fedaffect.server.federation.regions.order import REGION, Order
from fedaffect.server.federation.robustness.reply_validation import (
    LARGEST_LOSS,
    MOST_EXAMPLES,
    UpdateRejectedError,
    array_values,
    one_line,
    read_sum,
    rejecting,
)

# A secure sum after its region took the masks off: the words of an `Encoding`.
WORDS = "words"

Reasons = Sequence[tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSum:
    """A region's part of a round.

    Parameters
    ----------
    clients : int
        How many are in the sum.
    examples, loss : int
        Of theirs, as `RoundReplies` counts them; 0 for a secure sum, whose words have them.
    within_clip : float
        Updates that were within their client's clipping norm.
    failures, refusals : sequence of (int, str)
        Clients that are not in it, with their reasons.
    rejected, excused : set of int
        Those of the failures whose update was rejected, and those that are no fault of what runs the clients.
    abandoned : bool
        Whether the region gave its sum up without anybody having failed.
    bytes_up, bytes_down : int
        Of one client on the wire; 0 where the root knows.
    sums, control : FixedPointSum, optional
        Of updates, and of what SCAFFOLD sends beside; None where nobody is in them.
    words : uint32 or uint16 array, shape (V,), optional
        A secure sum in place of these.
    """

    clients: int = 0
    examples: int = 0
    loss: int = 0
    within_clip: float = 0.0
    failures: Reasons = ()
    refusals: Reasons = ()
    rejected: Set[int] = frozenset()
    excused: Set[int] = frozenset()
    abandoned: bool = False
    bytes_up: int = 0
    bytes_down: int = 0
    sums: FixedPointSum | None = None
    control: FixedPointSum | None = None
    words: Words | None = None

    @classmethod
    def without(cls, clients: Iterable[int], why: str, refusals: Reasons = (), *, excused: bool) -> RegionSum:
        """The part of a region that has no sum, and the same reason for all who did not refuse."""
        refused = {client for client, _ in refusals}
        failures = [(client, why) for client in clients if client not in refused]
        innocent = frozenset(client for client, _ in failures) if excused else frozenset()
        return cls(failures=failures, refusals=tuple(refusals), excused=innocent, abandoned=excused)

    def to_content(self) -> RecordDict:
        """As the content of the one message that goes up."""
        about: dict[str, Any] = {
            "clients": self.clients,
            # Whole numbers of any size; the records take 64 bits.
            "examples": str(self.examples),
            "loss": str(self.loss),
            "within-clip": self.within_clip,
            "rejected": sorted(self.rejected),
            "excused": sorted(self.excused),
            "abandoned": self.abandoned,
            "bytes-up": self.bytes_up,
            "bytes-down": self.bytes_down,
        }
        for name, reasons in (("failures", self.failures), ("refusals", self.refusals)):
            about |= {name: [client for client, _ in reasons], f"{name}-why": [why for _, why in reasons]}
        records: dict[str, ArrayRecord] = {}
        if self.sums is not None:
            records[SUMS] = named_to_record(self.sums.to_arrays())
        if self.control is not None:
            records[CONTROL_SUMS] = named_to_record(self.control.to_arrays())
        if self.words is not None:
            records[WORDS] = named_to_record({WORDS: self.words})
        return RecordDict({**records, REGION: ConfigRecord(about)})

    @classmethod
    def read(cls, reply: Message, layout: ArrayLayout, order: Order) -> RegionSum:
        """A region's reply, checked against what it was asked.

        Raises
        ------
        UpdateRejectedError
            If it is not one sum over clients that were asked, or holds anything else.
        """
        with rejecting():
            records, about = reply.content.array_records, reply.content.config_records[REGION]
            wanted = {WORDS} if order.encoding is not None else {SUMS, CONTROL_SUMS}
            if set(reply.content) - {REGION} - wanted:
                raise UpdateRejectedError("a region passes up sums alone, and this one sent something else")
            part = cls(
                clients=int(about["clients"]),  # type: ignore[arg-type]
                examples=int(about["examples"]),  # type: ignore[arg-type]
                loss=int(about["loss"]),  # type: ignore[arg-type]
                within_clip=float(about["within-clip"]),  # type: ignore[arg-type]
                failures=_reasons(about, "failures"),
                refusals=_reasons(about, "refusals"),
                rejected=frozenset(about["rejected"]),  # type: ignore[arg-type]
                excused=frozenset(about["excused"]),  # type: ignore[arg-type]
                abandoned=bool(about["abandoned"]),
                bytes_up=int(about["bytes-up"]),  # type: ignore[arg-type]
                bytes_down=int(about["bytes-down"]),  # type: ignore[arg-type]
                sums=read_sum(layout, records, SUMS),
                control=read_sum(layout, records, CONTROL_SUMS),
                words=_words(layout, records, order.encoding),
            )
            part._require_sound(order)
            return part

    def _require_sound(self, order: Order) -> None:
        out = [client for client, _ in (*self.failures, *self.refusals)]
        if len(set(out)) != len(out) or not set(out) | self.rejected | self.excused <= set(order.clients):
            raise UpdateRejectedError("it names clients twice, or others than those it was asked for")
        if self.clients != len(order.clients) - len(out):
            raise UpdateRejectedError(
                f"its sum is over {self.clients} of {len(order.clients)} clients, and {len(out)} are named as missing"
            )
        if self.clients != self._summed(order.encoding is not None):
            raise UpdateRejectedError(f"it counts {self.clients} clients, and its sum others")
        if not 0 <= self.within_clip <= self.clients or min(self.bytes_up, self.bytes_down) < 0:
            raise UpdateRejectedError("its counts are not those of a sum")
        self._require_sound_sums(order)
        if abs(self.loss) > LARGEST_LOSS * 2**FRACTION_BITS * max(0, self.examples):
            raise UpdateRejectedError("its training loss is not that of its examples")

    def _require_sound_sums(self, order: Order) -> None:
        """Weights and values are such as that many clients have; raises a `TrainingError` or as `read`."""
        most = 1 if order.uniform else MOST_EXAMPLES
        for sums, largest in ((self.sums, most), (self.control, 1)):
            if sums is not None:
                sums.require_sound(self.clients, order.asked, largest)
        # A secure sum's words have them.
        limit = 0 if order.encoding is not None else self.clients * most
        if not 0 <= self.examples <= limit:
            raise UpdateRejectedError(f"it claims {self.examples} examples, which no {self.clients} clients have")
        if self.sums is not None and self.sums.weights.get(TRUNK, self.examples) != self.examples:
            raise UpdateRejectedError(f"it claims {self.examples} examples, and its sum others")

    def _summed(self, secure: bool) -> int:
        """How many clients the arrays are of."""
        if secure:
            return 0 if self.words is None else self.clients
        return 0 if self.sums is None else self.sums.count


def _reasons(about: Mapping[str, Any], name: str) -> Reasons:
    return [(client, one_line(why)) for client, why in zip(about[name], about[f"{name}-why"], strict=True)]


def _words(layout: ArrayLayout, records: Mapping[str, ArrayRecord], encoding: Encoding | None) -> Words | None:
    if encoding is None or WORDS not in records:
        return None
    words: Words = array_values(WORDS, records[WORDS][WORDS], encoding.dtype)
    if words.shape != (encoding.length(layout),):
        raise UpdateRejectedError(f"a secure sum has {encoding.length(layout)} words, not {words.shape}")
    return words
