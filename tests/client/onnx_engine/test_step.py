"""The exported training step computes what torch does, for every model of the registry that has one."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.steps import kept_step
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.registry import NO_STEP, OWN_MODELS, build_model
from fedaffect.client.onnx_engine import graph
from fedaffect.client.onnx_engine.clipping import clipped_sum
from fedaffect.client.onnx_engine.graph import ClassScores, StepBatch, StepGraph
from fedaffect.client.privacy.clip_bounds import FLAT, PER_LAYER
from fedaffect.client.privacy.clipping import FastClippedSum
from fedaffect.edge.errors import BundleError
from fedaffect.server.models.bundling.fusion import read_fusion
from fedaffect.server.models.bundling.recipe import DEFAULT_FUSION, DEFAULT_STEP
from fedaffect.server.models.bundling.step import StepModel

WIDTHS = {"text": 10, "audio": 8, "video": 6}
CLASSES = 3
_TRUNK = {"width": 8, "feedforward": 12}
_SMALL: dict[str, dict[str, Any]] = {
    **{key: {**_TRUNK, "heads": 2} for key in ("cmt", "cmt-paper", "late", "mmbt", "hybrid")},
    "early": _TRUNK,
    "avt": {**_TRUNK, "heads": 2, "layers": 1},
    "avt-early": {**_TRUNK, "heads": 2, "layers": 1, "fusion": "early"},
    "avafn-alone": {"width": 8, "dialogue": False},
    "cmt-experts": {
        **_TRUNK,
        "heads": 2,
        "experts": {"priors": {"text": [0.2, 0.3, 0.5]}, "neutral": 2, "unshown": 0.3},
    },
}
# By what the registry has, and options of it that are models of their own.
EXPORTED = [*(name for name in OWN_MODELS if name not in NO_STEP), "avafn-alone", "avt-early", "cmt-experts"]
# Of the largest gradient; sums of single precision in another order.
TOLERANCE = 1e-4
# A trace takes half a minute: of the others `make test-guides` asks the same. The shipped step is one of `cmt`, and
# test_training.py has another one made.
_QUICK = ("linear", "head", "early")
_LATER = pytest.mark.skipif(not os.environ.get("FEDAFFECT_TEST_GUIDES"), reason="traced by: make test-guides")
every_step = pytest.mark.parametrize("name", [n if n in _QUICK else pytest.param(n, marks=_LATER) for n in EXPORTED])
pytestmark = pytest.mark.slow


def model_of(name: str) -> StepModel:
    known = name if name in OWN_MODELS else name.partition("-")[0]
    return StepModel(known, _SMALL.get(name, {}), WIDTHS, CLASSES)


def opened(name: str) -> tuple[StepGraph, nn.Module, np.ndarray]:
    """The step, and torch's model off its initial point."""
    step = StepGraph(kept_step(model_of(name)), name)
    torch.manual_seed(0)
    module = build_model(model_of(name).name, WIDTHS, CLASSES, _SMALL.get(name, {})).train()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return step, module, torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy()


def batch_of(examples: int, longest: int) -> StepBatch:
    """Of several lengths; the last of several examples lacks its audio."""
    rng = np.random.default_rng(examples)
    lengths = {s: longest + place for place, s in enumerate(WIDTHS)}
    present = {s: np.arange(n) < rng.integers(1, n + 1, examples)[:, None] for s, n in lengths.items()}
    if examples > 1:
        present["audio"][-1] = False
    tokens = {s: rng.normal(size=(examples, lengths[s], w)).astype(np.float32) for s, w in WIDTHS.items()}
    targets = rng.dirichlet(np.ones(CLASSES), examples).astype(np.float32)
    return StepBatch(tokens, present, targets, rng.random(examples).astype(np.float32))


def torchs(module: nn.Module, batch: StepBatch) -> Tensor:
    """Torch's scores of a batch."""
    scores: Tensor = module(
        {s: torch.from_numpy(t) for s, t in batch.tokens.items()},
        {s: torch.from_numpy(p) for s, p in batch.present.items()},
    )
    return scores


def losses_of(scores: Tensor, batch: StepBatch, scored: ClassScores) -> Tensor:
    logs = (scores * torch.from_numpy(scored.scale) + torch.from_numpy(scored.bias)).log_softmax(-1)
    if scored.focal:
        logs = logs * (1 - logs.exp()) ** 2
    each = -(torch.from_numpy(batch.targets) * logs).sum(-1)
    # Of several answers, as `fedaffect.client.losses` takes them.
    return each if each.dim() == 1 else each[0] + each[1:].mean(dim=0)


def flat_gradient(module: nn.Module) -> np.ndarray:
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
    made = torch.cat([grad.reshape(-1) for grad in grads]).numpy()
    module.zero_grad()
    return made


