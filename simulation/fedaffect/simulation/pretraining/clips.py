"""Clips of a corpus as token tables, labelled or not: what an auto-encoder learns from, and is chosen by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.cohort import TokenTable
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.errors import DataError
from fedaffect.edge.system.progress import working
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.preparing.columns import Columns, read_columns
from fedaffect.simulation.preparing.streams import make_streams, open_sources

# One owner in so many is for choosing the epoch where the corpus's authors give no development split.
_ONE_IN: Final = 10
_LEAST: Final = 2


@dataclass(frozen=True, slots=True)
class Clips:
    """Token tables of the same rows, and which of them train and choose.

    Parameters
    ----------
    tables : mapping of str to TokenTable
        By stream.
    train, dev : int64 array
        Rows with at least two tokens of a stream.
    encoder_keys : mapping of str to str
        What made the tokens.
    unusable : int
        Clips that could not be read.
    """

    tables: Mapping[str, TokenTable]
    train: NDArray[np.int64]
    dev: NDArray[np.int64]
    encoder_keys: Mapping[str, str]
    unusable: int

    @property
    def widths(self) -> dict[str, int]:
        """W_m of each stream."""
        return {stream: table.width for stream, table in self.tables.items()}

    def spreads(self) -> dict[str, Tensor]:
        """Mean and deviation of each feature over the training rows' tokens, (2, W_m); 1 where it does not vary."""
        found = {}
        for stream, table in self.tables.items():
            starts, ends = table.offsets[self.train], table.offsets[self.train + 1]
            total, squares, count = np.zeros(table.width), np.zeros(table.width), 0
            for start, end in zip(starts, ends, strict=True):
                tokens = table.tokens[start:end].astype(np.float64)
                total, squares, count = total + tokens.sum(0), squares + (tokens**2).sum(0), count + len(tokens)
            mean = total / max(1, count)
            deviation = np.sqrt(np.maximum(squares / max(1, count) - mean**2, 0.0))
            deviation[deviation < 1e-6] = 1.0
            found[stream] = torch.from_numpy(np.stack([mean, deviation]).astype(np.float32))
        return found

    def batches(
        self, rows: NDArray[np.int64], size: int, draw: np.random.Generator
    ) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """Tokens (B, T_m, W_m) and presence (B, T_m) of rows in a drawn order, of about one length in each batch."""
        lengths = np.max([table.lengths(rows) for table in self.tables.values()], axis=0)
        # Noise on the order by length, so that batches are others in each epoch and little of them is padding.
        ordered = rows[np.argsort(lengths * draw.uniform(0.8, 1.25, len(rows)), kind="stable")]
        parts = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        for place in draw.permutation(len(parts)):
            padded = {stream: table.padded(parts[place]) for stream, table in self.tables.items()}
            yield (
                {stream: torch.from_numpy(tokens) for stream, (tokens, _) in padded.items()},
                {stream: torch.from_numpy(held) for stream, (_, held) in padded.items()},
            )


def read_clips(config: RunSettings, ensure_bundle: Callable[[], Path] | None = None, progress: bool = True) -> Clips:
    """Encode a corpus's clips as a run with these settings would; labels are not looked at.

    Test rows take no part. Where the authors give no development split, every tenth owner's clips are one.

    Parameters
    ----------
    config : RunSettings
        Corpus, modalities and features.
    ensure_bundle : callable, optional
        Builds the edge bundle where it is not there and returns its folder.
    progress : bool

    Raises
    ------
    FedAffectError
        If the corpus cannot be read, or too few clips have two tokens of a stream.
    """
    data = config.data
    corpus = open_corpus(data.dataset, data.data_dir)
    sources = open_sources(
        corpus, data.modalities, data.bundle, ensure_bundle, data.audio_features, data.video_features
    )
    with working(f"reading {data.dataset}", shown=progress, at_once=False):
        columns = read_columns(corpus, None)
    encoded = sources.encoded(columns, progress)
    tables = make_streams({m: each.table for m, each in encoded.items()}, columns, data.normalise, context=0)
    long_enough = np.any([np.diff(table.offsets) >= _LEAST for table in tables.values()], axis=0)
    train, dev = _splits(columns, long_enough)
    if len(train) == 0 or len(dev) == 0:
        raise DataError(
            f"{data.dataset} has {len(train)} clips to learn from and {len(dev)} to choose by, of two tokens or more; "
            f"an auto-encoder needs both"
        )
    unusable = sum(len(each.unusable) for each in encoded.values())
    return Clips(tables, train, dev, {m: encoder.key for m, encoder in sources.encoders.items()}, unusable)


def _splits(columns: Columns, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = columns.rows
    train, dev = (np.flatnonzero((rows.splits == split) & wanted) for split in ("train", "dev"))
    if len(dev) or len(train) < _ONE_IN:
        return train, dev
    owners = rows.owners[train]
    known = np.unique(owners)
    chosen = np.isin(owners, known[::_ONE_IN]) if len(known) >= _ONE_IN else np.arange(len(train)) % _ONE_IN == 0
    return train[~chosen], train[chosen]
