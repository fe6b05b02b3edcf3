"""Checks of what a reply holds, before anything of it is loaded, summed or counted.

Replies come from machines that nobody here controls. Every function of this module takes a reply as it came and returns
checked values, or raises :class:`UpdateRejectedError` with the reason in one line. Nothing else is raised, whatever the
reply holds, and nothing is allocated that the reply merely announces. Plain, secure and buffered steps all read replies
through it; a rejected reply costs its sender the round and no more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from fedaffect.client.compression.codecs import Codec
from fedaffect.client.compression.compress import decompress
from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.flower_compat.names import SType
from fedaffect.client.flower_compat.records import wire_bytes
from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.client.secagg.answering import PAYLOAD
from fedaffect.client.wire import (
    ABOUT,
    ARRAYS,
    ATTEMPT,
    BASE,
    COMPRESSED,
    CONTROL,
    CONTROL_SUMS,
    MASKED,
    METRICS,
    NUM_EXAMPLES,
    OWN,
    PAID,
    RUN,
    SECAGG,
    SERVER_ROUND,
    SUMS,
    vector_of,
)
from fedaffect.edge.errors import ConfigError, FedAffectError

# No model that learns has parameters beyond; sums of larger ones could leave no room for other clients'.
_LARGEST_NORM = float(2**20)
# No mean cross-entropy of a model that learns is beyond.
LARGEST_LOSS = 1e9
MOST_EXAMPLES = 2**31 - 1
_LONGEST_REASON, _LONGEST_NAME = 300, 100
# Of an array with as many dimensions as NumPy has; Python reads a longer one with effort.
_LONGEST_HEADER = 2_000
_START_THE_APP = "start it with fedaffect.client.app:app"


class UpdateRejectedError(FedAffectError):
    """A reply that the server does not count."""


@dataclass(frozen=True, slots=True)
class ValidUpdate:
    """A client's update of which every value was checked.

    Parameters
    ----------
    counts : mapping of str to int
        Training examples, in all (``""``) and by parameter group.
    train_loss : float
        0 where the reply does not say.
    within_clip : float
        1 for an update that was within its client's clipping norm, else 0.
    arrays, control : Tensor of float32, shape (P,), optional
        Its parameters, and SCAFFOLD's change of the control variate.
    sums, control_sums : FixedPointSum, optional
        Of several clients, from a grid that aggregates partially.
    """

    counts: Mapping[str, int]
    train_loss: float
    within_clip: float
    arrays: Tensor | None = None
    control: Tensor | None = None
    sums: FixedPointSum | None = None
    control_sums: FixedPointSum | None = None


@dataclass(frozen=True, slots=True)
class UpdateValidator:
    """What every update of a round must hold.

    The model's arrays by name, shape and dtype, finite numbers, counts that count something, and, where a bound is set,
    ``|trained - start| <= norm_bound`` over all parameters. Sun et al., "Can You Really Backdoor Federated Learning?"
    (2019) bound norms against boosted updates; here a larger one is dropped rather than scaled, since an honest client
    would not have sent it.

    Parameters
    ----------
    layout : ArrayLayout
    start : Tensor of float32, shape (P,), optional
        What the clients began from; needed for a bound and for compressed updates.
    norm_bound : float
        Largest L2 norm of a change; 0 for none.
    codec : Codec, optional
        How updates are compressed; one that is compressed although nobody asked for it is rejected.
    partial_sums : bool
        Whether the grid may answer with sums over clients. Elsewhere a reply that claims to be one is rejected.
    """

    layout: ArrayLayout
    start: Tensor | None = None
    norm_bound: float = 0.0
    codec: Codec | None = None
    partial_sums: bool = False

    def __post_init__(self) -> None:
        if self.norm_bound and self.start is None:
            raise ConfigError("a norm bound needs the parameters that clients began from")

    def read(self, reply: Message) -> ValidUpdate:
        """What a train reply without an error holds.

        Raises
        ------
        UpdateRejectedError
            If any of it is not as it must be.
        """
        with rejecting():
            metrics = _metrics(reply)
            counts = _counts(metrics)
            loss = _number(metrics, "train_loss", 0.0)
            if not abs(loss) <= LARGEST_LOSS:
                raise UpdateRejectedError(f"its training loss is {loss}; lower --lr")
            within = min(1.0, max(0.0, _number(metrics, "within-clip", 0.0)))
            records = reply.content.array_records
            if COMPRESSED in records:
                arrays, control = self._decompressed(records[COMPRESSED])
                return ValidUpdate(counts, loss, within, self._bounded(arrays), control)
            if not self.partial_sums and (SUMS in records or ARRAYS not in records):
                raise UpdateRejectedError("its reply holds no arrays of its own")
            if SUMS in records:
                sums, control_sums = read_sum(self.layout, records, SUMS), read_sum(self.layout, records, CONTROL_SUMS)
                return ValidUpdate(counts, loss, within, sums=sums, control_sums=control_sums)
            if ARRAYS not in records:
                # Another reply brings the sum that this client is part of.
                return ValidUpdate(counts, loss, within)
            arrays = self._bounded(self._vector(records[ARRAYS]))
            return ValidUpdate(
                counts, loss, within, arrays, self._vector(records[CONTROL]) if CONTROL in records else None
            )

    def _decompressed(self, record: ArrayRecord) -> tuple[Tensor, Tensor | None]:
        if self.codec is None or self.start is None:
            raise UpdateRejectedError("its update is compressed, and nobody asked for that")
        # The codec checks dtypes and lengths of what was read.
        read = decompress(self.codec, {name: array_values(name, array) for name, array in record.items()}, self.start)
        return self._finite(read[""]), self._finite(read[CONTROL]) if CONTROL in read else None

    def _vector(self, record: ArrayRecord) -> Tensor:
        named = {name: array_values(name, array, np.float32) for name, array in record.items()}
        return self._finite(torch.from_numpy(vector_of(self.layout, named)))

    def _finite(self, flat: Tensor) -> Tensor:
        if not float(flat.norm()) < _LARGEST_NORM:
            # What is not a number is below nothing.
            raise UpdateRejectedError("its parameters are not finite or huge; lower --lr")
        return flat

    def _bounded(self, trained: Tensor) -> Tensor:
        if self.norm_bound and self.start is not None:
            norm = float((trained - self.start).norm())
            if not norm <= self.norm_bound:
                raise UpdateRejectedError(
                    f"its update's norm {norm:.4g} is above {self.norm_bound:g} (--norm-bound); "
                    f"raise the bound if honest clients come so far"
                )
        return trained


@dataclass(frozen=True, slots=True)
class ValidEvaluation:
    """What a client found on its own rows.

    Parameters
    ----------
    confusion : int64 array, shape (C, C)
        Of all its rows.
    loss : float
        Mean over them.
    own : ValidEvaluation, optional
        What its own model makes of them, where it has one.
    """

    confusion: NDArray[np.int64]
    loss: float
    own: ValidEvaluation | None = None


def read_evaluation(reply: Message, classes: int) -> ValidEvaluation:
    """What an evaluate reply without an error holds.

    Raises
    ------
    UpdateRejectedError
        If its figures are not those of one confusion matrix over C classes.
    """
    with rejecting():
        metrics = _metrics(reply)
        examples = _counts(metrics)[TRUNK]
        own = _figures(metrics, OWN, examples, classes) if f"{OWN}confusion" in metrics else None
        return replace(_figures(metrics, "", examples, classes), own=own)


def _figures(metrics: Mapping[str, Any], prefix: str, examples: int, classes: int) -> ValidEvaluation:
    loss, cells = _number(metrics, f"{prefix}loss", 0.0), metrics.get(f"{prefix}confusion")
    if not isinstance(cells, list) or len(cells) != classes**2:
        raise UpdateRejectedError(f"its confusion matrix is not one of {classes} classes")
    if not all(isinstance(n, int) and 0 <= n <= examples for n in cells) or sum(cells) != examples:
        raise UpdateRejectedError(f"its confusion matrix does not count its {examples} examples")
    if not 0 <= loss <= LARGEST_LOSS:
        raise UpdateRejectedError(f"its loss is {loss}")
    return ValidEvaluation(np.array(cells, dtype=np.int64).reshape(classes, classes), loss)


def read_partition_id(reply: Message) -> int:
    """The partition that a node says it is, 0 or more.

    Raises
    ------
    UpdateRejectedError
        If it does not say, or says something else.
    """
    if reply.has_error():
        raise UpdateRejectedError(read_error(reply)[1])
    with rejecting():
        partition = _metrics(reply, ()).get("partition-id")
        if not isinstance(partition, int) or not 0 <= partition <= MOST_EXAMPLES:
            raise UpdateRejectedError(f"its partition id is {partition!r}, which is no whole number of 0 or more")
        return partition


def read_sum(layout: ArrayLayout, records: Mapping[str, ArrayRecord], name: str) -> FixedPointSum | None:
    """The partial sum in a record of this name; None where there is none."""
    if name not in records:
        return None
    return FixedPointSum.from_arrays(layout, {n: array_values(n, array) for n, array in records[name].items()})


def read_payload(reply: Message) -> bytes:
    """A client's answer to a stage of secure aggregation; what its bytes mean, the attempt checks."""
    with rejecting():
        record = reply.content.config_records.get(SECAGG)
        payload = None if record is None else record.get(PAYLOAD)
        if not isinstance(payload, bytes):
            raise UpdateRejectedError(f"it replied without an answer; {_START_THE_APP}")
        return payload


