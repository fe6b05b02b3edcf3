"""Teacher and student learn side by side: the student from the votes, the teacher's answers and its features."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import replacing
from fedaffect.server.models.faces.augment import augment
from fedaffect.server.models.faces.network import SIZES, ExpressionNet, standardise
from fedaffect.server.models.faces.votes import Faces

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """How both are trained.

    Parameters
    ----------
    epochs, batch_size, seed : int
        Passes over the training split, faces a step, and what decides every draw.
    lr, momentum, weight_decay : float
        Of stochastic gradient descent; the rate rises for two epochs and falls as a cosine.
    temperature : float
        Of the answers compared (Hinton et al., arXiv 1503.02531, equation 1).
    answers, features : float
        Weights of the teacher's answers and of its features in the student's loss, beside the votes' 1 - answers.
    average : float
        Decay a step of the averaged weights that are kept in the end.
    small_side, small_share : int, float
        The first share of the epochs sees smaller views, which are cheaper (Touvron et al., arXiv 1906.06423, show
        that a network may train on smaller pictures than it is used on).
    """

    epochs: int = 22
    batch_size: int = 128
    seed: int = 0
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    temperature: float = 2.0
    answers: float = 0.5
    features: float = 1.0
    average: float = 0.998
    small_side: int = 40
    small_share: float = 0.45

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.lr <= 0 or not 0 <= self.answers <= 1:
            raise ConfigError("epochs of 1 or more, batches of 2 or more, a positive lr and 0 <= answers <= 1, please")


class Pair(nn.Module):
    """Both networks, and the map that compares the student's features with the teacher's."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = ExpressionNet(SIZES["teacher"])
        self.student = ExpressionNet(SIZES["student"])
        self.translate = nn.Linear(self.student.width, self.teacher.width)


def distil(
    train: Faces, dev: Faces, config: DistilConfig, out: Path, report: Report, begin: Pair | None = None
) -> Pair:
    """Train both; keep the averaged weights of the last epoch, and write them after each.

    The networks train in bfloat16 where the processor has it, with float32 weights.

    Parameters
    ----------
    train, dev : Faces
        Training and development splits; the test split has no place here.
    config : DistilConfig
    out : Path
        Folder for ``pair.pt`` (weights only) and ``epochs.jsonl``.
    report : callable
        Told each epoch's figures.
    begin : Pair, optional
        What to go on from, with a new schedule; fresh weights if not given.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    pair = (begin or Pair()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = len(train) // config.batch_size
    # Weights that have learned already need no gentle start.
    warm = (0.2 if begin else min(2, config.epochs / 2)) * steps
    optimizer = torch.optim.SGD(_groups(pair, config.weight_decay), config.lr, config.momentum, nesterov=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / (config.epochs * steps))))
    )
    decayed = torch.optim.swa_utils.get_ema_multi_avg_fn(config.average)  # type: ignore[no-untyped-call]
    average = torch.optim.swa_utils.AveragedModel(pair, multi_avg_fn=decayed, use_buffers=True)
    draws = Generator().manual_seed(config.seed)
    for epoch in range(config.epochs):
        start, lost = perf_counter(), 0.0
        side = config.small_side if epoch < int(config.small_share * config.epochs) else None
        pair.train()
        for rows in torch.randperm(len(train), generator=draws)[: steps * config.batch_size].view(steps, -1):
            loss = _loss(pair, augment(train.pictures[rows], draws, side), train.votes[rows], config)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            average.update_parameters(pair)
            lost += float(loss.detach()) / steps
        kept = average.module
        with replacing(out / "pair.pt") as part:
            torch.save(kept.state_dict(), part)
        figures = {"epoch": epoch + 1, "loss": lost, "seconds": perf_counter() - start}
        with torch.autocast("cpu", torch.bfloat16):
            for name in SIZES:
                figures[f"{name}_dev_accuracy"] = accuracy(probabilities(getattr(kept, name), dev.pictures), dev)
        with (out / "epochs.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(figures) + "\n")
        report(figures)
    return _pair(average.module)


@torch.no_grad()
def paired(teacher: ExpressionNet, student: ExpressionNet, faces: Faces) -> Pair:
    """Trained networks as a pair to go on from; the map between their features is fitted by least squares.

    Parameters
    ----------
    teacher, student : ExpressionNet
    faces : Faces
        The first 4,096 pictures are taken.
    """
    pair = Pair()
    pair.teacher, pair.student = teacher.eval(), student.eval()
    grey = [standardise(part.float() / 255) for part in torch.split(faces.pictures[:4096], 256)]
    told, learned = (torch.cat([network.features(part) for part in grey]) for network in (teacher, student))
    with_one = torch.cat([learned, torch.ones(len(learned), 1)], dim=1)
    solution = torch.linalg.lstsq(with_one, told).solution
    pair.translate.weight.copy_(solution[:-1].T)
    pair.translate.bias.copy_(solution[-1])
    return pair


def _pair(module: nn.Module) -> Pair:
    if not isinstance(module, Pair):
        raise TypeError(f"averaged a {type(module).__name__}, not a pair")
    return module


def _groups(pair: Pair, weight_decay: float) -> list[dict[str, Any]]:
    """Norms and biases are not drawn to zero."""
    heavy = [p for p in pair.parameters() if p.ndim > 1]
    light = [p for p in pair.parameters() if p.ndim <= 1]
    return [{"params": heavy, "weight_decay": weight_decay}, {"params": light, "weight_decay": 0.0}]


def _loss(pair: Pair, views: Tensor, votes: Tensor, config: DistilConfig) -> Tensor:
    grey = standardise(views).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        told, teacher_scores = pair.teacher.scores(grey)
        learned, student_scores = pair.student.scores(grey)
        translated = pair.translate(learned)
    T = config.temperature
    wanted = functional.softmax(teacher_scores.detach().float() / T, dim=-1)
    answers = T * T * functional.cross_entropy(student_scores.float() / T, wanted)
    apart = 1 - functional.cosine_similarity(translated.float(), told.detach().float(), dim=-1).mean()
    teacher = functional.cross_entropy(teacher_scores.float(), votes)
    student = functional.cross_entropy(student_scores.float(), votes)
    return teacher + (1 - config.answers) * student + config.answers * answers + config.features * apart


@torch.no_grad()
def probabilities(network: ExpressionNet, pictures: Tensor) -> Tensor:
    """Class probabilities in FP32, shape (N, 8)."""
    network.eval()
    answers = []
    for part in torch.split(pictures, 256):
        grey = standardise(part.float() / 255).contiguous(memory_format=torch.channels_last)
        answers.append(functional.softmax(network.scores(grey)[1], dim=-1))
    return torch.cat(answers)


def accuracy(answers: Tensor, faces: Faces) -> float:
    """Share right of class scores (N, 8), among the faces that the published rule keeps."""
    right = answers.argmax(dim=-1) == faces.labels
    return float(right[faces.published].float().mean())
