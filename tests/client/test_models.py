"""What every model of the registry promises, whatever it is."""

from itertools import combinations
from pathlib import Path

import pytest
import torch
from tests.support.small_cohorts import constructed_cohort
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.dialogues import Turns
from fedaffect.client.losses import EXAMPLE_LOSSES
from fedaffect.client.models.avt import side_by_side
from fedaffect.client.models.registry import OWN_MODELS, build_model
from fedaffect.client.privacy.clip_bounds import CLIPPINGS, FLAT
from fedaffect.client.privacy.clipping import FastClippedSum
from fedaffect.client.privacy.opacus_engine import OpacusClippedSum, validate_model
from fedaffect.client.stacked.model import require_stackable_model
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError

WIDTHS = {"text": 24, "audio": 20, "video": 16}
CLASSES = 3
SUBSETS = [chosen for size in (1, 2, 3) for chosen in combinations(WIDTHS, size)]
# Their layers use a parameter once a step, so that no example's own gradient is to be had.
RECURRENT = {"mfer", "fedmultimodal", "avafn"}
# Without what makes them recurrent.
ALONE = {"avafn-alone": ("avafn", {"dialogue": False})}
STRATEGIES = {f"avt-{fusion}": ("avt", {"fusion": fusion}) for fusion in ("early", "late", "hybrid")}
# With nothing that a trunk could be sized by.
OF_CMTS_SIZE = ("cmt-paper", "early", "late", "mmbt", "hybrid")

every_model = pytest.mark.parametrize("name", OWN_MODELS)
every_form = pytest.mark.parametrize("name", [*OWN_MODELS, *STRATEGIES])
Samples = tuple[dict[str, Tensor], dict[str, Tensor]]


def built(name: str, widths: dict[str, int] | None = None) -> nn.Module:
    """A model off its initial point, where some have parameters of zero."""
    torch.manual_seed(0)
    kind, options = (ALONE | STRATEGIES).get(name, (name, {}))
    model = build_model(kind, widths or WIDTHS, CLASSES, options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def samples(size: int = 4, length: int = 5) -> Samples:
    """Of several lengths, the last one without audio."""
    torch.manual_seed(1)
    tokens = {s: torch.randn(size, length + place, w) for place, (s, w) in enumerate(WIDTHS.items())}
    present = {s: torch.arange(t.shape[1]) < torch.arange(2, size + 2)[:, None] for s, t in tokens.items()}
    present["audio"][-1] = False
    return tokens, present


def scored(model: nn.Module, tokens: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
    """Scores, of a model of dialogues those of one that the first three of four samples make, and of the last alone."""
    if getattr(model, "unit", "utterance") == "utterance":
        return model(tokens, present)
    places, parties = torch.tensor([[0, 1, 2], [3, -1, -1]]), torch.tensor([[0, 1, 0], [0, 0, 0]])
    return model(tokens, present, Turns(places, parties, torch.tensor([0, 1, 2, 3])))


@every_form
@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_any_subset_gives_scores_that_depend_on_it(name: str, subset: tuple[str, ...]) -> None:
    model, (tokens, present) = built(name), samples()
    given, held = {s: tokens[s] for s in subset}, {s: present[s] for s in subset}
    scores = model(given, held)
    assert scores.shape == (4, CLASSES)
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()
    for stream in subset:
        changed = model({**given, stream: given[stream].flip(2) + 1}, held)
        assert not torch.allclose(scores[:-1], changed[:-1], atol=1e-5)
    # One that is masked is one that was left out.
    masked = {s: p if s in subset else torch.zeros_like(p) for s, p in present.items()}
    torch.testing.assert_close(model(tokens, masked), scores, atol=1e-5, rtol=1e-4)


@every_form
def test_what_is_masked_changes_nothing(name: str) -> None:
    model, (tokens, present) = built(name), samples()
    plain = model(tokens, present)
    other = {s: torch.where(present[s].unsqueeze(-1), t, 50.0) for s, t in tokens.items()}
    torch.testing.assert_close(model(other, present), plain, atol=1e-5, rtol=1e-4)
    longer = {s: functional.pad(t, (0, 0, 0, 3), value=50.0) for s, t in tokens.items()}
    masks = {s: functional.pad(p, (0, 3)) for s, p in present.items()}
    torch.testing.assert_close(model(longer, masks), plain, atol=1e-5, rtol=1e-4)


@every_form
def test_examples_of_a_batch_do_not_see_each_other(name: str) -> None:
    model, (tokens, present) = built(name), samples()
    scores = model(tokens, present)
    order = torch.tensor([2, 0, 3, 1])
    turned = model({s: t[order] for s, t in tokens.items()}, {s: p[order] for s, p in present.items()})
    torch.testing.assert_close(turned, scores[order], atol=1e-5, rtol=1e-4)
    alone = model({s: t[1:2] for s, t in tokens.items()}, {s: p[1:2] for s, p in present.items()})
    torch.testing.assert_close(alone, scores[1:2], atol=1e-5, rtol=1e-4)


@every_model
def test_gradient_reaches_every_parameter(name: str) -> None:
    model, (tokens, present) = built(name), samples()
    functional.cross_entropy(scored(model, tokens, present), torch.tensor([0, 1, 2, 0])).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().max() > 0)]
    assert not silent
    assert not list(model.buffers()), "statistics cannot be shared among clients"


