"""What one example changes in what a client sends, over random neighbours and with everything switched on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.small_cohorts import constructed_cohort
from torch import Tensor, nn

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.client.privacy.clip_bounds import CLIPPINGS, FLAT
from fedaffect.client.privacy.clipping import FastClippedSum
from fedaffect.client.privacy.opacus_engine import OpacusClippedSum
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.stacked.training import CohortTrainer
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import Update

# The shipped model's own shares of dropout, and more.
MODELS = {
    "cmt": {"width": 16, "heads": 2, "feedforward": 32, "dropout": 0.2, "token_dropout": 0.5},
    "linear": {},
    "head": {},
}
CLIP, LR, EXAMPLES = 1.0, 10.0, 14
Blank = Callable[[Cohort, int], Cohort]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("cohort") / "c", examples=EXAMPLES, clients=3, tokens=9)


def absent(cohort: Cohort, row: int) -> Cohort:
    """Nothing of the utterance is there; its tokens still lie in the tables."""
    present = {stream: held.copy() for stream, held in cohort.present.items()}
    for held in present.values():
        held[row] = False
    return replace(cohort, present=present)


def emptied(cohort: Cohort, row: int) -> Cohort:
    """The utterance has no tokens, so that a batch whose longest it was is shorter, and another label."""
    tables = {}
    for stream, table in cohort.tables.items():
        start, stop = table.offsets[row], table.offsets[row + 1]
        offsets = table.offsets.copy()
        offsets[row + 1 :] -= stop - start
        tables[stream] = TokenTable(np.delete(table.tokens, slice(start, stop), axis=0), offsets)
    labels = cohort.train_labels.copy()
    labels[row] = (labels[row] + 1) % len(cohort.label_names)
    return replace(absent(cohort, row), tables=tables, train_labels=labels)


def loud(cohort: Cohort, row: int) -> Cohort:
    """The utterance is the longest of all and a thousand times as large."""
    tables = {}
    for stream, table in cohort.tables.items():
        start, stop = table.offsets[row], table.offsets[row + 1]
        more = np.tile(table.tokens[start:stop].astype(np.float32) * 1000 + 7, (6, 1)).astype(np.float16)
        tokens = np.insert(np.asarray(table.tokens), stop, more, axis=0)
        offsets = table.offsets.copy()
        offsets[row + 1 :] += len(more)
        tables[stream] = TokenTable(tokens, offsets)
    return replace(cohort, tables=tables, present={s: np.ones_like(held) for s, held in cohort.present.items()})


def config(**privacy: object) -> TrainConfig:
    """One step, with draws and noise that repeat, so that nothing differs but what the example changed."""
    settings: dict[str, object] = {"epsilon": 8.0, "noise_multiplier": 0.01, "noise": "seeded", "clip_norm": CLIP}
    return TrainConfig(
        lr=LR,
        batch_size=EXAMPLES - 3,
        max_steps=1,
        modality_dropout=0.4,
        privacy=PrivacyConfig(**{**settings, **privacy}),  # type: ignore[arg-type]
    )


def moved(one: Tensor, other: Tensor) -> float:
    """By how much two sums differ, of which the updates are the steps."""
    return float((one - other).double().norm()) * (EXAMPLES - 3) / LR


def neighbours(cohort: Cohort, blank: Blank, rng: np.random.Generator) -> tuple[Cohort, Cohort]:
    row = int(rng.choice(cohort.rows_of(0)))
    whole = loud(cohort, row) if rng.random() < 0.5 else cohort
    return whole, blank(whole, row)


@pytest.mark.parametrize("blank", [absent, emptied])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("engine", ["fast", "opacus"])
def test_one_example_moves_a_clipped_sum_by_the_clipping_norm_at_most(
    folder: Path, model: str, engine: str, clipping: str, blank: Blank
) -> None:
    torch.set_num_threads(1)
    task = ClientTask(folder, model, MODELS[model])
    cohort, rng = task.cohort, np.random.default_rng(0)
    worst = 0.0
    for trial in range(16 if engine == "fast" else 6):
        pair = neighbours(cohort, blank, rng)
        weights = task.initial_weights(trial)
        sent = []
        for task.cohort in pair:
            sent.append(task.train(weights, config(engine=engine, clipping=clipping), 0, 1, trial).weights)
        worst = max(worst, moved(*sent))
    assert 0.5 * CLIP < worst <= CLIP * (1 + 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("blank", [absent, emptied])
def test_one_example_moves_nobody_else_where_clients_train_at_once(folder: Path, blank: Blank) -> None:
    torch.set_num_threads(1)
    task = ClientTask(folder, "cmt", MODELS["cmt"])
    cohort, rng, trainer = task.cohort, np.random.default_rng(1), CohortTrainer(task)
    worst = others = 0.0
    for trial in range(10):
        pair = neighbours(cohort, blank, rng)
        weights = task.initial_weights(trial)
        sent = []
        for task.cohort in pair:
            made = trainer.train(weights, config(), (0, 1, 2), 1, trial)
            sent.append([update.weights for update in made if isinstance(update, Update)])
        worst = max(worst, moved(sent[0][0], sent[1][0]))
        others = max(others, moved(sent[0][1], sent[1][1]), moved(sent[0][2], sent[1][2]))
    assert 0.5 * CLIP < worst <= CLIP * (1 + 1e-4)
    assert others <= 1e-4 * CLIP


class Drawing(nn.Module):
    """A model of somebody else's, with dropout as a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.last(self.drop(self.first(x)))
        return made


@pytest.mark.parametrize("engine", [FastClippedSum, OpacusClippedSum])
def test_a_models_own_dropout_is_off_in_a_clipped_sum_and_on_after_it(engine: type[FastClippedSum]) -> None:
    torch.manual_seed(0)
    model, x = Drawing().train(), torch.randn(5, 3)
    sums = []
    for _ in range(3):
        sums.append(torch.empty(sum(p.numel() for p in model.parameters())))
        engine(model, FLAT, 0.5)(lambda: model(x).square().sum(dim=1), sums[-1])
    assert torch.equal(sums[0], sums[1])
    assert torch.equal(sums[0], sums[2])
    assert all(module.training for module in model.modules())
    assert not torch.equal(model(x), model(x))


def test_what_a_model_still_draws_is_not_the_servers_to_know(folder: Path) -> None:
    torch.set_num_threads(1)
    task = ClientTask(folder, "linear")
    plain, drawn = copy.copy(task.model.forward), []

    def forward(tokens: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        drawn.append(float(torch.rand(())))
        made: Tensor = plain(tokens, present)
        return made

    task.model.forward = forward  # type: ignore[method-assign, assignment]
    for noise, kinds in (("seeded", 1), ("secure", 2)):
        drawn.clear()
        for _ in range(2):
            task.train(task.initial_weights(0), replace(config(noise=noise), max_steps=1), 0, 1, 0)
        assert len(set(drawn)) == kinds
