"""An update as words of a ring, such that sums of words are sums of updates and nothing can wrap around.

A client sends its change of the parameters times its weight, in fixed point, and after it the weights, its
loss and how much it clipped; a sum over clients decodes to exactly the sums of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.layout import TRUNK, ArrayLayout, Values, as_array
from fedaffect.client.secagg.agreement import derive
from fedaffect.client.secagg.masks import Words
from fedaffect.client.update import Update
from fedaffect.edge.errors import ConfigError

RING_BITS = (32, 16)
# Losses are summed in units of 2^-16, each times its examples.
_LOSS_BITS = 16
# Bits that one client's weights, loss and clipped values may take; larger ones are cut off there.
_WEIGHT_BITS, _LOSS_SUM_BITS, _CLIPPED_BITS, _WITHIN_BITS = 32, 48, 32, 1
# Mean squares of changes are summed in units of 2^-48, each times its weight.
_SQUARE_BITS, _SQUARE_SUM_BITS = 48, 64
# What travels beside parameters (SCAFFOLD's control variates) has the size of gradients, not of steps.
_BESIDE = 64.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the server learns of a round.

    Parameters
    ----------
    changes : float64 array, shape (P,)
        Sum over clients of weight x change.
    beside : mapping of str to float64 array, shape (P,)
        Sums of what was sent beside, each client counting once.
    weights : mapping of str to int
        Sums of weights, by parameter group.
    loss : float
        Sum over clients of mean loss x weight.
    clipped : int
        Values that clients had to clip.
    within : int
        Clients whose update was within the norm that privacy bounds, before it was clipped to it.
    mean_square : float
        Sum over clients of weight x mean square of the change; 0 under a bounded norm, which accounts for the sum
        of changes alone.
    """

    changes: NDArray[np.float64]
    beside: Mapping[str, NDArray[np.float64]]
    weights: Mapping[str, int]
    loss: float
    clipped: int
    within: int
    mean_square: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How updates become words; client and server use the same, or nothing can be decoded.

    Parameters
    ----------
    clients : int
        Most clients that a sum can have.
    clip : float
        Largest magnitude of one parameter's change; the client cuts off what is above.
    max_weight : int
        Largest weight of a client; one with more examples counts as having that many.
    bits : int
        Of a word: 32, or 16, where changes are rounded at random so that the rounding is right on average.
    beside : tuple of str
        Names of what is sent beside the parameters, in this order.
    profile : tuple of float
        For each array of the layout, its part of ``clip``; empty for all of it. A sum's words have room for little
        more than the changes themselves where they are narrow, and layers move differently far.
    norm : float
        Largest 2-norm of a change after rounding, 0 for none: what differential privacy in the centre counts on.
        Each client then weighs 1.

    Raises
    ------
    ConfigError
        If that many clients of that weight leave fewer than 16 steps for a change.
    """

    clients: int
    clip: float
    max_weight: int
    bits: int = 32
    beside: tuple[str, ...] = ()
    profile: tuple[float, ...] = ()
    norm: float = 0.0

    def __post_init__(self) -> None:
        if self.bits not in RING_BITS:
            raise ConfigError(f"a ring of {self.bits} bits is not one of {RING_BITS}; choose 32")
        if self.clients < 1 or self.max_weight < 1 or not (math.isfinite(self.clip) and self.clip > 0):
            raise ConfigError("a secure sum needs clients, a weight of 1 or more and a finite clip above 0")
        if self.norm and (self.max_weight != 1 or self.profile):
            raise ConfigError(
                "a bounded norm holds for clients of weight 1 and one clip; leave --secagg-max-weight out"
            )
        if not all(math.isfinite(part) and part > 0 for part in self.profile):
            raise ConfigError("every array needs a finite clip above 0; leave --compression out")
        if self.reach < 16:
            raise ConfigError(
                f"a sum over {self.clients} clients leaves {self.reach} steps of a {self.bits}-bit word to each; "
                f"lower --clients-per-round, or leave --compression out"
            )

    @property
    def reach(self) -> int:
        """Largest magnitude of one client's word: ``clients`` times this stays within half the ring."""
        return int(2 ** (self.bits - 1) - 1) // self.clients

    @property
    def scale(self) -> float:
        """Steps in a change of 1 with a weight of 1, in an array with all of the clip."""
        return self.reach / (self.clip * self.max_weight)

    @property
    def beside_scale(self) -> float:
        """Steps in a value of 1 of what is sent beside."""
        return self.reach / (_BESIDE * self.clip)

    @property
    def dtype(self) -> type[np.uint32] | type[np.uint16]:
        """Of a word."""
        return np.uint32 if self.bits == 32 else np.uint16

    def length(self, layout: ArrayLayout) -> int:
        """V, words of a vector."""
        return layout.size * (1 + len(self.beside)) + sum(self._digits(bits) for bits in _scalars(layout))

    def encode(self, layout: ArrayLayout, start: Values, update: Update, rounding: bytes) -> Words:
        """A client's update as words.

        Parameters
        ----------
        layout : ArrayLayout
        start : Values, shape (P,)
            The round's global parameters.
        update : Update
            What training made of them, clipped already where privacy asks for it.
        rounding : bytes
            32 secret bytes that decide the random rounding; the same again give the same words.

        Returns
        -------
        uint32 or uint16 array, shape (V,)
        """
        words = np.empty(self.length(layout), self.dtype)
        limits = self._limits(layout)
        random = np.random.Generator(np.random.Philox(key=int.from_bytes(derive(rounding, b"rounding")[:16], "big")))
        change = as_array(update.weights) - as_array(start)
        weights = {group: min(int(update.counts.get(group, update.counts[TRUNK])), self.max_weight)
                   for group in groups_of(layout)}  # fmt: skip
        clipped = int(np.count_nonzero(np.abs(change) > limits))
        # In place from here on: a round spends more on passes over memory than on anything else in them.
        scaled = np.clip(change, -limits, limits, dtype=np.float64)
        scaled /= limits * (self.max_weight / self.reach)
        for group, run in layout.groups:
            scaled[run] *= weights[group]
        words[: layout.size] = self._steps(scaled, random)
        place = layout.size
        for name in self.beside:
            values = as_array(update.extra[name])
            clipped += int(np.count_nonzero(np.abs(values) > _BESIDE * self.clip))
            scaled = np.clip(values, -_BESIDE * self.clip, _BESIDE * self.clip) * np.float64(self.beside_scale)
            words[place : place + layout.size] = self._rounded(scaled, self._draws(len(scaled), random))
            place += layout.size
        loss = round(max(0.0, float(update.metrics.get("train_loss", 0.0))) * weights[TRUNK] * 2**_LOSS_BITS)
        within = int(float(update.metrics.get("within-clip", 0.0)) > 0)
        square = 0.0 if self.norm else float(np.mean(np.square(change, dtype=np.float64)))
        scalars = [
            *(weights[group] for group in groups_of(layout)),
            loss,
            clipped,
            within,
            round(square * weights[TRUNK] * 2**_SQUARE_BITS),
        ]
        for value, bits in zip(scalars, _scalars(layout), strict=True):
            digits = self._digits(bits)
            for place_value, digit in enumerate(range(place, place + digits)):
                words[digit] = (min(value, 2**bits - 1) >> (place_value * self._digit_bits)) % 2**self._digit_bits
            place += digits
        return words

    def decode(self, layout: ArrayLayout, total: Words) -> Decoded:
        """What a sum of words says.

        Parameters
        ----------
        layout : ArrayLayout
        total : uint32 or uint16 array, shape (V,)
            Sum of at most ``clients`` vectors.
        """
        signed = self._signed(total).astype(np.float64)
        size = layout.size
        beside = {
            name: signed[size * n : size * (n + 1)] / self.beside_scale for n, name in enumerate(self.beside, start=1)
        }
        place = size * (1 + len(self.beside))
        scalars: list[int] = []
        for bits in _scalars(layout):
            digits = total[place : place + self._digits(bits)].tolist()
            scalars.append(sum(digit << (n * self._digit_bits) for n, digit in enumerate(digits)))
            place += len(digits)
        *weights, loss, clipped, within, square = scalars
        return Decoded(
            changes=signed[:size] * (self._limits(layout) * (self.max_weight / self.reach)),
            beside=beside,
            weights=dict(zip(groups_of(layout), weights, strict=True)),
            loss=loss / 2**_LOSS_BITS,
            clipped=clipped,
            within=within,
            mean_square=square / 2**_SQUARE_BITS,
        )

    def to_record(self) -> dict[str, Any]:
        """As settings of a message."""
        return {
            "clients": self.clients,
            "clip": self.clip,
            "max-weight": self.max_weight,
            "bits": self.bits,
            "beside": ",".join(self.beside),
            "profile": list(self.profile),
            "norm": self.norm,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Encoding:
        """Read back what :meth:`to_record` wrote."""
        return cls(
            clients=int(record["clients"]),
            clip=float(record["clip"]),
            max_weight=int(record["max-weight"]),
            bits=int(record["bits"]),
            beside=tuple(name for name in str(record["beside"]).split(",") if name),
            profile=tuple(float(part) for part in record["profile"]),
            norm=float(record["norm"]),
        )

    @property
    def _digit_bits(self) -> int:
        # So that the digits of all clients together stay within a word.
        return self.bits - math.ceil(math.log2(self.clients + 1))

    def _digits(self, bits: int) -> int:
        return math.ceil(bits / self._digit_bits)

    def _limits(self, layout: ArrayLayout) -> NDArray[np.float64] | float:
        """Largest change of each parameter, (P,), or of all of them."""
        if not self.profile:
            return self.clip
        if len(self.profile) != len(layout.sizes):
            raise ConfigError(f"a profile of {len(self.profile)} arrays does not fit a model of {len(layout.sizes)}")
        return np.repeat(self.clip * np.array(self.profile), layout.sizes)

    def _steps(self, scaled: NDArray[np.float64], random: np.random.Generator) -> Words:
        """Whole steps, of a norm within the bound where there is one."""
        draws = self._draws(len(scaled), random)
        bound = self.norm * self.scale
        if not bound:
            return self._rounded(scaled, draws)
        while (norm := self._norm(words := self._rounded(scaled.copy(), draws))) > bound:
            # The same draws: how often this had to be done says nothing about them.
            scaled *= bound / norm * (1 - 1e-6)
        return words

    def _norm(self, words: Words) -> float:
        return math.sqrt(float(np.square(self._signed(words), dtype=np.float64).sum()))

    def _signed(self, words: Words) -> NDArray[np.signedinteger[Any]]:
        return words.view(np.int32 if self.bits == 32 else np.int16)

    def _draws(self, size: int, random: np.random.Generator) -> NDArray[np.float32] | None:
        # Words of 32 bits are so fine that rounding at random would change nothing.
        return None if self.bits == 32 else random.random(size, dtype=np.float32)

    def _rounded(self, scaled: NDArray[np.float64], draws: NDArray[np.float32] | None) -> Words:
        """Whole steps as words; ``scaled`` is spent on it."""
        if draws is None:
            np.rint(scaled, out=scaled)
        else:
            scaled += draws
            np.floor(scaled, out=scaled)
        # Through signed whole numbers: what is negative has the ring's upper half.
        whole: NDArray[np.signedinteger[Any]] = scaled.astype(np.int32 if self.bits == 32 else np.int16)
        return whole.view(self.dtype)


def groups_of(layout: ArrayLayout) -> Sequence[str]:
    """Names of the groups of parameters, in the order in which their weights are sent."""
    return sorted({group for group, _ in layout.groups})


def _scalars(layout: ArrayLayout) -> list[int]:
    return [*(_WEIGHT_BITS for _ in groups_of(layout)), _LOSS_SUM_BITS, _CLIPPED_BITS, _WITHIN_BITS, _SQUARE_SUM_BITS]