def read_accusation(reply: Message) -> bytes | None:
    """What a client answers in place of a masked update, when it cannot use a neighbour's shares; None where it can."""
    with rejecting():
        return None if MASKED in reply.content.array_records else read_payload(reply)


def read_masked(reply: Message, words: int, dtype: DTypeLike) -> NDArray[Any]:
    """A client's masked update, shape (``words``,)."""
    with rejecting():
        record = reply.content.array_records.get(MASKED)
        if record is None or MASKED not in record:
            raise UpdateRejectedError(f"it replied without a masked update; {_START_THE_APP}")
        vector = array_values(MASKED, record[MASKED], dtype)
        if vector.shape != (words,):
            raise UpdateRejectedError(f"a masked update has {words} words, not {vector.shape}")
        return vector


@dataclass(frozen=True, slots=True)
class AnsweredRound:
    """Which round of a fleet an update says that it answers.

    Parameters
    ----------
    run : str
    round, attempt : int
    base : str
        Hash of the arrays that it began from.
    """

    run: str
    round: int
    attempt: int
    base: str


def read_answered_round(reply: Message) -> AnsweredRound:
    """Which round of a fleet a reply answers.

    Raises
    ------
    UpdateRejectedError
        If it does not say.
    """
    with rejecting():
        about: Mapping[str, Any] = reply.content.config_records.get(ABOUT, {})
        run, base, numbers = about.get(RUN), about.get(BASE), (about.get(SERVER_ROUND), about.get(ATTEMPT))
        if not (isinstance(run, str) and isinstance(base, str) and run == one_line(run) and base == one_line(base)):
            raise UpdateRejectedError("the update does not say which run it answers; it is not counted")
        if not all(isinstance(number, int) and 0 <= number <= MOST_EXAMPLES for number in numbers):
            raise UpdateRejectedError("the update does not say which round it answers; it is not counted")
        return AnsweredRound(run, int(str(numbers[0])), int(str(numbers[1])), base)