@every_form
def test_a_sample_of_nothing_is_finite_in_value_and_gradient(name: str) -> None:
    model, (tokens, present) = built(name), samples()
    for held in present.values():
        held[1] = False
    scores = model(tokens, present)
    scores.square().sum().backward()
    assert torch.isfinite(scores).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    with pytest.raises(ConfigError, match="at least one of text, audio, video"):
        model({}, {})


@every_model
def test_it_can_learn_a_few_samples_by_heart(name: str) -> None:
    model, (tokens, present) = built(name), samples(12)
    labels = torch.arange(12) % CLASSES
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1 if name in ("linear", "head") else 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        scores = model(tokens, present)
        if torch.equal(scores.argmax(-1), labels):
            return
        functional.cross_entropy(scores, labels).backward()
        optimizer.step()
    pytest.fail("150 steps were not enough")


@every_model
def test_one_stream_alone_makes_a_model(name: str) -> None:
    tokens, present = samples()
    for stream, width in WIDTHS.items():
        model = built(name, {stream: width})
        scores = scored(model, {stream: tokens[stream]}, {stream: present[stream]})
        assert torch.isfinite(scores).all()
        functional.cross_entropy(scores, torch.tensor([0, 1, 2, 0])).backward()
        assert all(p.grad is not None for p in model.parameters())


@every_model
def test_a_client_trains_it_with_no_option(name: str, tmp_path: Path) -> None:
    task = ClientTask(constructed_cohort(tmp_path / "c"), name)
    start = task.initial_weights(0)
    rows = task.cohort.rows_of(0)
    before = task.evaluate(start, rows).loss_sum
    config = TrainConfig(local_epochs=4, batch_size=8, lr=0.1 if name == "head" else 3e-3, optimizer="adamw")
    trained = task.train(start, config, client=0, round=1, seed=0).weights
    assert task.evaluate(trained, rows).loss_sum < 0.9 * before


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("name", [name for name in (*OWN_MODELS, *ALONE, *STRATEGIES) if name not in RECURRENT])
def test_clipped_sums_are_those_of_opacus(name: str, clipping: str) -> None:
    model, (tokens, present) = built(name).train(), samples()
    labels = torch.tensor([0, 1, 2, 0])
    validate_model(model)
    require_stackable_model(name, model)

    def losses() -> Tensor:
        return EXAMPLE_LOSSES["cross-entropy"](model(tokens, present), labels)

    size = sum(p.numel() for p in model.parameters())
    fast, reference = torch.empty(size), torch.empty(size)
    FastClippedSum(model, clipping, 0.3)(losses, fast)
    OpacusClippedSum(model, clipping, 0.3)(losses, reference)
    torch.testing.assert_close(fast, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(RECURRENT))
def test_recurrent_models_are_refused_where_each_examples_gradient_is_needed(name: str) -> None:
    model = built(name)
    with pytest.raises(ConfigError, match=r"(?s)cannot be trained with privacy.*GRU") as caught:
        validate_model(model)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 160
    with pytest.raises(ConfigError, match="fast per-example gradients know"):
        FastClippedSum(model, FLAT, 1.0)
    with pytest.raises(ConfigError, match=rf"{name!r} has .*GRU layers.*leave --cohort-size out"):
        require_stackable_model(name, model)


