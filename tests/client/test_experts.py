import math
from typing import Any

import pytest
import torch
from tests.client.test_cmt import SMALL, WIDTHS, batch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.experts import Experts, product
from fedaffect.client.models.registry import build_model
from fedaffect.client.privacy.clip_bounds import FLAT
from fedaffect.client.privacy.clipping import FastClippedSum
from fedaffect.edge.errors import ConfigError

EXPERTS: dict[str, Any] = {"priors": {s: [0.2, 0.3, 0.5] for s in WIDTHS}, "neutral": 2, "unshown": 0.3}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return build_model("cmt", WIDTHS, 3, {**SMALL, "experts": EXPERTS}).eval()


def _product(scores: dict[str, Tensor], experts: Experts) -> Tensor:
    """Of one sample that has all streams, from scores (1, C) of each."""
    there = torch.ones(1, len(scores), dtype=torch.bool)
    return product(torch.stack(tuple(scores.values()), dim=1), there, experts, tuple(scores))


def _scores(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities]).log()


def test_the_product_is_bayes_rule() -> None:
    """Two independent looks, by hand: p(c | x, y) in proportion to p(c) (p(c | x) / p(c)) (p(c | y) / p(c))."""
    uniform = {"a": [1 / 3] * 3, "b": [1 / 3] * 3}
    both = _product({"a": _scores(0.5, 0.3, 0.2), "b": _scores(0.2, 0.7, 0.1)}, Experts(priors=uniform))
    expected = torch.tensor([[0.1, 0.21, 0.02]])
    torch.testing.assert_close(both.softmax(-1), expected / expected.sum())


def test_what_an_expert_favours_anyway_says_little() -> None:
    experts = Experts(priors={"a": [0.5, 0.3, 0.2], "b": [1 / 3] * 3})
    answer = _product({"a": _scores(0.5, 0.3, 0.2), "b": _scores(0.2, 0.7, 0.1)}, experts)
    torch.testing.assert_close(answer.softmax(-1), torch.tensor([[0.2, 0.7, 0.1]]))


def test_a_stream_without_priors_favours_none() -> None:
    given = {"a": _scores(0.5, 0.3, 0.2), "b": _scores(0.2, 0.7, 0.1)}
    even = Experts(priors={"a": [0.5, 0.3, 0.2], "b": [1 / 3] * 3})
    torch.testing.assert_close(_product(given, Experts(priors={"a": [0.5, 0.3, 0.2]})), _product(given, even))


def test_a_calm_face_does_not_outvote_an_angry_voice() -> None:
    """Class 0 is anger, class 2 is neutral."""
    uniform = {m: [1 / 3] * 3 for m in ("voice", "face")}
    calm, angry, glad = _scores(0.05, 0.05, 0.9), _scores(0.8, 0.1, 0.1), _scores(0.05, 0.9, 0.05)

    def answer(face: Tensor, unshown: float) -> int:
        experts = Experts(priors=uniform, neutral=2, unshown=unshown)
        return int(_product({"voice": angry, "face": face}, experts).argmax())

    assert answer(calm, 0.0) == 2
    assert answer(calm, 0.3) == 0
    # A face that shows something else is still heard: it is the surer of the two.
    assert answer(glad, 0.3) == 1


def test_one_modality_is_answered_as_without_experts(model: nn.Module) -> None:
    torch.manual_seed(0)
    plain = build_model("cmt", WIDTHS, 3, SMALL).eval()
    tokens, present = batch()
    for stream in WIDTHS:
        alone = {stream: tokens[stream]}, {stream: present[stream]}
        torch.testing.assert_close(model(*alone), plain(*alone))
        lacking = {s: mask if s == stream else torch.zeros_like(mask) for s, mask in present.items()}
        torch.testing.assert_close(model(tokens, lacking), plain(tokens, lacking))


def test_a_sample_of_nothing_is_scored_from_the_heads_bias(model: nn.Module) -> None:
    tokens, present = batch()
    nothing = {s: torch.zeros_like(mask) for s, mask in present.items()}
    torch.testing.assert_close(model(tokens, nothing), model({"text": tokens["text"]}, {"text": nothing["text"]}))


def test_rows_of_one_batch_are_answered_by_what_each_has(model: nn.Module) -> None:
    tokens, present = batch()
    present["video"][0] = False
    present["text"][1] = present["audio"][1] = False
    together = model(tokens, present)
    for row in range(3):
        has = [s for s in WIDTHS if present[s][row].any()]
        own = model({s: tokens[s][row : row + 1] for s in has}, {s: present[s][row : row + 1] for s in has})
        torch.testing.assert_close(together[row : row + 1], own)


def test_several_modalities_are_the_product_of_each(model: nn.Module) -> None:
    tokens, present = batch()
    alone = {s: model({s: tokens[s]}, {s: present[s]}) for s in WIDTHS}
    rows = [_product({s: scores[row : row + 1] for s, scores in alone.items()}, Experts(**EXPERTS)) for row in range(3)]
    expected = torch.cat(rows)
    torch.testing.assert_close(model(tokens, present), expected)
    scores, shares = model.with_attention(tokens, present)  # type: ignore[operator]
    torch.testing.assert_close(scores, expected)
    # Rows sum to 1 over tokens of their own modality.
    assert shares.shape == (3, 2, 4, 12, 12)
    blocks = shares.unflatten(-1, (3, 4)).sum(-1).unflatten(-2, (3, 4))  # (B, L, heads, 3, 4, 3)
    torch.testing.assert_close(blocks, torch.eye(3)[:, None].expand_as(blocks))


def test_what_is_trained_is_what_answers(model: nn.Module) -> None:
    tokens, present = batch()
    answers = model(tokens, present)
    still = build_model("cmt", WIDTHS, 3, {**SMALL, "dropout": 0.0, "token_dropout": 0.0, "experts": EXPERTS}).train()
    still.load_state_dict(model.state_dict())
    torch.testing.assert_close(still(tokens, present), answers)
    # So does DP-SGD, which clips the gradients of each example.
    labels = torch.tensor([0, 1, 2])

    def losses() -> Tensor:
        return functional.cross_entropy(still(tokens, present), labels, reduction="none")

    parameters = list(still.parameters())
    plain = torch.cat([g.reshape(-1) for g in torch.autograd.grad(losses().sum(), parameters)])
    clipped = torch.empty(sum(p.numel() for p in parameters))
    FastClippedSum(still, FLAT, 1e6)(losses, clipped)
    torch.testing.assert_close(clipped, plain, atol=1e-5, rtol=1e-4)


def test_impossible_scores_stay_numbers() -> None:
    sure, other = torch.tensor([[200.0, 0.0, -200.0]]), torch.tensor([[-200.0, 0.0, 200.0]])
    answer = _product({"a": sure, "b": other}, Experts(priors={m: [1 / 3] * 3 for m in "ab"}, unshown=0.3))
    assert torch.isfinite(answer).all()
    assert math.isclose(float(answer.softmax(-1).sum()), 1, rel_tol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"priors": {s: [0.5, 0.5] for s in WIDTHS}},
        {"priors": {s: [0.5, 0.5, 0.0] for s in WIDTHS}},
        {"priors": {s: [0.5, 0.5, 0.5] for s in WIDTHS}},
        {"neutral": 3},
        {"unshown": 1.0},
        {"shown": 0.5},
    ],
)
def test_settings_of_another_model_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expert"):
        build_model("cmt", WIDTHS, 3, {**SMALL, "experts": {**EXPERTS, **change}})
