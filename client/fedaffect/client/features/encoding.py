"""Encoding a corpus once: decoded by a few threads while the encoder runs, kept under the hash of all it depends on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import TokenTable
from fedaffect.client.corpora.archives import Archives
from fedaffect.client.corpora.base import Corpus, Utterance
from fedaffect.client.corpora.stand_ins import stand_in
from fedaffect.client.features.cache import FeatureFolder
from fedaffect.edge.encoders.base import Encoder, Prepared
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.system.progress import working

# Raised whenever the same encoder and corpus would be stored otherwise.
_EDITION = 2
# Rows that are lost at most when encoding is interrupted.
_PART_ROWS = 256
_BATCH_ROWS = 16
_DECODERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One modality of a corpus through an encoder.

    Parameters
    ----------
    table : TokenTable
        Tokens, memory-mapped; an utterance that lacks the modality, or whose clip cannot be used, has none.
    unusable : mapping of str to str
        Utterance id to the reason why its clip cannot be used.
    """

    table: TokenTable
    unusable: Mapping[str, str]


def feature_key(corpus: Corpus, modality: str, encoder: Encoder) -> str:
    """Hash of everything that decides the features of a corpus in one modality.

    The encoder's key covers its network and preprocessing, the corpus's fingerprint its files and order.
    """
    faces = corpus.info.faces if modality == "video" else ""
    settings = {
        "edition": _EDITION,
        "encoder": encoder.key,
        "corpus": corpus.fingerprint(),
        "modality": modality,
        "faces": faces,
    }
    return sha256(dumps(settings, sort_keys=True).encode()).hexdigest()


def encode_corpus(
    corpus: Corpus,
    utterances: Sequence[Utterance],
    modality: str,
    encoder: Encoder,
    cache: Path,
    progress: bool = True,
    dtype: type[np.generic] = np.float16,
) -> Encoded:
    """Features of every utterance in one modality, from the cache where they were encoded before.

    Encoding that is interrupted goes on where it stopped, to byte for byte the same result: a part's features depend
    on its own utterances only. Two processes that want the same features take turns, and the second finds them made.
    A clip that cannot be read, or in which nothing is heard, gets no tokens and is named with its reason.

    Parameters
    ----------
    corpus : Corpus
        Named in the key.
    utterances : sequence of Utterance
        All of the corpus, in its order.
    modality : str
        ``text``, ``audio`` or ``video``.
    encoder : Encoder
        Of that modality.
    cache : Path
        Root of the cache; features go to ``features/<key>`` under it.
    progress : bool
        Show on standard error how far it is.
    dtype : numpy type
        As which features are kept.

    Returns
    -------
    Encoded

    Raises
    ------
    DataError
        If the disk is full, or what is cached is damaged.
    BundleError
        If the encoder gives something else than finite vectors of its width.
    """
    folder = FeatureFolder(
        cache / "features" / feature_key(corpus, modality, encoder), encoder.width, len(utterances), dtype
    )
    if found := folder.open():
        return _encoded(*found, utterances)
    with folder.claimed():
        if found := folder.open():
            return _encoded(*found, utterances)
        parts = [(i, min(i + _PART_ROWS, len(utterances))) for i in range(0, len(utterances), _PART_ROWS)]
        with working(f"encoding {corpus.info.name} {modality}", len(utterances), shown=progress) as done:
            missing = [part for part in parts if not folder.has_part(*part)]
            done(len(utterances) - sum(stop - start for start, stop in missing))
            wanted = (utterances[row] for start, stop in missing for row in range(start, stop))
            with closing(_features(wanted, encoder, dtype)) as features:
                for start, stop in missing:
                    sequences, unusable = [], {}
                    for row, (sequence, reason) in enumerate(islice(features, stop - start), start):
                        sequences.append(sequence)
                        if reason:
                            unusable[row] = reason
                        done(1)
                    folder.write_part(start, stop, sequences, unusable)
        about = {"corpus": corpus.info.name, "modality": modality, "encoder": encoder.key, "edition": _EDITION}
        return _encoded(*folder.finish(parts, about), utterances)


def _encoded(table: TokenTable, unusable: Mapping[int, str], utterances: Sequence[Utterance]) -> Encoded:
    return Encoded(table, {utterances[row].sample.id: reason for row, reason in unusable.items()})


def _features(
    utterances: Iterable[Utterance], encoder: Encoder, dtype: type[np.generic]
) -> Generator[tuple[NDArray[Any], str], None, None]:
    """Tokens of each utterance in order, shapes (T_i, W), and why there are none; decoding runs a few clips ahead."""
    nothing = np.zeros((0, encoder.width), dtype)
    with Archives() as archives, closing(_prepared(utterances, encoder, archives)) as prepared:
        while batch := list(islice(prepared, _BATCH_ROWS)):
            there = [item for _, item in batch if isinstance(item, Prepared)]
            encoded = iter(encoder.encode(there) if there else ())
            for utterance, item in batch:
                if isinstance(item, DataError):
                    yield nothing, str(item)
                elif item is None:
                    yield nothing, ""
                else:
                    tokens = _checked(next(encoded), encoder, utterance, dtype)
                    yield tokens, "" if len(tokens) else "the encoder gives nothing for it"


def _prepared(
    utterances: Iterable[Utterance], encoder: Encoder, archives: Archives
) -> Generator[tuple[Utterance, Prepared | DataError | None], None, None]:
    """Utterances and what the encoder takes of them; None where the modality is missing, or why it cannot be used."""

    def prepare(utterance: Utterance) -> Prepared | DataError | None:
        source = getattr(utterance.sample, encoder.modality)
        if source is None:
            return None
        try:
            content = archives.resolve(source)
            if reason := stand_in(content):
                return DataError(reason)
            return encoder.prepare(content)
        except DataError as error:
            return error

    waiting: deque[tuple[Utterance, Future[Prepared | DataError | None]]] = deque()
    pool = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")
    try:
        for utterance in utterances:
            waiting.append((utterance, pool.submit(prepare, utterance)))
            if len(waiting) > 2 * _BATCH_ROWS:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _checked(
    tokens: NDArray[np.float32], encoder: Encoder, utterance: Utterance, dtype: type[np.generic]
) -> NDArray[Any]:
    if tokens.ndim != 2 or tokens.shape[1] != encoder.width:
        raise BundleError(
            f"the {encoder.modality} encoder gives shape {tokens.shape} for {utterance.sample.id}, not "
            f"(T, {encoder.width}); build the bundle again"
        )
    limit = np.iinfo(dtype).max if issubclass(dtype, np.integer) else np.finfo(dtype).max  # type: ignore[type-var]
    if not (np.abs(tokens) <= limit).all():
        raise BundleError(
            f"the {encoder.modality} encoder gives values for {utterance.sample.id} that are not numbers or above "
            f"{limit:g}; build the bundle again"
        )
    return tokens.astype(dtype)
