"""Whole dialogues as a batch, and a model that hears them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.client.dialogues import Dialogues, Turns, batches_of_units, shuffled_batches
from fedaffect.client.models.by_length import Streams, by_length
from fedaffect.client.models.registry import build_model
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError, DataError

# Rows of two dialogues mixed, one of them with three people, and one row of none.
DIALOGUES = Dialogues(
    ids=np.array([1, 0, 1, 0, -1, 1, 0, 1]),
    turns=np.array([7, 1, 2, 0, 0, 4, 5, 9]),
    speakers=np.array([3, 8, 9, 8, 3, 3, 4, 5]),
)
SMALL = {"width": 16, "states": 12, "dropout": 0.0}
ABLATIONS = [{}, {"acm": False}, {"ssm": False}, {"ilm": False}, {"bidirectional": True}]


def test_the_dialogues_of_some_rows_come_whole_and_in_order() -> None:
    rows, turns = DIALOGUES.whole(np.array([7, 4, 2]))
    assert rows.tolist() == [2, 5, 0, 7, 4]
    assert turns.places.tolist() == [[0, 1, 2, 3], [4, -1, -1, -1]]
    assert turns.parties.tolist() == [[0, 1, 1, 2], [0, 0, 0, 0]]
    places = turns.places.flatten()[turns.asked]
    assert rows[places].tolist() == [7, 4, 2]


def test_batches_hold_whole_dialogues_in_an_order_that_each_call_draws() -> None:
    rows = np.arange(8)
    units = DIALOGUES.of(rows)
    order = np.random.default_rng(0)
    seen = [[batch.tolist() for batch in shuffled_batches(rows, units, 3, order)] for _ in range(8)]
    for batches in seen:
        assert sorted(row for batch in batches for row in batch) == rows.tolist()
        assert all(len(batch) >= 3 for batch in batches[:-1])
        for batch in batches:
            assert all({*np.flatnonzero(units == units[row])} <= {*batch} for row in batch)
    assert len({str(batches) for batches in seen}) > 1
    assert [each.tolist() for each in batches_of_units(units, 4)] == [[1, 3, 6, 0, 2, 5, 7], [4]]


def cohort(tmp_path: Path) -> Cohort:
    plain = Cohort.load(constructed_cohort(tmp_path / "plain"))
    n, rng = len(plain.labels), np.random.default_rng(0)
    # Clients and splits own whole dialogues of eight.
    said = Dialogues(np.arange(n) // 8, rng.permutation(n), rng.integers(0, 3, n))
    replace(plain, dialogues=said).save(tmp_path / "c")
    return Cohort.load(tmp_path / "c")


def test_a_cohort_keeps_its_dialogues_and_asks_only_about_what_is_asked(tmp_path: Path) -> None:
    made = cohort(tmp_path)
    rows = np.array([3, 20, 5])
    batch = made.gather(rows, train=True, unit="dialogue")
    alone = made.gather(rows, train=True)
    assert batch.turns is not None
    assert alone.turns is None
    assert batch.labels.tolist() == alone.labels.tolist()
    places = batch.turns.places.flatten()[batch.turns.asked]
    for stream, tokens in batch.tokens.items():
        assert len(tokens) == 16
        longest = alone.tokens[stream].shape[1]
        torch.testing.assert_close(tokens[places][:, :longest], alone.tokens[stream])
    assert made.units(rows, "utterance") is None
    with pytest.raises(DataError, match="disagree"):
        replace(made, dialogues=made.dialogues.take(rows))


def test_the_loop_trains_on_dialogues_and_answers_every_row_with_them(tmp_path: Path) -> None:
    task = ClientTask(cohort(tmp_path), "avafn", SMALL)
    weights = task.initial_weights(0)
    rows = task.cohort.rows_of(0)[3:17]
    config = TrainConfig(local_epochs=6, batch_size=8, lr=1e-2, optimizer="adamw")
    trained = task.train(weights, config, client=0, round=1, seed=0).weights
    assert task.evaluate(trained, rows).loss_sum < 0.9 * task.evaluate(weights, rows).loss_sum
    answered = task.evaluate(trained, rows, batch_size=3)
    np.testing.assert_allclose(answered.probabilities, task.evaluate(trained, rows).probabilities, atol=1e-5)
    # What is not asked about is heard all the same.
    alone = np.concatenate([task.evaluate(trained, rows[i : i + 1]).probabilities for i in range(len(rows))])
    np.testing.assert_allclose(alone, answered.probabilities, atol=1e-5)
    batch = task.cohort.gather(rows, train=False)
    unheard = batch.scored_by(task.model).softmax(-1).detach().numpy()
    assert np.mean(np.abs(unheard - alone).max(axis=1) > 1e-3) > 0.5


@pytest.mark.parametrize("kind", ["local", "central"])
def test_what_others_said_is_refused_under_privacy(tmp_path: Path, kind: str) -> None:
    task = ClientTask(cohort(tmp_path), "avafn", SMALL)
    config = TrainConfig(privacy=PrivacyConfig(kind=kind, epsilon=8.0, participations=4, clip_norm=1.0))
    with pytest.raises(ConfigError, match=r"hears whole dialogues.*dialogue=false"):
        task.train(task.initial_weights(0), config, client=0, round=1, seed=0)


def dialogue(model: torch.nn.Module, tokens: torch.Tensor, speakers: list[int]) -> torch.Tensor:
    """Scores of one dialogue's turns (L, C)."""
    L = len(speakers)
    turns = Turns(torch.arange(L)[None], torch.tensor([speakers]), torch.arange(L))
    given = {"audio": tokens[:L, :, :6], "video": tokens[:L, :, 6:]}
    return model(given, {s: torch.ones(L, 3, dtype=torch.bool) for s in given}, turns)


