"""Secure sums of regions, added up at the root: the same words as one secure sum over all of their clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import Message, RecordDict
from torch import Tensor

from fedaffect.client.secagg.masks import Words
from fedaffect.client.secagg.protocol import STAGES
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.regions.collection import RegionalCollection
from fedaffect.server.federation.secagg.coordinator import ATTEMPTS
from fedaffect.server.federation.secagg.encodings import RoundEncodings
from fedaffect.server.federation.secagg.sum_ledger import SumLedger


@dataclass(frozen=True, slots=True)
class SecureRegionalCollection:
    """Collects a round's updates as one secure sum a region; a `Collection`.

    All regions encode alike, with room for the whole round, so that their words add up modulo the ring's size. A region
    that gave its sum up, or lost too many, is missing from the round; the others' sums count.

    Parameters
    ----------
    regional : RegionalCollection
    encodings : RoundEncodings
    ledger : SumLedger
        Remembers what sums told; those of the regions say what was unmasked.
    """

    regional: RegionalCollection
    encodings: RoundEncodings
    ledger: SumLedger

    def collect(self, number: int, messages: Sequence[Message], current: Tensor, received: RoundReplies) -> None:
        """Ask every region that has clients in the round for its sum, and decode what all sums make together."""
        encoding = self.encodings.of(number, messages)
        total: Words = np.zeros(encoding.length(self.regional.layout), encoding.dtype)
        last, given_up = None, True
        timeout_s = self.regional.template.timeout_s * len(STAGES) * ATTEMPTS
        for part, reply in self.regional.parts(number, messages, timeout_s, encoding):
            received.merge(part, reply)
            given_up &= part.abandoned
            if part.words is not None:
                np.add(total, part.words, out=total)
                last = reply
        if last is None:
            received.abandoned = given_up
            return
        decoded = self.encodings.decode(encoding, self.ledger.begin(number), total, received.clients)
        received.take_secure(current, decoded, received.clients, Message(RecordDict(), reply_to=last))
