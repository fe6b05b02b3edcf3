"""The loop of an auto-encoder: epochs of hidden spans, the best one by development clips."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from fedaffect.client.models.autoencoder import MaskedAutoEncoder
from fedaffect.client.models.registry import build_model
from fedaffect.edge.errors import TrainingError
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.pretraining.clips import Clips

# Of a clip's tokens, and how many in a row.
_SHARE: Final = 0.3
_SPAN: Final = 3
# Of the seed's draws for development clips: the same spans are hidden in every epoch.
_DEV: Final = 1


@dataclass(frozen=True, slots=True)
class Epoch:
    """How an epoch ended.

    Parameters
    ----------
    number : int
    train, dev : float
        The loss; what the mean of each feature would get is 1.
    best : bool
        Whether no earlier one was as good on development clips.
    """

    number: int
    train: float
    dev: float
    best: bool


def pretrain(
    config: RunSettings, clips: Clips, told: Callable[[Epoch, Mapping[str, Tensor]], None]
) -> tuple[dict[str, Tensor], float]:
    """Learn a model's stream encoders from clips.

    Parameters
    ----------
    config : RunSettings
        Model, epochs (``rounds``), batches, rate, seed, patience.
    clips : Clips
    told : callable
        Called after each epoch, with what the best one so far has learned.

    Returns
    -------
    dict of str to Tensor, float
        The best epoch's parameters by their names in the model, and its development loss.

    Raises
    ------
    ConfigError
        If no stream of the model has an encoder of its own.
    TrainingError
        If the loss is no longer a number.
    """
    seed = config.federation.seed
    torch.manual_seed(seed)
    # The number of classes decides nothing that is kept.
    model = build_model(config.model.model, clips.widths, 2, config.model.model_options)
    network = MaskedAutoEncoder(config.model.model, model, clips.spreads())
    optimizer = torch.optim.AdamW(network.parameters(), config.training.lr, weight_decay=config.training.weight_decay)
    draw = np.random.default_rng(seed)
    best, kept, since = math.inf, network.learned(), 0
    for number in range(1, config.federation.rounds + 1):
        losses = []
        network.train()
        for tokens, present in clips.batches(clips.train, config.training.batch_size, draw):
            hidden = hide(present, draw)
            if not any(mask.any() for mask in hidden.values()):
                continue
            loss = network(tokens, present, hidden)
            if not math.isfinite(float(loss.detach())):
                raise TrainingError(f"the loss of epoch {number} is not a number; lower --lr ({config.training.lr:g})")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
        dev = _loss(network, clips, config)
        if better := dev < best:
            best, kept, since = dev, copy.deepcopy(network.learned()), 0
        else:
            since += 1
        told(Epoch(number, float(np.mean(losses)), dev, better), kept)
        if config.evaluation.patience and since >= config.evaluation.patience:
            break
    return kept, best


def hide(present: Mapping[str, Tensor], draw: np.random.Generator) -> dict[str, Tensor]:
    """Spans of tokens to hide, about three in ten; of a clip with one token none, and never all of a clip.

    Parameters
    ----------
    present : mapping of str to Tensor of bool, shape (B, T_m)
    draw : Generator

    Returns
    -------
    dict of str to Tensor of bool, shape (B, T_m)
    """
    hidden = {}
    for stream, held in present.items():
        lengths, mask = held.sum(dim=1).tolist(), np.zeros(tuple(held.shape), bool)
        for row, length in enumerate(lengths):
            if length < 2:
                continue
            span = min(_SPAN, length // 2)
            for start in draw.integers(0, length - span + 1, max(1, round(_SHARE * length / span))):
                mask[row, start : start + span] = True
            if mask[row, :length].all():
                mask[row, 0] = False
        hidden[stream] = torch.from_numpy(mask)
    return hidden


@torch.no_grad()
def _loss(network: MaskedAutoEncoder, clips: Clips, config: RunSettings) -> float:
    """Of the development clips, mean over batches by their size."""
    network.eval()
    draw = np.random.default_rng([config.federation.seed, _DEV])
    total, count = 0.0, 0
    for tokens, present in clips.batches(clips.dev, config.training.batch_size, draw):
        hidden = hide(present, draw)
        if any(mask.any() for mask in hidden.values()):
            size = len(next(iter(tokens.values())))
            total, count = total + size * float(network(tokens, present, hidden)), count + size
    return total / max(1, count)
