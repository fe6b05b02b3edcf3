"""What an encoder of words is worth: its own answers on corpora it never saw, and its features under a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.metrics import per_class, summarise
from fedaffect.edge.labels import label_set
from fedaffect.server.models.alignment.answers import confusion
from fedaffect.server.models.encoders.words.network import TaughtWords, Tokens
from fedaffect.server.models.encoders.words.rows import LABELS, Lines

_BATCH: Final = 64
# Of the linear layer: enough steps of L-BFGS to be at its minimum, and a penalty that 384 features want.
_STEPS: Final = 200
_PENALTY: Final = 0.01


@dataclass(frozen=True, slots=True)
class Judged:
    """Figures on one corpus.

    Parameters
    ----------
    rows, classes : int
        Lines, and emotions that occur among them.
    uar, weighted_f1 : float
        Where answers are chosen among those emotions.
    recall : dict of str to float
        Of each of them.
    """

    rows: int
    classes: int
    uar: float
    weighted_f1: float
    recall: dict[str, float]


@torch.no_grad()
def own_answers(model: TaughtWords, lines: Lines) -> Judged:
    """The encoder's own head, which may never have seen lines of that corpus."""
    tokens = Tokens(model, lines.texts)
    scores = np.zeros((len(lines), lines.votes.shape[1]), np.float32)
    for rows in tokens.by_length(_BATCH):
        states, present = tokens.batch(rows)
        scores[rows] = model(model.upper(states, present), present)["votes"].numpy()
    return _judged(scores, lines)


def linear_on_features(model: TaughtWords, train: Lines, held_out: Lines) -> Judged:
    """A linear layer on mean tokens, learned on one split and asked about another: what frozen features hold.

    Cross-entropy with an L2 penalty, brought to its minimum by L-BFGS, on standardised features.
    """
    learned, asked = _features(model, train), _features(model, held_out)
    mean, deviation = learned.mean(dim=0), learned.std(dim=0) + 1e-6
    learned, asked = (learned - mean) / deviation, (asked - mean) / deviation
    labels = torch.from_numpy(train.votes.argmax(axis=1))
    layer = nn.Linear(learned.shape[1], train.votes.shape[1])
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(layer(learned), labels) + _PENALTY / 2 * layer.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return _judged(layer(asked).numpy(), held_out)


@torch.no_grad()
def _features(model: TaughtWords, lines: Lines) -> Tensor:
    """Mean of the last layer's tokens, (N, W)."""
    tokens = Tokens(model, lines.texts)
    features = torch.zeros(len(lines), int(model.encoder.config.hidden_size))
    for rows in tokens.by_length(_BATCH):
        states, present = tokens.batch(rows)
        last = model.upper(states, present) * present[..., None]
        features[torch.from_numpy(rows)] = last.sum(dim=1) / present.sum(dim=1, keepdim=True)
    return features


def _judged(scores: NDArray[np.float32], lines: Lines) -> Judged:
    """Figures of scores (N, C), among the classes that occur."""
    labels, names = lines.votes.argmax(axis=1), label_set(LABELS).labels
    occurring = np.unique(labels).tolist()
    counted = confusion(scores, labels, occurring)
    found, each = summarise(counted), per_class(counted, names)
    recall = {names[place]: each[names[place]]["recall"] for place in occurring}
    return Judged(len(labels), len(occurring), found["uar"], found["weighted_f1"], recall)
