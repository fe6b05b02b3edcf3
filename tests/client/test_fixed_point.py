import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.models.registry import build_model
from fedaffect.edge.errors import TrainingError

LAYOUT = ArrayLayout.of(build_model("cmt", {"text": 6, "audio": 5}, 3, {"width": 8, "heads": 2}))


def clients(number: int, seed: int = 0) -> list[tuple[torch.Tensor, dict[str, int]]]:
    rng = np.random.default_rng(seed)
    values = [torch.from_numpy(rng.normal(size=LAYOUT.size).astype(np.float32)) for _ in range(number)]
    return [(v, {"": 10 + k, "text": 10 + k, "audio": 3 * (k % 2)}) for k, v in enumerate(values)]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(7)), st.integers(0, 7))
def test_any_order_and_any_split_into_partial_sums_gives_the_same_bits(order: list[int], cut: int) -> None:
    given_clients = clients(7)
    expected = FixedPointSum(LAYOUT)
    for flat, weights in given_clients:
        expected.add(flat, weights)
    left, right = FixedPointSum(LAYOUT), FixedPointSum(LAYOUT)
    for place, k in enumerate(order):
        (left if place < cut else right).add(*given_clients[k])
    merged = FixedPointSum.from_arrays(LAYOUT, right.to_arrays())
    merged.merge(left)
    fallback = torch.zeros(LAYOUT.size)
    assert torch.equal(merged.mean(fallback), expected.mean(fallback))
    assert merged.count == 7


def test_mean_is_the_weighted_mean_and_adapters_have_weights_of_their_own() -> None:
    given_clients = clients(5)
    total = FixedPointSum(LAYOUT)
    for flat, weights in given_clients:
        total.add(flat, weights)
    mean = total.mean(torch.zeros(LAYOUT.size))
    for group, run in LAYOUT.groups:
        w = np.array([weights[group] for _, weights in given_clients], float)
        want = sum(wk * flat[run].double().numpy() for wk, (flat, _) in zip(w, given_clients, strict=True)) / w.sum()
        np.testing.assert_allclose(mean[run].numpy(), want, atol=2e-7)


def test_an_adapter_that_nobody_trained_keeps_its_old_values() -> None:
    total = FixedPointSum(LAYOUT)
    total.add(torch.ones(LAYOUT.size), {"": 4, "text": 4, "audio": 0})
    mean = total.mean(torch.full((LAYOUT.size,), 7.0))
    runs = dict(LAYOUT.groups)
    assert (mean[runs["audio"]] == 7).all()
    assert (mean[runs["text"]] == 1).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_values_that_are_not_numbers_or_too_large_are_refused(value: float) -> None:
    flat = torch.zeros(LAYOUT.size)
    flat[3] = value
    with pytest.raises(TrainingError, match="learning rate"):
        FixedPointSum(LAYOUT).add(flat, {"": 1})


def test_a_sum_that_could_overflow_is_refused_before_it_does() -> None:
    total = FixedPointSum(LAYOUT)

    def add_many() -> None:
        for _ in range(5000):
            total.add(torch.full((LAYOUT.size,), 1000.0), {"": 1000})

    with pytest.raises(TrainingError):
        add_many()
    assert (total.total >= 0).all()
