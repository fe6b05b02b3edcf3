import pytest
import torch

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.shared_part import SharedPart
from fedaffect.edge.errors import ConfigError

WHOLE = ArrayLayout(
    ("norm.weight", "head.weight", "head.bias", "out.weight", "out.bias"), ((2,), (2, 3), (3,), (1,), (2,))
)


def test_what_is_shared_and_what_is_personal_make_the_whole_again() -> None:
    flat, other = torch.arange(14.0), torch.arange(14.0) + 100
    part = SharedPart.of(WHOLE, ("head.",))
    assert part.layout.names == ("norm.weight", "out.weight", "out.bias")
    assert part.own_names == ("head.weight", "head.bias")
    assert part.take(flat).tolist() == [0, 1, 11, 12, 13]
    assert part.take_own(flat).tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    mixed = part.put(flat, part.take(other))
    assert mixed.tolist() == [100, 101, *range(2, 11), 111, 112, 113]
    assert torch.equal(mixed, part.put_own(other, part.take_own(flat)))
    assert flat.tolist() == list(range(14)), "neither is written to"


def test_a_model_that_is_shared_whole_is_not_copied() -> None:
    flat = torch.arange(14.0)
    part = SharedPart.of(WHOLE)
    assert part.take(flat) is flat
    assert part.put(torch.zeros(14), flat) is flat
    assert part.layout == WHOLE
    assert part.own_names == ()


@pytest.mark.parametrize(
    ("names", "said"), [(("head.weight",), "no layers beside"), (("norm.weight",), "no layers named")]
)
def test_a_model_without_head_or_without_representation_is_refused(names: tuple[str, ...], said: str) -> None:
    layout = ArrayLayout(names, tuple((2,) for _ in names))
    with pytest.raises(ConfigError, match=rf"{said} head\.\*.*use --strategy ditto") as refused:
        SharedPart.of(layout, ("head.",))
    assert "\n" not in str(refused.value)
