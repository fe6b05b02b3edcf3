"""The fast sums are Opacus's sums; what they cannot compute they refuse."""

from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from tests.support.small_cohorts import constructed_cohort
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.cohort import Batch, Cohort
from fedaffect.client.models.registry import build_model
from fedaffect.client.privacy.clip_bounds import CLIPPINGS, FLAT, PER_LAYER, layer_norms
from fedaffect.client.privacy.clipping import FastClippedSum
from fedaffect.client.privacy.opacus_engine import OpacusClippedSum, validate_model
from fedaffect.edge.errors import ConfigError, TrainingError

# Clipped sums run without dropout, and what they are compared with here is a plain forward.
SMALL = {"width": 16, "heads": 2, "feedforward": 32, "dropout": 0.0, "token_dropout": 0.0}
STREAMS = ("text", "audio", "video")
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(STREAMS, size)]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return Cohort.load(constructed_cohort(tmp_path_factory.mktemp("cohort") / "c", tokens=5))


def model_of(cohort: Cohort) -> nn.Module:
    torch.manual_seed(1)
    return build_model("cmt", cohort.widths, len(cohort.label_names), SMALL).train()


def losses(model: nn.Module, batch: Batch, streams: tuple[str, ...] = STREAMS) -> Callable[[], Tensor]:
    """The forward pass."""

    def forward() -> Tensor:
        tokens = {s: batch.tokens[s] for s in streams}
        present = {s: batch.present[s] for s in streams}
        return functional.cross_entropy(model(tokens, present), batch.labels, reduction="none")

    return forward


def size_of(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("streams", SUBSETS, ids="+".join)
def test_fast_sums_are_those_of_opacus(cohort: Cohort, clipping: str, streams: tuple[str, ...]) -> None:
    model = model_of(cohort)
    batch = cohort.gather(cohort.rows_of(0)[:12], train=True)
    assert not all(batch.present[s].any(dim=1).all() for s in STREAMS), "some examples lack a modality"
    fast, reference = torch.full((size_of(model),), torch.nan), torch.empty(size_of(model))
    forward = losses(model, batch, streams)
    loss = FastClippedSum(model, clipping, 0.5)(forward, fast)
    OpacusClippedSum(model, clipping, 0.5)(forward, reference)
    torch.testing.assert_close(fast, reference, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss, forward().detach())
    # Clipping does something, or this would compare sums of whole gradients.
    whole = torch.empty_like(fast)
    FastClippedSum(model, clipping, 1e6)(forward, whole)
    assert fast.norm() < 0.5 * whole.norm()


def test_one_example_alone_is_its_own_gradient_within_the_bound(cohort: Cohort) -> None:
    model = model_of(cohort)
    for place in range(6):
        batch = cohort.gather(cohort.rows_of(2)[place : place + 1], train=True)
        out = torch.empty(size_of(model))
        FastClippedSum(model, FLAT, 0.25)(losses(model, batch), out)
        assert out.norm() <= 0.25 * (1 + 1e-5)
        FastClippedSum(model, FLAT, 1e6)(losses(model, batch), out)
        model.zero_grad()
        losses(model, batch)().sum().backward()
        plain = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in model.parameters()])
        model.zero_grad()
        torch.testing.assert_close(out, plain, rtol=1e-4, atol=1e-6)


def test_long_sequences_take_the_other_way_to_a_norm(cohort: Cohort) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    x = torch.randn(5, 40, 3)  # T (I + O) > I O for both
    out, reference = torch.empty(size_of(model)), torch.empty(size_of(model))
    for clipping in CLIPPINGS:
        FastClippedSum(model, clipping, 0.1)(lambda: model(x).square().sum(dim=(1, 2)), out)
        OpacusClippedSum(model, clipping, 0.1)(lambda: model(x).square().sum(dim=(1, 2)), reference)
        torch.testing.assert_close(out, reference, rtol=1e-4, atol=1e-6)


def test_an_embedding_looked_up_twice_by_one_example() -> None:
    model = nn.Embedding(5, 3)
    indices = torch.tensor([[0, 0, 1], [2, 3, 4]])
    out, reference = torch.empty(15), torch.empty(15)
    FastClippedSum(model, FLAT, 0.5)(lambda: model(indices).square().sum(dim=(1, 2)), out)
    OpacusClippedSum(model, FLAT, 0.5)(lambda: model(indices).square().sum(dim=(1, 2)), reference)
    torch.testing.assert_close(out, reference)


def test_per_layer_bounds_add_up_to_the_whole() -> None:
    assert layer_norms(FLAT, 2.0, 7) == (2.0,)
    assert sum(c * c for c in layer_norms(PER_LAYER, 2.0, 7)) == pytest.approx(4.0)


def test_an_example_whose_gradient_is_no_number_counts_as_nothing() -> None:
    model = nn.Linear(2, 1)
    good = torch.tensor([[1.0, 2.0], [0.5, -1.0]])
    bad = torch.cat([good, torch.tensor([[torch.inf, 0.0]])])
    expected, out = torch.empty(3), torch.empty(3)
    FastClippedSum(model, FLAT, 1.0)(lambda: model(good).square().sum(dim=1), expected)
    FastClippedSum(model, FLAT, 1.0)(lambda: model(bad).square().sum(dim=1), out)
    torch.testing.assert_close(out, expected)


def test_a_parameter_used_past_its_layer_is_noticed() -> None:
    model = nn.Linear(2, 2)
    x = torch.ones(3, 2)
    clipped = FastClippedSum(model, FLAT, 1.0)
    with pytest.raises(TrainingError, match="weight outside its layer"):
        clipped(lambda: (model(x) + model.weight[0]).sum(dim=1), torch.empty(6))


def test_layers_without_a_rule_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"not Conv1d .*use --dp-engine opacus"):
        FastClippedSum(nn.Sequential(nn.Conv1d(1, 1, 1)), FLAT, 1.0)
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    with pytest.raises(ConfigError, match="parameters of its own"):
        FastClippedSum(tied, FLAT, 1.0)


def test_batch_statistics_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be trained with privacy"):
        validate_model(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))


def test_recording_leaves_the_model_as_it_was(cohort: Cohort) -> None:
    model = model_of(cohort)
    batch = cohort.gather(cohort.rows_of(0)[:4], train=True)
    before = losses(model, batch)().detach()
    for engine in (FastClippedSum, OpacusClippedSum):
        engine(model, FLAT, 1.0)(losses(model, batch), torch.empty(size_of(model)))
        assert torch.equal(losses(model, batch)().detach(), before)
        assert all("forward" not in module.__dict__ and not module._backward_hooks for module in model.modules())
        assert all(not hasattr(p, "grad_sample") and p.grad is None for p in model.parameters())