@pytest.mark.parametrize("name", ["cmt", "cmt-paper"])
def test_attention_sums_to_one_and_leaves_out_what_is_masked(name: str) -> None:
    model, (tokens, present) = built(name), samples()
    scores, shares = model.with_attention(tokens, present)
    torch.testing.assert_close(scores, model(tokens, present), atol=1e-5, rtol=1e-4)
    by_token = torch.cat(list(present.values()), dim=1)
    held = by_token if name == "cmt" else torch.stack([p.any(dim=1) for p in present.values()], dim=1)  # (B, T)
    assert not held.all()
    assert shares.shape == (4, 2, 4, held.shape[1], held.shape[1])
    everywhere = held[:, None, None, None, :].expand_as(shares)
    assert not shares[~everywhere].any()
    seen = torch.where(everywhere, shares, 0.0).sum(-1)
    torch.testing.assert_close(seen, torch.ones_like(seen))
    with_one_more = {**present, "audio": torch.ones_like(present["audio"])}
    assert not torch.allclose(model.with_attention(tokens, with_one_more)[1], shares)


@pytest.mark.parametrize("name", STRATEGIES)
def test_in_training_each_part_of_a_strategy_learns_alone(name: str) -> None:
    model, (tokens, present) = built(name), samples()
    labels = torch.tensor([0, 1, 2, 0])
    functional.cross_entropy(model(tokens, present), labels).backward()
    joined = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert name == "avt-early" or all("combine" in n for n in joined)
    EXAMPLE_LOSSES["cross-entropy"](model.train()(tokens, present), labels).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_late_fusion_trains_each_modality_alone_too() -> None:
    """Loss CE(p) + mean_m CE(p_m), over the modalities that a sample has."""
    model, (tokens, present) = built("late"), samples()
    logs = model(tokens, present)
    alone = [model({s: tokens[s]}, {s: present[s]}) for s in WIDTHS]
    for module in model.modules():
        if hasattr(module, "token_dropout"):
            module.token_dropout = 0.0
        if hasattr(module, "dropout"):
            module.dropout = 0.0
    answers = model.train()(tokens, present)
    torch.testing.assert_close(answers[0], logs)
    for place, expected in enumerate(alone):
        torch.testing.assert_close(answers[1 + place, :-1], expected[:-1])
    # The last sample has no audio.
    torch.testing.assert_close(answers[2, -1], logs[-1])
    answers[2, :-1].sum().backward()
    heads = {name: p.grad for name, p in model.named_parameters() if name.startswith("modalities.")}
    assert all((grad is None or not grad.any()) == (".audio." not in name) for name, grad in heads.items())


@pytest.mark.parametrize("widths", [(768, 1536, 1200), (100, 73, 100)], ids=["profile", "mosi"])
@pytest.mark.parametrize("name", OF_CMTS_SIZE)
def test_what_is_compared_with_cmt_is_of_its_size(name: str, widths: tuple[int, ...]) -> None:
    sizes = []
    widths = dict(zip(WIDTHS, widths, strict=True))
    sizes = [sum(p.numel() for p in build_model(n, widths, 7, {}).parameters()) for n in (name, "cmt")]
    assert 0.9 < sizes[0] / sizes[1] < 1.1


@every_model
def test_options_that_it_lacks_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match="depth"):
        build_model(name, WIDTHS, CLASSES, {"depth": 3})


def test_streams_side_by_side_are_taken_at_the_same_share_of_their_lengths() -> None:
    ramp = torch.arange(6.0).view(1, 6, 1)
    long, short = torch.ones(1, 6, dtype=torch.bool), torch.tensor([[True, True, True, False]])
    joined, held = side_by_side([("a", ramp, long), ("b", ramp[:, :4], short)])
    assert joined[0].tolist() == [[0, 0], [1, 0], [2, 1], [3, 1], [4, 2], [5, 2]]
    assert held.all()
    joined, held = side_by_side([("a", ramp, ~long), ("b", ramp[:, :4], short)])
    assert held.tolist() == [[True, True, True, False, False, False]]
    assert joined[0, :3].tolist() == [[0, 0], [0, 1], [0, 2]]
