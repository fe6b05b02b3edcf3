"""Several tasks at once: seven emotions by shares, GoEmotions' finer ones, valence and arousal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.edge.errors import ConfigError, TrainingError
from fedaffect.server.models.encoders.words.network import TaughtWords, Tokens
from fedaffect.server.models.encoders.words.rows import Lines

# The spread of ratings on our scale is a sixth; squared errors are counted in units of it.
_RATING_VARIANCE: Final = 0.03
_LONG_BATCHES: Final = 40

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsConfig:
    """How the words' encoder is taught.

    Parameters
    ----------
    epochs : int
        Draws of at most ``most_a_class`` lines of each class.
    most_a_class : int
        Of each emotion, and of lines with ratings alone; frequent emotions would else be most of what is learned.
    frozen : int
        Layers from the first that are not taught.
    batch_size, seed : int
    lr, head_lr, weight_decay, warmup : float
        Of AdamW; rates rise over the share ``warmup`` of all steps and fall to zero in a straight line.
    smoothing : float
        Mass of each line's shares that is spread over all classes.
    finer, ratings : float
        Weights of those tasks beside the emotions.
    """

    epochs: int = 2
    most_a_class: int = 8000
    frozen: int = 3
    batch_size: int = 32
    seed: int = 0
    lr: float = 1e-4
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.06
    smoothing: float = 0.05
    finer: float = 6.0
    ratings: float = 0.2

    def __post_init__(self) -> None:
        if min(self.epochs, self.most_a_class, self.batch_size) < 1 or min(self.lr, self.head_lr) <= 0:
            raise ConfigError("an encoder is taught in 1 or more epochs, by batches of 1 or more and positive rates")
        if not 0 <= self.frozen <= 6 or not 0 <= self.warmup < 1 or not 0 <= self.smoothing < 1:
            raise ConfigError("MiniLM has six layers to freeze; warm-up and smoothing are shares below 1")


def teach(lines: Lines, config: WordsConfig, report: Progress = lambda *_: None) -> TaughtWords:
    """Teach MiniLM.

    Parameters
    ----------
    lines : Lines
    config : WordsConfig
    report : callable of (int, int, float)
        Told the step, of how many, and a running mean of the loss.

    Returns
    -------
    TaughtWords
        Ready to infer.

    Raises
    ------
    TrainingError
        If the loss is no longer a number.
    """
    torch.manual_seed(config.seed)
    draw = np.random.default_rng(config.seed)
    widths = (part.shape[1] for part in (lines.votes, lines.finer, lines.ratings))
    network = TaughtWords(config.frozen, *widths)
    tokens = Tokens(network, lines.texts)
    groups = lines.groups()
    weights = _class_weights(lines, config.most_a_class)
    steps = config.epochs * -(-len(_drawn(groups, config.most_a_class, draw)) // config.batch_size)
    taught = [p for p in network.encoder.parameters() if p.requires_grad]
    heads = [p for part in (network.attention, network.heads) for p in part.parameters()]
    optimizer = torch.optim.AdamW(
        [{"params": taught, "lr": config.lr}, {"params": heads, "lr": config.head_lr}], weight_decay=config.weight_decay
    )
    rising = max(1, round(config.warmup * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rising, max(0.0, (steps - step) / steps))
    )
    step, running = 0, 0.0
    for _ in range(config.epochs):
        for rows in _batches(_drawn(groups, config.most_a_class, draw), tokens.lengths, config.batch_size, draw):
            network.train()
            states, present = tokens.batch(rows)
            loss = _loss(network(network.upper(states, present), present), lines, rows, weights, config)
            if not torch.isfinite(loss):
                raise TrainingError("the loss of the words' encoder is not a number; lower --lr")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(taught, 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            running = float(loss.detach()) if step == 1 else 0.98 * running + 0.02 * float(loss.detach())
            report(step, steps, running)
    return network.eval()


def _loss(
    scores: dict[str, Tensor], lines: Lines, rows: NDArray[np.int64], weights: Tensor, config: WordsConfig
) -> Tensor:
    """Sum of the tasks, each over the lines that it is known of."""
    votes, finer, ratings = (torch.from_numpy(part[rows]) for part in (lines.votes, lines.finer, lines.ratings))
    total = torch.zeros(())
    if (there := votes.sum(dim=1) > 0).any():
        each = functional.cross_entropy(
            scores["votes"][there], votes[there], reduction="none", label_smoothing=config.smoothing
        )
        total = total + (each * (votes[there] @ weights)).mean()
    if (there := ~finer[:, 0].isnan()).any():
        total = total + config.finer * functional.binary_cross_entropy_with_logits(scores["finer"][there], finer[there])
    if (there := ~ratings[:, 0].isnan()).any():
        error = functional.mse_loss(scores["ratings"][there], ratings[there])
        total = total + config.ratings * error / _RATING_VARIANCE
    return total


def _class_weights(lines: Lines, most: int) -> Tensor:
    """Of each emotion, (7,): rarer ones weigh more, by the root of how often they are drawn; the mean is 1."""
    drawn = np.clip(lines.votes.sum(axis=0), 1, most)
    weights = drawn**-0.5
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


def _drawn(groups: NDArray[np.int64], most: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Rows of one epoch."""
    parts = []
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        parts.append(draw.choice(rows, min(len(rows), most), replace=False))
    return draw.permutation(np.concatenate(parts))


def _batches(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], size: int, draw: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Batches of about one length each, in random order."""
    batches = []
    for start in range(0, len(rows), size * _LONG_BATCHES):
        part = rows[start : start + size * _LONG_BATCHES]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[place : place + size] for place in range(0, len(part), size)]
    return [batches[int(place)] for place in draw.permutation(len(batches))]
