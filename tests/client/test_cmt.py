import math

import pytest
import torch
from torch import Tensor, nn

from fedaffect.client.models.cmt import CMTConfig, CrossModalAttention
from fedaffect.client.models.registry import build_model, model_names
from fedaffect.edge.errors import ConfigError

WIDTHS = {"text": 6, "audio": 5, "video": 4}
SMALL = {"width": 16, "heads": 4, "feedforward": 32}


def batch(size: int = 3, length: int = 4) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(1)
    tokens = {s: torch.randn(size, length, w) for s, w in WIDTHS.items()}
    present = {s: torch.ones(size, length, dtype=torch.bool) for s in WIDTHS}
    return tokens, present


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return build_model("cmt", WIDTHS, 3, SMALL).eval()


def test_attention_is_equation_10() -> None:
    torch.manual_seed(0)
    layer = CrossModalAttention(CMTConfig(width=8, heads=2))
    z = torch.randn(1, 5, 8)
    mask = torch.tensor([True, True, False, True, True])
    q, k, v = (part.view(5, 2, 4).transpose(0, 1) for part in layer.query_key_value(z)[0].split(8, dim=-1))
    scores = (q @ k.transpose(1, 2) / math.sqrt(4)).masked_fill(~mask, -math.inf)
    by_hand = layer.output((scores.softmax(-1) @ v).transpose(0, 1).reshape(1, 5, 8))
    torch.testing.assert_close(layer(z, mask[None, None, None]), by_hand)


def test_modalities_attend_to_each_other(model: nn.Module) -> None:
    """Were streams only averaged, the change that audio makes would not depend on the text beside it."""
    tokens, present = batch()
    other = tokens | {"audio": tokens["audio"].flip(0)}
    torch.manual_seed(5)
    words = tokens | {"text": torch.randn_like(tokens["text"])}
    change = model(other, present) - model(tokens, present)
    change_beside_other_words = model(other | {"text": words["text"]}, present) - model(words, present)
    assert not torch.allclose(change, change_beside_other_words, atol=1e-4)


def test_order_in_time_matters(model: nn.Module) -> None:
    tokens, present = batch()
    reversed_speech = tokens | {"audio": tokens["audio"].flip(1)}
    assert not torch.allclose(model(tokens, present), model(reversed_speech, present), atol=1e-6)


def test_default_size_is_about_a_million_and_nothing_keeps_statistics() -> None:
    model = build_model("cmt", {"text": 768, "audio": 1536, "video": 1200}, 7, {})
    assert 0.8e6 < sum(p.numel() for p in model.parameters()) < 1.6e6
    assert not list(model.buffers())
    kinds = {type(m) for m in model.modules() if next(m.parameters(recurse=False), None) is not None}
    assert kinds <= {nn.Linear, nn.LayerNorm, nn.Embedding}


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 heads cannot share"):
        build_model("cmt", WIDTHS, 3, {"width": 16, "heads": 3})
    with pytest.raises(ConfigError, match="known: dropout"):
        build_model("cmt", WIDTHS, 3, {"depth": 3})
    with pytest.raises(ConfigError, match="did you mean 'cmt'"):
        build_model("cmtt", WIDTHS, 3, {})
    assert "cmt" in model_names()
