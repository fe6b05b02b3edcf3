"""Training a fusion model centrally on calibration data, all of it or only what stands before a frozen trunk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.edge.errors import ConfigError, DataError, TrainingError
from fedaffect.server.models.alignment.material import Material

# How often a batch is of one modality, of two, of three; combinations are constructed from rows of equal label.
_SIZES: Final = (0.75, 0.17, 0.08)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """How a fusion model is fitted.

    Parameters
    ----------
    steps, batch_size : int
        Batches, and samples of one.
    lr : float
        Highest learning rate of AdamW; it rises over the first twentieth and falls as a cosine.
    weight_decay : float
    evenness : float
        0 draws the classes of a corpus as they fall, 1 draws all as often.
    smoothing : float
        Mass of a label that is spread over all classes.
    seed : int
        Of all draws.
    """

    steps: int = 2400
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    evenness: float = 0.55
    smoothing: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or not self.lr > 0:
            raise ConfigError("fitting takes 1 step or more, batches of 1 or more, and a learning rate above 0")
        if not (0 <= self.evenness <= 1 and 0 <= self.smoothing < 1):
            raise ConfigError("evenness is in [0, 1] and smoothing in [0, 1)")


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one subset of the modalities.

    Parameters
    ----------
    tokens : mapping of str to Tensor, shape (B, T_m, W_m)
    present : mapping of str to Tensor of bool, shape (B, T_m)
    targets : Tensor of float32, shape (B, C)
    """

    tokens: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    targets: Tensor


class Draws:
    """Endless training batches from materials.

    Parameters
    ----------
    materials : sequence of Material
        Corpora of one modality are drawn from as often as the square roots of their sizes say.
    config : FitConfig

    Raises
    ------
    DataError
        If a material has no training rows.
    """

    def __init__(self, materials: Sequence[Material], config: FitConfig) -> None:
        self._materials = materials
        self._config = config
        self._draw = np.random.default_rng(config.seed)
        self._of: dict[str, list[int]] = {}
        self._rows: list[dict[int, NDArray[np.int64]]] = []
        for number, material in enumerate(materials):
            rows = material.of_split("train")
            if len(rows) == 0:
                raise DataError(f"{material.corpus} has no row to train on; leave it out of --data")
            self._of.setdefault(material.modality, []).append(number)
            labels = material.labels[rows]
            self._rows.append({int(label): rows[labels == label] for label in np.unique(labels)})
        self.modalities = tuple(self._of)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.batch()

    def batch(self) -> Batch:
        """The next batch."""
        shares = np.array(_SIZES[: len(self.modalities)])
        size = 1 + int(self._draw.choice(len(shares), p=shares / shares.sum()))
        chosen = sorted(self._draw.choice(len(self.modalities), size, replace=False))
        return self._of_modalities([self.modalities[place] for place in chosen])

    def _of_modalities(self, modalities: Sequence[str]) -> Batch:
        sources = [int(self._draw.choice(self._of[m], p=self._shares_of(m))) for m in modalities]
        labels = self._labels(sources)
        tokens, present, targets = {}, {}, []
        for modality, source in zip(modalities, sources, strict=True):
            material = self._materials[source]
            rows = np.array([self._draw.choice(self._rows[source][label]) for label in labels], np.int64)
            table = material.tables[int(self._draw.integers(len(material.tables)))]
            values, mask = table.padded(rows)
            tokens[modality], present[modality] = torch.from_numpy(values), torch.from_numpy(mask)
            targets.append(material.votes[rows])
        votes = torch.from_numpy(np.mean(targets, axis=0, dtype=np.float32))
        mass = self._config.smoothing
        return Batch(tokens, present, (1 - mass) * votes + mass / votes.shape[1])

    def _shares_of(self, modality: str) -> NDArray[np.float64]:
        sizes = np.array([sum(map(len, self._rows[source].values())) for source in self._of[modality]], np.float64)
        shares: NDArray[np.float64] = np.sqrt(sizes) / np.sqrt(sizes).sum()
        return shares

    def _labels(self, sources: Sequence[int]) -> list[int]:
        """Labels that all sources have, as often as evenness says of the first."""
        common = sorted(set.intersection(*(set(self._rows[source]) for source in sources)))
        counts = np.array([len(self._rows[sources[0]][label]) for label in common], np.float64)
        weights = counts ** (1 - self._config.evenness)
        return [
            common[place]
            for place in self._draw.choice(len(common), self._config.batch_size, p=weights / weights.sum())
        ]


def fit(
    model: nn.Module,
    trained: Sequence[nn.Parameter],
    materials: Sequence[Material],
    config: FitConfig,
    report: Callable[[int, float], None] | None = None,
) -> None:
    """Train some parameters of a model in place; the others stay as they are.

    Parameters
    ----------
    model : nn.Module
        A fusion model of the registry.
    trained : sequence of Parameter
        Of that model.
    materials : sequence of Material
        Training rows are taken.
    config : FitConfig
    report : callable, optional
        Told the step and the mean loss since it was told last, twenty times.

    Raises
    ------
    TrainingError
        If the loss stops being a number.
    """
    torch.manual_seed(config.seed)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config.steps))
    every, lost = max(1, config.steps // 20), 0.0
    model.train()
    for step, batch in zip(range(1, config.steps + 1), Draws(materials, config), strict=False):
        loss = functional.cross_entropy(model(batch.tokens, batch.present), batch.targets)
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(f"the loss of step {step} is not a number; lower --lr (now {config.lr:g})")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        lost += float(loss.detach()) / every
        if step % every == 0:
            if report is not None:
                report(step, lost)
            lost = 0.0
    model.eval()


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / steps)))
