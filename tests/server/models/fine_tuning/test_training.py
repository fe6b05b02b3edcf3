"""Epochs: they learn, they can be gone on with bit for bit, and how a batch is divided decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from numpy.typing import NDArray
from tests.support.raw_cohorts import raw_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.client.metrics import concordance
from fedaffect.edge.errors import ConfigError, TrainingError
from fedaffect.server.models.fine_tuning.optimizer import Recipe
from fedaffect.server.models.fine_tuning.ring import ProcessRing
from fedaffect.server.models.fine_tuning.trainer import Ring, Trainer
from fedaffect.server.models.fine_tuning.whole import Plan

Folders = Callable[[str], Path]
RECIPE = Recipe(epochs=4, batch_size=8, micro_batch_size=8, lr=1e-2, encoder_lr=2e-3, warmup=0.1)


def trainer_of(folder: str, cohort: Cohort, recipe: Recipe = RECIPE, ring: Ring | None = None) -> Trainer:
    plan = Plan(
        sources={"text": folder},
        frozen={},
        model="own",
        options={"dropout": 0.0},
        classes=2,
        seed=0,
        device="cpu",
        ratings=len(cohort.rating_names),
    )
    opened = plan.open()
    # Dropout is drawn by each process for its own rows.
    for module in opened.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return Trainer(opened.network, cohort, recipe, ring=ring)


def rated(cohort: Cohort) -> Cohort:
    """Valence follows the class, and every third sample has none."""
    valence = (2 * cohort.labels - 1).astype(np.float32)[:, None]
    valence[::3] = np.nan
    return replace(cohort, rating_names=("valence",), ratings=valence)


def accuracy(trainer: Trainer, rows: NDArray[np.int64]) -> float:
    return float((trainer.answers(rows)[:, :2].argmax(1) == trainer.cohort.labels[rows]).mean())


def test_an_encoder_learns_words_that_its_head_alone_does_not(model_folder: Folders) -> None:
    cohort = raw_cohort(["text"], examples=64)
    trainer = trainer_of(str(model_folder("bert")), cohort, replace(RECIPE, epochs=12))
    losses = [trainer.epoch(number) for number in range(1, 13)]
    assert losses[-1] < 0.5 * losses[0]
    assert accuracy(trainer, cohort.splits["test"]) > 0.9


def test_rates_rise_and_fall() -> None:
    rates = [Recipe(epochs=1).rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert np.argmax(rates) == 9
    assert 0 < rates[-1] < 0.02
    assert all(np.diff(rates[10:]) < 0)
    with pytest.raises(ConfigError):
        Recipe(epochs=0)


def test_an_epoch_that_is_gone_on_with_gives_the_same_bits(model_folder: Folders) -> None:
    cohort = raw_cohort(["text"])
    whole = trainer_of(str(model_folder("bert")), cohort)
    whole.epoch(1)
    weights, state = whole.weights().clone(), whole.state()
    whole.epoch(2)
    again = trainer_of(str(model_folder("bert")), cohort)
    # What a process that was killed had drawn must not show.
    torch.rand(3)
    again.load(weights)
    again.restore(state)
    again.epoch(2)
    assert torch.equal(again.weights(), whole.weights())


@pytest.mark.parametrize("micro", [1, 3, 5])
def test_gradients_add_up_to_those_of_the_whole_batch(model_folder: Folders, micro: int) -> None:
    cohort = rated(raw_cohort(["text"]))
    whole = trainer_of(str(model_folder("bert")), cohort)
    parts = trainer_of(str(model_folder("bert")), cohort, replace(RECIPE, micro_batch_size=micro))
    batch = cohort.client_rows[:8]
    hidden = np.zeros((8, 1), bool)
    losses = [one._accumulated(batch, hidden) for one in (whole, parts)]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-5)
    gradients = [one._optimizer.gradient for one in (whole, parts)]
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-5)


def test_a_fusion_and_three_encoders_learn_together(model_folder: Folders) -> None:
    cohort = raw_cohort(["text", "audio", "video"], examples=32)
    plan = Plan(
        sources={m: str(model_folder(k)) for m, k in (("text", "bert"), ("audio", "wav2vec2"), ("video", "vit"))},
        frozen={"audio": "half"},
        model="cmt",
        options={"width": 16, "heads": 2, "feedforward": 32},
        classes=2,
        seed=0,
        device="cpu",
    )
    opened = plan.open()
    before = {name: p.detach().clone() for name, p in opened.network.named_parameters()}
    trainer = Trainer(opened.network, cohort, replace(RECIPE, epochs=6, modality_dropout=0.2))
    losses = [trainer.epoch(number) for number in range(1, 7)]
    assert losses[-1] < 0.7 * losses[0]
    changed = {name for name, p in opened.network.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name, p in opened.network.named_parameters() if p.requires_grad}
    rows = cohort.splits["test"]
    everything, words = trainer.answers(rows), trainer.answers(rows, ["text"])
    assert np.isfinite(words).all()
    assert not np.allclose(everything, words)


def test_ratings_are_learned_beside_the_class(model_folder: Folders) -> None:
    cohort = rated(raw_cohort(["text"], examples=64))
    trainer = trainer_of(str(model_folder("bert")), cohort, replace(RECIPE, epochs=8))
    for number in range(1, 9):
        trainer.epoch(number)
    rows = cohort.splits["test"]
    answers = trainer.answers(rows)
    np.testing.assert_allclose(answers[:, :2].sum(1), 1, rtol=1e-5)
    assert accuracy(trainer, rows) > 0.9
    assert concordance(answers[:, 2], (2 * cohort.labels[rows] - 1).astype(np.float32)) > 0.6


def test_products_in_bf16_learn_too(model_folder: Folders) -> None:
    cohort = raw_cohort(["text"], examples=64)
    trainer = trainer_of(str(model_folder("bert")), cohort, replace(RECIPE, epochs=12, precision="bf16"))
    for number in range(1, 13):
        trainer.epoch(number)
    assert accuracy(trainer, cohort.splits["test"]) > 0.9
    assert all(p.dtype == torch.float32 for p in trainer.network.parameters())


def test_a_loss_that_is_no_number_ends_training(model_folder: Folders) -> None:
    wild = replace(RECIPE, lr=1e30, encoder_lr=1e30, gradient_clip=0.0, warmup=0.0)
    trainer = trainer_of(str(model_folder("bert")), raw_cohort(["text"]), wild)
    with pytest.raises(TrainingError, match="lower --lr or --encoder-lr"):
        trainer.epoch(1)


def _member(rank: int, meeting: str, folder: str, kept: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        cohort = raw_cohort(["text"], examples=21)
        trainer = trainer_of(folder, cohort, ring=ProcessRing())
        loss = trainer.epoch(1)
        answers = trainer.answers(cohort.splits["dev"])
        np.savez(f"{kept}-{rank}.npz", loss=loss, answers=answers, weights=trainer.weights().numpy())
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one_on_the_joined_batch(model_folder: Folders, tmp_path: Path) -> None:
    """Equation 13 of Zhong, Shu and Zhao; the rows of a batch do not divide evenly, nor does the epoch."""
    folder, kept = str(model_folder("bert")), str(tmp_path / "member")
    meeting = str(tmp_path / "meeting")
    # Forked, as importing takes longer than training.
    processes.start_processes(_member, (meeting, folder, kept), nprocs=2, start_method="fork")  # type: ignore[no-untyped-call]
    members = [np.load(f"{kept}-{rank}.npz") for rank in (0, 1)]
    cohort = raw_cohort(["text"], examples=21)
    alone = trainer_of(folder, cohort)
    loss, answers = alone.epoch(1), alone.answers(cohort.splits["dev"])
    np.testing.assert_array_equal(members[0]["weights"], members[1]["weights"])
    np.testing.assert_allclose([float(one["loss"]) for one in members], loss, rtol=1e-5)
    np.testing.assert_allclose(members[0]["answers"], answers, atol=1e-4)