def read_paid(reply: Message) -> dict[str, float]:
    """The line of its device's privacy ledger that a reply holds; empty where it holds none.

    Raises
    ------
    UpdateRejectedError
        If it is no such line.
    """
    with rejecting():
        said = reply.content.config_records.get(PAID)
        if said is None:
            return {}
        line = {name: _number(said, name, math.nan) for name in ("attempt", "epsilon", "delta", "noise-multiplier")}
        if not all(0 <= value < math.inf for value in line.values()) or line["attempt"] > MOST_EXAMPLES:
            raise UpdateRejectedError(f"{line} is no line of a privacy ledger; update fedaffect on the device")
        return line


def read_size(reply: Message) -> int:
    """Bytes that a reply's content has on the wire."""
    with rejecting():
        return wire_bytes(reply.content)


def read_error(reply: Message) -> tuple[int, str]:
    """Code and reason of an error reply; the reason is one line that any log or database takes."""
    return reply.error.code, one_line(reply.error.reason or "") or f"error code {reply.error.code}"


def one_line(text: str, longest: int = _LONGEST_REASON) -> str:
    """Text of somebody else without anything that is not printed, such as control characters, and shortened."""
    # Longer only costs time: each character of it is looked at.
    seen = text[: 4 * longest]
    printable = " ".join("".join(letter if letter.isprintable() else " " for letter in seen).split())
    return printable if len(printable) <= longest else f"{printable[: longest - 1]}…"


