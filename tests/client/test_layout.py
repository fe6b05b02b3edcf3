import numpy as np
import pytest
import torch

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.models.registry import build_model
from fedaffect.edge.errors import ConfigError

WIDTHS = {"text": 6, "audio": 5}


@pytest.fixture
def layout() -> ArrayLayout:
    return ArrayLayout.of(build_model("cmt", WIDTHS, 3, {"width": 8, "heads": 2}))


def test_groups_cover_all_parameters_once_and_name_the_adapters(layout: ArrayLayout) -> None:
    covered = np.zeros(layout.size, int)
    for _, run in layout.groups:
        covered[run] += 1
    assert (covered == 1).all()
    assert [g for g, _ in layout.groups] == ["text", "audio", ""]


def test_flatten_undoes_unflatten(layout: ArrayLayout) -> None:
    flat = torch.randn(layout.size)
    assert torch.equal(layout.flatten(layout.unflatten(flat)), flat)


@pytest.mark.parametrize("harm", ["missing", "extra", "shape", "nan"])
def test_arrays_that_do_not_fit_are_refused(layout: ArrayLayout, harm: str) -> None:
    arrays = {k: v.copy() for k, v in layout.unflatten(torch.zeros(layout.size)).items()}
    if harm == "missing":
        del arrays["head.bias"]
    elif harm == "extra":
        arrays["tail.bias"] = np.zeros(3, np.float32)
    elif harm == "shape":
        arrays["head.bias"] = np.zeros(4, np.float32)
    else:
        arrays["head.bias"][0] = np.nan
    with pytest.raises(ConfigError, match=r"head\.bias|tail\.bias"):
        layout.flatten(arrays)


def test_digest_tells_models_apart(layout: ArrayLayout) -> None:
    other = ArrayLayout.of(build_model("cmt", {"text": 6}, 3, {"width": 8, "heads": 2}))
    assert other.digest() != layout.digest()