@every_step
@pytest.mark.parametrize(("examples", "longest"), [(4, 5), (1, 1), (2, 17)])
@pytest.mark.parametrize("focal", [False, True])
def test_gradients_losses_and_scores_are_torchs_under_the_same_dropout(
    name: str, examples: int, longest: int, focal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, module, parameters = opened(name)
    batch = batch_of(examples, longest)
    rng = np.random.default_rng(5)
    scored = ClassScores(rng.random(CLASSES).astype(np.float32), rng.normal(size=CLASSES).astype(np.float32), focal)
    gradient, losses = step.gradient(parameters, batch, scored, np.random.default_rng(9))

    reference, expected = under_the_same_dropout(step, module, batch, scored, monkeypatch)
    np.testing.assert_allclose(gradient, reference, atol=TOLERANCE * np.abs(reference).max())
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    plain = torchs(module.eval(), batch).detach().numpy()
    np.testing.assert_allclose(step.scores(parameters, batch, scored), plain, rtol=1e-4, atol=1e-5)


def under_the_same_dropout(
    step: StepGraph, module: nn.Module, batch: StepBatch, scored: ClassScores, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, np.ndarray]:
    """Torch's gradient and losses with the masks that the step draws from the seed 9."""
    masks = _masks(step, np.random.default_rng(9))
    with monkeypatch.context() as patch:
        # As layers call it and as functions do.
        patch.setattr(functional, "dropout", lambda x, p=0.5, *_, **__: x * next(masks)(x) if p else x)
        # With the room for tokens that an export leaves, or masks would be of other sizes.
        patch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
        expected = losses_of(torchs(module, batch), batch, scored)
        (torch.from_numpy(batch.weights) * expected).sum().backward()
    assert next(masks, None) is None
    return flat_gradient(module), expected.detach().numpy()


def _masks(step: StepGraph, random: np.random.Generator) -> Iterator[object]:
    for mask in step.about.masks:
        yield lambda values, mask=mask: torch.from_numpy(graph._drawn(mask, tuple(values.shape), random))


@every_step
@pytest.mark.parametrize("clipping", [FLAT, PER_LAYER])
def test_clipped_sums_are_torchs(name: str, clipping: str) -> None:
    step, module, parameters = opened(name)
    batch = batch_of(4, 5)
    scored = ClassScores(np.ones(CLASSES, np.float32), np.zeros(CLASSES, np.float32))
    # As of the examples of which nothing is left.
    weights = np.array([1, 1, 0, 1], np.float32)
    batch = StepBatch(batch.tokens, batch.present, batch.targets, weights)
    ours = clipped_sum(step, parameters, batch, scored, clipping, 0.3)
    reference = torch.empty(step.about.layout.size)
    FastClippedSum(module, clipping, 0.3)(
        lambda: torch.from_numpy(weights) * losses_of(torchs(module, batch), batch, scored), reference
    )
    np.testing.assert_allclose(ours, reference.numpy(), atol=TOLERANCE * float(reference.abs().max()))
    assert np.linalg.norm(ours) > 0.1


def test_the_shipped_step_is_of_the_shipped_fusion(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = read_fusion(DEFAULT_FUSION)
    step, module = StepGraph.load(DEFAULT_STEP), weights.module().train()
    assert StepModel.of(weights).fits(step.about)
    parameters = torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy()
    rng, (examples, longest, classes) = np.random.default_rng(0), (3, 6, len(weights.labels))
    batch = StepBatch(
        {s: rng.normal(size=(examples, longest, w)).astype(np.float32) for s, w in weights.widths.items()},
        {s: rng.random((examples, longest)) < 0.8 for s in weights.widths},
        np.eye(classes, dtype=np.float32)[:examples],
        np.full(examples, 1 / examples, np.float32),
    )
    scored = ClassScores(np.ones(classes, np.float32), np.zeros(classes, np.float32))
    gradient, _ = step.gradient(parameters, batch, scored)
    (torch.from_numpy(batch.weights) * losses_of(torchs(module.eval(), batch), batch, scored)).sum().backward()
    reference = flat_gradient(module)
    np.testing.assert_allclose(gradient, reference, atol=TOLERANCE * np.abs(reference).max())
    gradient, losses = step.gradient(parameters, batch, scored, np.random.default_rng(9))
    reference, expected = under_the_same_dropout(step, module.train(), batch, scored, monkeypatch)
    np.testing.assert_allclose(gradient, reference, atol=TOLERANCE * np.abs(reference).max())
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)


def test_what_a_mask_drops_is_its_rate_and_the_mean_stays() -> None:
    mask = graph.Mask(0.2, ((0, 1, 0), (0, 0, 1)))
    drawn = graph._drawn(mask, mask.shape(500, [200]), np.random.default_rng(0))
    assert drawn.shape == (500, 200)
    assert np.mean(drawn == 0) == pytest.approx(0.2, abs=0.01)
    assert drawn.mean() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("name", "options"), [*((n, {}) for n in sorted(NO_STEP)), ("avt", {"fusion": "hybrid"})])
def test_a_model_without_a_step_says_why(name: str, options: dict[str, str]) -> None:
    with pytest.raises(BundleError, match=r"torch alone: (a recurrent layer|it hears|its exported step)") as caught:
        kept_step(StepModel(name, options, WIDTHS, CLASSES))
    assert "\n" not in str(caught.value)


def test_what_is_no_step_is_refused_in_one_line() -> None:
    sound = kept_step(model_of("linear"))
    for data in (b"", b"noise", gzip.compress(b"noise"), sound[:-20]):
        with pytest.raises(BundleError) as caught:
            StepGraph(data, "fusion.step.onnx.gz")
        assert "\n" not in str(caught.value)