@contextmanager
def rejecting() -> Iterator[None]:
    """Whatever is raised inside becomes an `UpdateRejectedError` of one line."""
    try:
        yield
    except UpdateRejectedError:
        raise
    except FedAffectError as error:
        raise UpdateRejectedError(one_line(str(error))) from error
    # The libraries that decode a reply raise what they like, such as a TokenError for the header of an array.
    except Exception as error:
        raise UpdateRejectedError(one_line(f"it is malformed ({type(error).__name__}: {error})")) from error


def _metrics(reply: Message, wanted: tuple[str, ...] = (NUM_EXAMPLES,)) -> Mapping[str, Any]:
    metrics: Mapping[str, Any] | None = reply.content.metric_records.get(METRICS)
    if metrics is None or any(name not in metrics for name in wanted):
        raise UpdateRejectedError(f"it replied without metrics; {_START_THE_APP}")
    return metrics


def _counts(metrics: Mapping[str, Any]) -> dict[str, int]:
    prefix = f"{NUM_EXAMPLES}."
    counts = {TRUNK: _count(metrics, NUM_EXAMPLES, MOST_EXAMPLES)}
    for name in metrics:
        if name.startswith(prefix):
            counts[name.removeprefix(prefix)] = _count(metrics, name, counts[TRUNK])
    return counts


def _count(metrics: Mapping[str, Any], name: str, most: int) -> int:
    value = metrics[name]
    if not isinstance(value, int) or not 0 <= value <= most:
        raise UpdateRejectedError(f"it claims {value!r:.40} examples ({one_line(name, _LONGEST_NAME)})")
    return value


def _number(metrics: Mapping[str, Any], name: str, default: float) -> float:
    value = metrics.get(name, default)
    if not isinstance(value, int | float):
        raise UpdateRejectedError(f"its {name} is {value!r:.40}, not a number")
    return float(value)


def array_values(name: str, array: Array, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """An array's values; read-only where they came as bytes, which are looked at before anything is allocated."""
    said = np.dtype(array.dtype)
    if dtype is not None and said != np.dtype(dtype):
        raise UpdateRejectedError(f"array {one_line(name, _LONGEST_NAME)!r} is {said}, not {np.dtype(dtype)}")
    # A grid in this process may hand over arrays that never were bytes.
    values = _from_npy(array) if type(array) is Array else array.numpy()
    if values.dtype != said:
        raise UpdateRejectedError(f"array {one_line(name, _LONGEST_NAME)!r} is said to be {said} and is {values.dtype}")
    return values


def _from_npy(array: Array) -> NDArray[Any]:
    """Read NumPy's file format without a copy, and without room for more values than there are bytes."""
    if array.stype != SType.NUMPY:
        raise UpdateRejectedError(f"its arrays are serialised as {one_line(array.stype, _LONGEST_NAME)!r}, not as npy")
    data = BytesIO(array.data)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(data)]
    shape, fortran, dtype = read_header(data, max_header_size=_LONGEST_HEADER)
    values = math.prod(shape)
    if dtype.hasobject or len(array.data) - data.tell() != values * dtype.itemsize:
        raise UpdateRejectedError(f"its arrays hold {len(array.data)} bytes and announce {values} values of {dtype}")
    return np.frombuffer(array.data, dtype, values, data.tell()).reshape(shape, order="F" if fortran else "C")
