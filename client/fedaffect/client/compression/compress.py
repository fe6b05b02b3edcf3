"""A client's update made smaller on its way out, and put together again by its receiver."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.compression.codecs import Codec, Encoded, Fp16, Int8, TopK
from fedaffect.client.layout import Values, as_array, like
from fedaffect.client.privacy.settings import CENTRAL, PrivacyConfig
from fedaffect.client.update import ClientState, Update
from fedaffect.edge.errors import ConfigError, unknown_name

NONE = "none"
# Sets these draws apart from others that a client derives from the same seed.
_STREAM = 0xC0DEC
# Of a client's state: what earlier rounds left unsent.
_UNSENT = "compression.unsent"
_OWN = ""
# What reading parameters back from float32 may add to a change's norm, with room; as in client_level.
_MARGIN = 1e-4

_CODECS: Mapping[str, Callable[[str], Codec]] = MappingProxyType(
    {"fp16": lambda _: Fp16(), "int8": lambda _: Int8(), "top-k": lambda share: TopK(_share(share))}
)


def codec(spec: str) -> Codec | None:
    """The codec of a ``--compression``: ``fp16``, ``int8``, ``top-k:0.01``; None for ``none``.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    name, _, option = spec.partition(":")
    if spec == NONE:
        return None
    if name not in _CODECS:
        raise unknown_name("compression", name, (NONE, *_CODECS))
    if option and name != "top-k":
        raise ConfigError(f"--compression {name} takes no option, not {option!r}; write --compression {name}")
    return _CODECS[name](option)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            f"--compression top-k needs the share of values it keeps, such as top-k:0.01, not {text!r}"
        ) from None


def kept_norm(privacy: PrivacyConfig | None) -> float:
    """The norm that a change keeps after compression: infinite where nobody counts on one."""
    return privacy.clip_norm * (1 - _MARGIN) if privacy is not None and privacy.kind == CENTRAL else math.inf


@dataclass(frozen=True, slots=True)
class Compressed:
    """What travels, and what it amounts to.

    Parameters
    ----------
    update : Update
        With the parameters and what is beside them as they will be read back, and the state to keep.
    arrays : mapping of str to array
        In place of parameters and of what is beside, named ``name/part``; the parameters' name is empty.
    """

    update: Update
    arrays: Mapping[str, NDArray[Any]]


def compress(
    codec: Codec,
    start: Values,
    update: Update,
    state: ClientState | None,
    *,
    client: int,
    round: int,
    seed: int,
    norm_bound: float = math.inf,
) -> Compressed:
    """Write an update in fewer bytes.

    Parameters
    ----------
    codec : Codec
    start : Values, shape (P,)
        The round's global parameters.
    update : Update
    state : ClientState, optional
        What this client kept from an earlier round.
    client, round, seed : int
        Decide the rounding: a repeated round gives the same bytes.
    norm_bound : float
        Largest 2-norm of the change as it is read back. Rounding may lengthen a vector, and what was left out of
        earlier rounds does; where differential privacy counts on a bound, it is kept after both.

    Raises
    ------
    ConfigError
        If something beside the parameters would need feedback of its own.
    """
    random = np.random.default_rng([_STREAM, seed, round, client])
    change = as_array(update.weights) - as_array(start)
    kept = dict(update.state.tensors) if update.state else {}
    if codec.feeds_back:
        if update.extra:
            raise ConfigError(
                f"{', '.join(update.extra)} beside an update has no error feedback; use --compression int8"
            )
        if state is not None and _UNSENT in state.tensors:
            change = change + as_array(state.tensors[_UNSENT])
    parts, sent = _bounded(codec, change, random, norm_bound)
    if codec.feeds_back:
        kept[_UNSENT] = like(start, change - sent)
    arrays = {f"{_OWN}/{part}": array for part, array in parts.items()}
    extra: dict[str, Values] = {}
    for name, values in update.extra.items():
        parts, read = _bounded(codec, as_array(values), random, math.inf)
        arrays.update({f"{name}/{part}": array for part, array in parts.items()})
        extra[name] = like(start, read)
    smaller = replace(
        update,
        weights=start + like(start, sent),
        extra=extra,
        state=ClientState(round, kept) if kept else None,
    )
    return Compressed(smaller, arrays)


def decompress(codec: Codec, arrays: Encoded, start: Values) -> dict[str, Values]:
    """Parameters (P,) under the empty name, and what is beside them by its own.

    Raises
    ------
    ConfigError
        If the arrays are not what :func:`compress` makes.
    """
    named: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        name, slash, part = key.rpartition("/")
        if not slash:
            raise ConfigError(f"a compressed update holds {key!r}, which nothing reads")
        named.setdefault(name, {})[part] = array
    size = len(start)
    read = {name: like(start, codec.decode(parts, size)) for name, parts in named.items()}
    if _OWN not in read:
        raise ConfigError("a compressed update lacks the parameters themselves")
    read[_OWN] = start + read[_OWN]
    return read


def _bounded(
    codec: Codec, vector: NDArray[np.float32], random: np.random.Generator, bound: float
) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
    parts = codec.encode(vector, random)
    read = codec.decode(parts, len(vector))
    if (norm := float(np.linalg.norm(read.astype(np.float64)))) > bound:
        # float32 rounds each product by 2^-24 of itself at most.
        parts[codec.linear] = parts[codec.linear] * np.float32(bound / norm * (1 - 1e-6))
        read = codec.decode(parts, len(vector))
    return parts, read
