"""How a round's updates become words: as wide as the clients leave room, as fine as earlier rounds allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from flwr.app import Message

from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.client.secagg.encoding import Decoded, Encoding
from fedaffect.client.secagg.masks import Words
from fedaffect.client.secagg.session import Session
from fedaffect.client.wire import CONTROL
from fedaffect.server.federation.privacy.mechanism import PrivacyMechanism
from fedaffect.server.federation.secagg.sum_ledger import Spread, SumLedger
from fedaffect.server.federation.settings import RunSettings

INT8 = "int8"
# Small words leave few steps to each client: they reach so many root mean squares of a change, and so many mean
# weights; what is beyond is cut off.
_SPREADS, _WEIGHTS = 8.0, 4.0
# An array that stood still in one round may move in the next.
_LEAST = 0.1


class RoundEncodings:
    """Chooses the encoding of each round, and reads its sum.

    Parameters
    ----------
    config : RunSettings
    layout : ArrayLayout
    ledger : SumLedger
        Remembers what earlier sums told.
    privacy : PrivacyMechanism
    """

    def __init__(self, config: RunSettings, layout: ArrayLayout, ledger: SumLedger, privacy: PrivacyMechanism) -> None:
        self._config, self._layout, self._ledger, self._privacy = config, layout, ledger, privacy

    def decode(self, encoding: Encoding, session: Session, total: Words, clients: int) -> Decoded:
        """What the sum of a round says, kept for the encoding of later ones.

        Parameters
        ----------
        encoding : Encoding
        session : Session
            The attempt that gave it.
        total : uint32 or uint16 array, shape (V,)
        clients : int
            How many are in it.
        """
        decoded = encoding.decode(self._layout, total)
        if decoded.mean_square:
            self._ledger.learn(session, _spread(self._layout, decoded, clients))
        return decoded

    def of(self, number: int, messages: Sequence[Message]) -> Encoding:
        """The encoding of a round with these messages, one a client."""
        clients, small = len(messages), self._config.federation.compression == INT8
        beside = tuple(name for name in (CONTROL,) if name in messages[0].content)
        if norm := self._privacy.update_norm():
            # A vector of that norm has values around norm / sqrt(P).
            clip = min(norm, _SPREADS * norm / math.sqrt(self._layout.size)) if small else norm
            return Encoding(clients=clients, clip=clip, max_weight=1, bits=16 if small else 32, norm=norm)
        clip, weight = self._config.secagg.secagg_clip, self._config.secagg.secagg_max_weight
        spread = self._ledger.spread_before(number) if small else None
        if spread is None or not spread.change:
            # Wide words in the first round too, which tells how large changes are.
            return Encoding(clients=clients, clip=clip, max_weight=weight, beside=beside)
        return Encoding(
            clients=clients,
            clip=min(clip, _SPREADS * spread.change),
            max_weight=min(weight, math.ceil(_WEIGHTS * spread.weight)),
            bits=16,
            beside=beside,
            profile=tuple(max(_LEAST, part) for part in spread.profile),
        )


def _spread(layout: ArrayLayout, decoded: Decoded, clients: int) -> Spread:
    """What sums tell; nothing of it where a norm is bounded, since that budget covers the sum of changes alone."""
    weight = decoded.weights[TRUNK]
    squares = np.add.reduceat(np.square(decoded.changes), layout.offsets[:-1]) / np.array(layout.sizes)
    whole = math.sqrt(float(np.mean(np.square(decoded.changes)))) or 1.0
    profile = tuple(float(part) for part in np.sqrt(squares) / whole)
    return Spread(math.sqrt(decoded.mean_square / weight), weight / clients, profile)
