"""Feature matching and a task: the student learns its teacher's hidden states, and to tell emotions apart by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.edge.errors import ConfigError, TrainingError
from fedaffect.server.models.distillation.examples import Examples

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """How a student is trained.

    Parameters
    ----------
    epochs, batch_size, seed : int
    lr, weight_decay : float
        Of AdamW; the rate falls to zero in a straight line.
    task : float
        Weight of the labels beside the features.
    bound : float
        Mean cosine to the teacher's features on development data from which the student counts as faithful.
    """

    epochs: int = 2
    batch_size: int = 16
    seed: int = 0
    lr: float = 1e-4
    weight_decay: float = 0.01
    task: float = 0.1
    bound: float = 0.9

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.lr <= 0 or self.task < 0 or not 0 < self.bound <= 1:
            raise ConfigError("distillation wants epochs and batches of 1 or more, a positive lr, and a bound up to 1")


@dataclass(frozen=True, slots=True)
class Distilled:
    """A trained student and what it is worth.

    Parameters
    ----------
    student : nn.Module
        Of the teacher's input and output shapes.
    cosine : float
        Mean over development tokens, student's against teacher's features.
    teacher_accuracy, student_accuracy : float
        On development data, of one linear layer on mean features each, trained alike.
    """

    student: nn.Module
    cosine: float
    teacher_accuracy: float
    student_accuracy: float


def distil(
    teacher: nn.Module,
    student: nn.Module,
    train: Examples,
    dev: Examples,
    config: DistilConfig,
    report: Report = lambda _: None,
) -> Distilled:
    """Train a student; features are compared in units of the teacher's own spread.

    FitNets (Romero et al., arXiv 1412.6550, equation 3) on all hidden states that the encoder gives, with the task's
    cross-entropy beside it.

    Parameters
    ----------
    teacher, student : nn.Module
        From an input batch to features (B, T, W).
    train, dev : Examples
    config : DistilConfig
    report : callable of str
        Told each epoch.

    Raises
    ------
    TrainingError
        If the loss is no longer a number.
    ConfigError
        If a split is empty.
    """
    if not len(train) or not len(dev):
        raise ConfigError(f"{len(train)} training and {len(dev)} development utterances; distil on a larger corpus")
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    teacher.eval().requires_grad_(False)
    student.requires_grad_(True)
    mean, deviation = _spread(teacher, train, config.batch_size)
    heads = nn.ModuleDict({name: nn.Linear(len(mean), train.classes) for name in ("teacher", "student")})
    optimizer = torch.optim.AdamW(
        [
            {"params": student.parameters(), "lr": config.lr},
            {"params": heads.parameters(), "lr": 30 * config.lr},
        ],
        weight_decay=config.weight_decay,
    )
    steps = config.epochs * -(-len(train) // config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
    for epoch in range(config.epochs):
        student.train()
        lost = []
        for inputs, labels in train.batches(config.batch_size, rng):
            with torch.no_grad():
                wanted = (teacher(inputs) - mean) / deviation  # (B, T, W)
            given = (student(inputs) - mean) / deviation
            matched = functional.mse_loss(given, wanted)
            told = functional.cross_entropy(heads["student"](given.mean(dim=1)), labels)
            apart = functional.cross_entropy(heads["teacher"](wanted.mean(dim=1)), labels)
            loss = matched + config.task * told + apart
            if not torch.isfinite(loss):
                raise TrainingError("the distillation loss is not a number; lower the learning rate")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            lost.append(float(matched.detach()))
        report(f"epoch {epoch + 1} of {config.epochs}: feature loss {np.mean(lost):.3f}")
    student.eval()
    return _judged(teacher, student, heads, dev, (mean, deviation), config.batch_size)


@torch.no_grad()
def _spread(teacher: nn.Module, examples: Examples, size: int, batches: int = 64) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each of the teacher's features, (W,) both, over some batches."""
    rng = np.random.default_rng(0)
    tokens = []
    for place, (inputs, _) in enumerate(examples.batches(size, rng)):
        if place == batches:
            break
        tokens.append(teacher(inputs).flatten(0, 1))
    stacked = torch.cat(tokens)
    return stacked.mean(dim=0), stacked.std(dim=0, unbiased=False).clamp(min=1e-4)


@torch.no_grad()
def _judged(
    teacher: nn.Module,
    student: nn.Module,
    heads: nn.ModuleDict,
    dev: Examples,
    spread: tuple[Tensor, Tensor],
    size: int,
) -> Distilled:
    mean, deviation = spread
    cosines, right = [], {"teacher": 0, "student": 0}
    for inputs, labels in dev.batches(size):
        wanted, given = teacher(inputs), student(inputs)
        cosines.append(functional.cosine_similarity(given, wanted, dim=-1).flatten())
        for name, features in (("teacher", wanted), ("student", given)):
            scores = heads[name](((features - mean) / deviation).mean(dim=1))
            right[name] += int((scores.argmax(dim=-1) == labels).sum())
    return Distilled(
        student, float(torch.cat(cosines).mean()), right["teacher"] / len(dev), right["student"] / len(dev)
    )
