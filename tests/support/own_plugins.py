"""Plug-ins of a caller's own, as objects: a corpus of constructed vectors, a strategy, a model, a way to divide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from flwr.serverapp.strategy import FedAvg, Strategy
from torch import Tensor, nn

from fedaffect.client import Corpus, CorpusInfo, LocalAlgorithm, Utterance
from fedaffect.edge import Sample
from fedaffect.server import StrategyEntry
from fedaffect.server.federation.strategies.flower import EVERYBODY
from fedaffect.simulation import Partition, Rows


class Notes(Corpus):
    """Eight people whose sentences are vectors of width 6: the class shows in the first numbers."""

    info = CorpusInfo(
        name="notes", title="Notes", modalities=("text",), label_set="shared4", label_sets=("shared4",),
        licence="own", size="192 notes, 8 people", where="constructed", needs="nothing", counts={}, client="speaker",
        faces="none", citation="none", features_only=True,
    )  # fmt: skip

    def __init__(self, data_dir: object = None, *, seed: int = 0) -> None:
        self.seed = seed

    def __iter__(self) -> Iterator[Utterance]:
        generator = np.random.default_rng(self.seed)
        labels = ("neutral", "joy", "sadness", "anger")
        for number in range(192):
            kind = number // 8 % 4
            tokens = generator.normal(size=(3, 6)).astype(np.float32)
            tokens[:, kind] += 3.0
            person = f"person {number % 8}"
            split = ("train", "train", "dev", "test")[number // 32 % 4]
            sample = Sample(id=str(number), text="…")
            yield Utterance(sample=sample, label=labels[kind], split=split, speaker=person, client=person,
                            features={"text": tokens})  # fmt: skip

    def fingerprint(self) -> str:
        return sha256(f"notes {self.seed}".encode()).hexdigest()


class Mean(nn.Module):
    """Scores from the mean token of the only stream."""

    def __init__(self, widths: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        ((self.stream, width),) = widths.items()
        self.head = nn.Linear(width, num_classes)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """(B, T, W) and (B, T) to (B, C)."""
        there = present[self.stream].unsqueeze(-1)
        mean = (tokens[self.stream] * there).sum(1) / there.sum(1).clamp(min=1)
        scores: Tensor = self.head(mean)
        return scores


def mean_model(widths: Mapping[str, int], num_classes: int) -> nn.Module:
    return Mean(widths, num_classes)


def build_plain(options: Mapping[str, float], config: Any, clients: int) -> Strategy:
    return FedAvg(**EVERYBODY)


class Unmoved(LocalAlgorithm):
    """Trains nothing: gradients are none."""

    def correct(self, parameters: Any) -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()


PLAIN = StrategyEntry(build_plain)
STILL = StrategyEntry(build_plain, algorithm="@unmoved")


def pairs(rows: Rows, seed: int) -> Partition:
    """Two clients: the even rows and the odd ones."""
    held = rows.training
    return Partition.of_clients(held, np.arange(len(held)) % 2, ("even", "odd"))


def double_model(widths: Mapping[str, int], num_classes: int) -> nn.Module:
    return Mean(widths, num_classes).to(torch.float64)
