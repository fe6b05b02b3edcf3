"""Ratings beside the class: what they cost, how they are counted, and that nothing changes where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.client.losses import RATING_LOSSES, concordance_loss, squared_error
from fedaffect.client.metrics import concordance, rating_figures
from fedaffect.client.models.registry import build_model
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.stacked.training import CohortTrainer
from fedaffect.client.targets import rating_names
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError, DataError

SMALL = {"width": 16, "heads": 2, "feedforward": 32}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return Cohort.load(constructed_cohort(tmp_path_factory.mktemp("cohort") / "c"))


@pytest.fixture(scope="module")
def rated(plain: Cohort) -> Cohort:
    """Valence follows the class, and every third sample has none; nobody rated intensity."""
    ratings = np.full((len(plain.labels), 2), np.nan, np.float32)
    ratings[:, 0] = plain.labels / (len(plain.label_names) - 1) * 2 - 1
    ratings[::3, 0] = np.nan
    return replace(plain, rating_names=("valence", "intensity"), ratings=ratings)


def test_targets_are_groups_of_ratings_and_the_class_is_always_one() -> None:
    assert rating_names(("class",)) == ()
    assert rating_names(("class", "va", "vad", "intensity")) == ("valence", "arousal", "dominance", "intensity")
    with pytest.raises(ConfigError, match="the class is always learned; give --targets class,va"):
        rating_names(("va",))
    with pytest.raises(ConfigError, match="unknown target 'av'"):
        rating_names(("class", "av"))


def test_concordance_wants_scale_and_mean_too() -> None:
    x = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert concordance(x, x) == pytest.approx(1)
    assert concordance(-x, x) == pytest.approx(-1)
    # r is 1 in both: Lin's coefficient is 2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2).
    assert concordance(x / 2, x) == pytest.approx(2 * 0.25 / (0.125 + 0.5))
    assert concordance(x + 1, x) == pytest.approx(2 * 0.5 / (0.5 + 0.5 + 1))
    assert concordance(np.zeros(5), np.zeros(5)) == 0


def test_figures_leave_out_what_nobody_rated() -> None:
    meant = np.array([[0.5, np.nan], [-0.5, np.nan], [np.nan, np.nan]], np.float32)
    said = np.array([[0.5, 9.0], [-0.1, 9.0], [7.0, 9.0]], np.float32)
    figures = rating_figures(said, meant, ("valence", "arousal"))
    assert set(figures) == {"valence_ccc", "valence_mae", "ccc", "mae"}
    assert figures["mae"] == figures["valence_mae"] == pytest.approx(0.2)
    assert figures["ccc"] == pytest.approx(concordance(said[:2, 0], meant[:2, 0]))
    assert rating_figures(said, np.full_like(meant, np.nan), ("valence", "arousal")) == {}


@pytest.mark.parametrize("name", sorted(RATING_LOSSES))
def test_what_was_not_rated_has_no_gradient_and_no_ratings_no_loss(name: str) -> None:
    said = torch.tensor([[0.3, 0.1], [-0.4, 0.2], [0.9, 0.5]], requires_grad=True)
    meant = torch.tensor([[0.5, np.nan], [-0.5, np.nan], [np.nan, np.nan]])
    RATING_LOSSES[name](said, meant).backward()
    assert said.grad is not None
    assert torch.isfinite(said.grad).all()
    assert (said.grad[:2, 0] != 0).all()
    assert (said.grad[:, 1] == 0).all()
    assert (said.grad[2] == 0).all()
    answered = said.detach()
    assert float(RATING_LOSSES[name](answered, None)) == 0
    right = float(RATING_LOSSES[name](torch.nan_to_num(meant)[:, :1], meant[:, :1]))
    assert float(RATING_LOSSES[name](answered[:, :1], meant[:, :1])) > right == pytest.approx(0, abs=1e-4)


def test_the_loss_is_one_less_lins_coefficient() -> None:
    rng = np.random.default_rng(0)
    said, meant = (rng.normal(size=(40, 1)).astype(np.float32) for _ in range(2))
    loss = float(concordance_loss(torch.from_numpy(said), torch.from_numpy(meant)))
    assert loss == pytest.approx(1 - concordance(said[:, 0], meant[:, 0]), abs=1e-5)
    each = squared_error(torch.from_numpy(said), torch.from_numpy(meant))
    assert each.shape == (40,)
    assert float(each.mean()) == pytest.approx(float(((said - meant) ** 2).mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("model", "options", "loss"),
    [
        ("cmt", SMALL, "ccc"),
        ("early", {}, "mse"),
        ("linear", {}, "ccc"),
        # What these mix are class probabilities, and a rating has none.
        ("late", SMALL, "ccc"),
        ("hybrid", SMALL, "mse"),
        ("avt", SMALL | {"layers": 1, "fusion": "hybrid"}, "mse"),
    ],
)
def test_ratings_are_learned_beside_the_class(rated: Cohort, model: str, options: dict[str, object], loss: str) -> None:
    task = ClientTask(rated, model, options)
    lr = 2e-2 if model == "linear" else 3e-3
    config = TrainConfig(lr=lr, optimizer="adamw", batch_size=8, local_epochs=4, rating_loss=loss)
    weights = task.initial_weights(0)
    for round in range(1, 7):
        weights = torch.stack([task.train(weights, config, k, round, 0).weights for k in range(4)]).mean(0)
    made = task.evaluate(weights, rated.splits["test"])
    figures = rating_figures(made.ratings, made.rated, rated.rating_names)
    assert figures["valence_ccc"] > 0.6
    assert "intensity_ccc" not in figures
    assert np.trace(made.confusion) / made.confusion.sum() > 0.7
    np.testing.assert_allclose(made.probabilities.sum(1), 1, rtol=1e-5)


def test_each_of_several_answers_is_charged_for_its_ratings() -> None:
    said, meant = torch.randn(3, 5, 2), torch.randn(5, 2)
    for loss in (concordance_loss, squared_error):
        first, *parts = [loss(answer, meant) for answer in said]
        torch.testing.assert_close(loss(said, meant), first + sum(parts) / 2)


def test_late_fusion_rates_by_the_weights_of_its_modalities() -> None:
    torch.manual_seed(0)
    model = build_model("late", {"text": 4, "audio": 3}, 5, SMALL, ratings=2).eval()
    with torch.no_grad():
        model.weights.weight[1] = 1.0
    tokens = {"text": torch.randn(2, 3, 4), "audio": torch.randn(2, 6, 3)}
    present = {"text": torch.ones(2, 3).bool(), "audio": torch.tensor([[True] * 6, [False] * 6])}
    with torch.inference_mode():
        both = model(tokens, present)
        alone = {m: model.modalities[m](tokens[m], present[m])[:, 3:] for m in tokens}
    share = model.weights.weight.detach().softmax(0)
    torch.testing.assert_close(both[0, 3:], share[0] * alone["text"][0] + share[1] * alone["audio"][0])
    # A modality that is missing counts nowhere.
    torch.testing.assert_close(both[1, 3:], alone["text"][1])
    torch.testing.assert_close(both[:, :3].exp().sum(1), torch.ones(2))
    with pytest.raises(ConfigError, match="does not take these options"):
        build_model("late", {"text": 4}, 3, {"ratings": 1})


def test_examples_learn_ratings_with_privacy_of_their_own(rated: Cohort) -> None:
    task = ClientTask(rated, "linear", {})
    privacy = PrivacyConfig(epsilon=1e5, noise="seeded")
    start = task.initial_weights(0)
    update = task.train(start, TrainConfig(lr=0.1, batch_size=8, privacy=privacy), 0, 1, 0)
    head = task.layout.unflatten(update.weights - start)["head.weight"]
    assert np.abs(head[len(rated.label_names)]).max() > 5 * np.abs(head[len(rated.label_names) + 1]).max()


def test_engines_that_learn_classes_alone_say_so(rated: Cohort) -> None:
    task = ClientTask(rated, "cmt", SMALL)
    with pytest.raises(ConfigError, match="ratings are learned one client at a time"):
        CohortTrainer(task).train(task.initial_weights(0), TrainConfig(), [0, 1], 1, 0)


def test_a_cohort_keeps_its_ratings(rated: Cohort, tmp_path: Path) -> None:
    rated.save(tmp_path / "c")
    again = Cohort.load(tmp_path / "c")
    assert again.rating_names == rated.rating_names
    np.testing.assert_array_equal(again.ratings, rated.ratings)
    assert again.output_names == (*rated.label_names, "valence", "intensity")
    with pytest.raises(DataError, match="names 1 ratings"):
        replace(rated, rating_names=("valence",))
