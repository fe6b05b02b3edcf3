"""What every encoder offers, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from json import dumps
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import BundleError


@dataclass(frozen=True, slots=True)
class Prepared:
    """One source, decoded and preprocessed.

    Parameters
    ----------
    values : array
        What the network takes: token ids (T,), samples (N,), log-mel (bands, T) or uint8 pictures (N, S, S, 3).
    seconds : float
        How long it lasts; 0 for words and still pictures.
    """

    values: NDArray[Any]
    seconds: float = 0.0


class Encoder(Protocol):
    """A frozen network from one modality to a sequence of feature vectors.

    What comes out for a sample does not depend on its neighbours in a batch or on the number of threads: padding and
    shared quantisation ranges would both leak between samples, so each runs by itself.

    Attributes
    ----------
    modality : str
        ``text``, ``audio`` or ``video``.
    width : int
        Of its feature vectors.
    key : str
        Hash of the network's files and the preprocessing parameters: two encoders with one key give one result.
    tokens_per_second : float
        How many vectors a second; 0 for text, which has one a word-piece.
    """

    modality: str
    width: int
    key: str
    tokens_per_second: float

    def prepare(self, source: Any) -> Prepared:
        """Decode and preprocess one source: a ``str``, an ``Audio`` or a ``Video`` of ``fedaffect.edge.sample``.

        Raises
        ------
        DataError
            If it cannot be read, naming it.
        """
        ...

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Features of each, shape (T_i, width)."""
        ...


Settings = TypeVar("Settings")
Item = TypeVar("Item")
Result = TypeVar("Result")


def read_settings(kind: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """Preprocessing parameters from a manifest's mapping.

    Raises
    ------
    BundleError
        If one is missing, unknown or of the wrong kind.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise BundleError(f"{where} has preprocessing parameters {unknown} that this version does not know; update it")
    try:
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
    except TypeError as error:
        raise BundleError(f"{where} lacks preprocessing parameters ({error}); build the bundle again") from error


def written_settings(settings: Any) -> dict[str, Any]:
    """What `read_settings` reads; a parameter that bundles did not always have is left out where it has its default.

    So an encoder that does not use it keeps its key. Such a field's metadata say ``later``.
    """
    later = {field.name: field.default for field in fields(settings) if field.metadata.get("later")}
    return {name: value for name, value in asdict(settings).items() if name not in later or value != later[name]}


def key_of(files: Mapping[str, str], parameters: Mapping[str, Any]) -> str:
    """An encoder's key: SHA-256 over its files' hashes and its preprocessing parameters.

    Parameters
    ----------
    files : mapping of str to str
        Role of a file to its SHA-256.
    parameters : mapping
        JSON values.
    """
    return sha256(dumps({"files": dict(files), "parameters": dict(parameters)}, sort_keys=True).encode()).hexdigest()


def map_each(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """Apply a function to each item, on several threads where asked; ONNX Runtime runs outside Python's lock."""
    if threads <= 1 or len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
