"""What a student learns from: a corpus's utterances as the encoder takes them, with their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.corpora.archives import Archives
from fedaffect.client.corpora.base import require_labels
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.labels import label_set

# One in so many is held out where a corpus has no development split of its own.
_HELD_OUT = 8


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs of one encoder.

    Parameters
    ----------
    inputs : tuple of arrays
        Word-piece ids (T,) or log-mel (bands, T), one an utterance.
    labels : int64 array, shape (N,)
        Classes of the corpus's own label set.
    classes : int
        How many there are.
    """

    inputs: tuple[NDArray[Any], ...]
    labels: NDArray[np.int64]
    classes: int

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs of about one length together, cut to the shortest of them, with their labels.

        Nothing is padded: the encoders take no mask, as on a device every sample runs by itself.

        Parameters
        ----------
        size : int
            Utterances a batch, at most.
        rng : Generator, optional
            Shuffles; in order of length if not given.
        """
        lengths = np.array([values.shape[-1] for values in self.inputs])
        noise = rng.uniform(0, 0.5, len(lengths)) if rng else np.zeros(len(lengths))
        order = np.argsort(lengths + noise, kind="stable")
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        for place in rng.permutation(len(parts)) if rng else range(len(parts)):
            rows = parts[place]
            shortest = int(lengths[rows].min())
            inputs = np.stack([self.inputs[row][..., :shortest] for row in rows])
            yield torch.from_numpy(inputs), torch.from_numpy(self.labels[rows])


def read_examples(name: str, data_dir: Path | None, encoder: Encoder, most: int = 20_000) -> tuple[Examples, Examples]:
    """Training and development utterances of a corpus, prepared for an encoder.

    The test split is never read. Where there is no development split, every eighth owner is held out.

    Parameters
    ----------
    name : str
        The corpus.
    data_dir : Path, optional
        Its folder.
    encoder : Encoder
        Whose ``prepare`` is used.
    most : int
        Utterances a split, at most; evenly thinned where there are more.

    Raises
    ------
    ConfigError
        If the corpus lacks the modality.
    DataError
        If it cannot be read.
    """
    corpus = open_corpus(name, data_dir)
    if encoder.modality not in corpus.info.modalities:
        raise ConfigError(f"{name} has no {encoder.modality}; distil on a corpus that has")
    require_labels(corpus.info)
    labels = label_set(corpus.info.label_set)
    utterances = [u for u in corpus if u.split != "test" and getattr(u.sample, encoder.modality) is not None]
    owners = sorted({u.client for u in utterances})
    if not any(u.split == "dev" for u in utterances):
        held = set(owners[:: min(_HELD_OUT, max(2, len(owners)))])
    else:
        held = set()
    train = [u for u in utterances if u.split == "train" and u.client not in held]
    dev = [u for u in utterances if u.split == "dev" or u.client in held]
    with Archives() as archives:

        def prepared(chosen: Sequence[Any]) -> Examples:
            thin = chosen[:: -(-len(chosen) // most)] if chosen else chosen
            inputs, classes = [], []
            for utterance in thin:
                place = labels.index(utterance.label)
                if place is not None:
                    source = archives.resolve(getattr(utterance.sample, encoder.modality))
                    inputs.append(encoder.prepare(source).values)
                    classes.append(place)
            return Examples(tuple(inputs), np.array(classes, np.int64), len(labels))

        return prepared(train), prepared(dev)