def made(options: dict[str, object]) -> torch.nn.Module:
    torch.manual_seed(0)
    model = build_model("avafn", {"audio": 6, "video": 5}, 3, SMALL | options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_only_a_reading_both_ways_lets_a_later_turn_change_an_earlier_answer(options: dict[str, object]) -> None:
    model, tokens = made(options), torch.randn(6, 3, 11)
    short, long = dialogue(model, tokens, [0, 1, 0, 2]), dialogue(model, tokens, [0, 1, 0, 2, 3, 1])
    other = tokens.clone()
    other[3] += 1.0
    changed = dialogue(model, other, [0, 1, 0, 2])
    if options.get("bidirectional"):
        assert not torch.allclose(short, long[:4], atol=1e-3)
        assert ((short - changed).abs().amax(-1) > 1e-4).all()
        return
    torch.testing.assert_close(short, long[:4])
    torch.testing.assert_close(short[:3], changed[:3])
    assert not torch.allclose(short[3], changed[3], atol=1e-3)
    earlier = tokens.clone()
    earlier[0] += 1.0
    assert ((short - dialogue(model, earlier, [0, 1, 0, 2])).abs().amax(-1) > 1e-5).all()


@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_dialogues_of_a_batch_do_not_see_each_other(options: dict[str, object]) -> None:
    model, tokens = made(options), torch.randn(8, 3, 11)
    first, second = dialogue(model, tokens[:3], [0, 1, 0]), dialogue(model, tokens[3:], [0, 0, 1, 2, 1])
    places = torch.tensor([[3, 4, 5, 6, 7], [0, 1, 2, -1, -1]])
    parties = torch.tensor([[0, 0, 1, 2, 1], [0, 1, 0, 0, 0]])
    given = {"audio": tokens[:, :, :6], "video": tokens[:, :, 6:]}
    present = {s: torch.ones(8, 3, dtype=torch.bool) for s in given}
    together = model(given, present, Turns(places, parties, torch.tensor([5, 6, 7, 0, 1, 2, 3, 4])))
    torch.testing.assert_close(together, torch.cat([first, second]), atol=1e-5, rtol=1e-4)


def test_who_speaks_matters_to_speaker_and_listener_states_only() -> None:
    tokens = torch.randn(4, 3, 11)
    for options, differs in (({"ssm": False, "ilm": False}, False), ({"ilm": False}, True), ({"ssm": False}, True)):
        model = made(options)
        one, other = dialogue(model, tokens, [0, 1, 0, 1]), dialogue(model, tokens, [0, 1, 1, 0])
        assert torch.allclose(one, other, atol=1e-4) != differs


def test_avafn_tells_which_earlier_turns_it_attends_to(tmp_path: Path) -> None:
    made = cohort(tmp_path)
    model = build_model("avafn", made.widths, 3, SMALL).eval()
    batch = made.gather(np.arange(8), train=False, unit="dialogue")
    assert batch.turns is not None
    with torch.inference_mode():
        scores, shares = model.with_context(batch.tokens, batch.present, batch.turns)
        torch.testing.assert_close(scores, batch.scored_by(model))
    assert shares.shape == (1, 8, 8)
    torch.testing.assert_close(shares.sum(-1), torch.tensor([[0.0] + [1.0] * 7]))
    assert not shares.triu().any()
    with pytest.raises(ConfigError, match="only with dialogue, acm and ssm"):
        build_model("avafn", made.widths, 3, {**SMALL, "ssm": False}).with_context(
            batch.tokens, batch.present, batch.turns
        )


@pytest.mark.parametrize("streams", [("text",), ("text", "audio")])
def test_utterances_in_groups_of_like_length_are_what_they_are_side_by_side(streams: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model = build_model("avafn", {"text": 8, "audio": 6}, 4, SMALL)
    lengths = torch.randint(0, 12, (len(streams), 70))
    tokens = {stream: torch.randn(70, 14, {"text": 8, "audio": 6}[stream]) for stream in streams}
    present = {
        # Some tokens are missing in the middle, some utterances have none, and nobody fills the batch's width.
        stream: (torch.arange(14) < many[:, None]) & (torch.rand(70, 14) < 0.9)
        for stream, many in zip(streams, lengths, strict=True)
    }
    seen: list[tuple[int, ...]] = []

    def counted(some: Streams, held: Streams) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(tuple(some["text"].shape[:2]))
        return model._utterances(some, held)

    whole, grouped = model._utterances(tokens, present), by_length(counted, tokens, present)
    assert sum(rows for rows, _ in seen) == 70
    assert len(seen) == 4
    assert seen[0][1] < max(width for _, width in seen) < 14
    for one, other in zip(whole, grouped, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    learned = [p for name, p in model.named_parameters() if name.startswith(("modalities", "gate", "join"))]
    pulls = [torch.autograd.grad(sum(each.square().sum() for each in made), learned) for made in (whole, grouped)]
    for one, other in zip(*pulls, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)
