from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg.encoding import Encoding
from fedaffect.client.secagg.sums import beside_sum, fixed_point_sum
from fedaffect.client.update import Update
from fedaffect.edge.errors import ConfigError

LAYOUT = ArrayLayout(("adapters.audio.w", "adapters.text.w", "trunk.w"), ((5,), (4,), (2, 3)))
SECRET = b"s" * 32


def update_of(start: torch.Tensor, change: torch.Tensor, counts: dict[str, int], loss: float = 1.0) -> Update:
    return Update(start + change, counts, {"train_loss": loss}, extra={"control": 3 * change})


def summed(encoding: Encoding, start: torch.Tensor, updates: list[Update]) -> np.ndarray:
    words = [encoding.encode(LAYOUT, start, update, SECRET + bytes([n])) for n, update in enumerate(updates)]
    return np.sum(words, axis=0, dtype=encoding.dtype)


@given(
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 30, 2048]),
    st.floats(0.01, 100),
)
def test_a_sum_decodes_to_the_sum_within_half_a_step_a_client(
    clients: int, seed: int, max_weight: int, clip: float
) -> None:
    random = np.random.default_rng(seed)
    encoding = Encoding(clients=clients, clip=clip, max_weight=max_weight, beside=("control",))
    start = torch.from_numpy(random.normal(size=15).astype(np.float32))
    updates, plain = [], FixedPointSum(LAYOUT)
    for _ in range(clients):
        change = torch.from_numpy(random.uniform(-clip, clip, 15).astype(np.float32))
        total = int(random.integers(1, max_weight + 1))
        counts = {"": total, "audio": int(random.integers(0, total + 1)), "text": total}
        updates.append(update_of(start, change, counts, float(random.uniform(0, 5))))
        plain.add(updates[-1].weights, counts)
    decoded = encoding.decode(LAYOUT, summed(encoding, start, updates))
    assert decoded.weights == plain.weights
    assert decoded.loss == pytest.approx(sum(u.metrics["train_loss"] * u.counts[""] for u in updates), abs=1e-3)
    ours = fixed_point_sum(LAYOUT, start, decoded, clients)
    assert ours.count == clients
    for group, run in LAYOUT.groups:
        weight = max(1, plain.weights[group])
        # Beside half a step for each client: float32 holds start + change to 24 bits, and so does the plain sum.
        magnitude = float(start[run].abs().max()) + clip
        allowed = 0.5 * clients / encoding.scale / weight + 4 * magnitude * clients * 2.0**-23
        apart = (ours.mean(start)[run] - plain.mean(start)[run]).abs().max()
        assert float(apart) <= allowed
    controls = beside_sum(LAYOUT, decoded.beside["control"], clients).mean(torch.zeros(15))
    expected = torch.stack([u.extra["control"] for u in updates]).mean(0)
    assert torch.allclose(controls, expected, atol=1 / encoding.beside_scale + 1e-6 * clip, rtol=1e-5)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_of_everything_does_not_wrap_around(bits: int, sign: int) -> None:
    encoding = Encoding(clients=500, clip=0.5, max_weight=2048, bits=bits, beside=("control",))
    start = torch.zeros(15)
    update = update_of(start, torch.full((15,), sign * 1e6), {"": 10**9, "audio": 2048, "text": 10**9}, loss=1e3)
    words = encoding.encode(LAYOUT, start, update, SECRET)
    total = np.sum([words] * 500, axis=0, dtype=encoding.dtype)
    decoded = encoding.decode(LAYOUT, total)
    np.testing.assert_allclose(decoded.changes, 500 * 2048 * sign * 0.5, rtol=1e-6)
    np.testing.assert_allclose(decoded.beside["control"], 500 * sign * 32.0, rtol=1e-6)
    assert decoded.weights == {"": 500 * 2048, "audio": 500 * 2048, "text": 500 * 2048}
    assert decoded.loss == pytest.approx(500 * 2048 * 1e3, rel=1e-3)
    # All of it was cut off, and the server can see that.
    assert decoded.clipped == 500 * 30


def test_rounding_into_small_words_is_right_on_average_and_the_same_when_asked_again() -> None:
    layout = ArrayLayout(("w",), ((20_000,),))
    encoding = Encoding(clients=100, clip=1.0, max_weight=1, bits=16)
    start = torch.zeros(20_000)
    # A third of the smallest step there is: nearest rounding would lose it altogether.
    change = torch.full((20_000,), 1 / 3 / encoding.scale)
    update = Update(change, {"": 1}, {"train_loss": 0.0})
    words = encoding.encode(layout, start, update, SECRET)
    assert set(words[:20_000].tolist()) == {0, 1}
    assert words[:20_000].mean() == pytest.approx(1 / 3, abs=0.02)
    assert np.array_equal(encoding.encode(layout, start, update, SECRET), words)
    assert not np.array_equal(encoding.encode(layout, start, update, b"t" * 32), words)


def test_a_group_without_examples_says_nothing() -> None:
    encoding = Encoding(clients=3, clip=1.0, max_weight=10)
    update = update_of(torch.zeros(15), torch.ones(15), {"": 4, "audio": 0, "text": 4})
    words = encoding.encode(LAYOUT, torch.zeros(15), update, SECRET)
    assert not words[:5].any()
    assert words[5:15].all()
    decoded = encoding.decode(LAYOUT, words)
    start = torch.full((15,), 7.0)
    assert torch.equal(fixed_point_sum(LAYOUT, start, decoded, 1).mean(start)[:5], start[:5])


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"clients": 3000, "bits": 16}, "--clients-per-round"),
        ({"clip": float("nan")}, "finite clip"),
        ({"clip": 0.0}, "finite clip"),
        ({"max_weight": 0}, "weight of 1"),
        ({"bits": 8}, "choose 32"),
    ],
)
def test_settings_that_leave_no_room_are_refused(settings: dict[str, float], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Encoding(**{"clients": 10, "clip": 1.0, "max_weight": 16, **settings})  # type: ignore[arg-type]


def test_settings_travel() -> None:
    encoding = Encoding(clients=10, clip=0.25, max_weight=16, bits=16, beside=("control",))
    assert Encoding.from_record(encoding.to_record()) == encoding


@pytest.mark.parametrize("bits", [16, 32])
@given(seed=st.integers(0, 1000))
def test_the_norm_that_privacy_counts_on_holds_in_whole_steps(bits: int, seed: int) -> None:
    layout = ArrayLayout(("w",), ((4_000,),))
    norm = 0.7
    encoding = Encoding(
        clients=100, clip=norm if bits == 32 else 8 * norm / 4_000**0.5, max_weight=1, bits=bits, norm=norm
    )
    change = torch.from_numpy(np.random.default_rng(seed).normal(size=4_000).astype(np.float32))
    # As the client's own clipping leaves it: exactly on the bound, which rounding alone would break.
    change *= norm / float(change.double().norm())
    update = Update(change, {"": 1}, {"within-clip": 1.0})
    words = encoding.encode(layout, torch.zeros(4_000), update, SECRET)
    decoded = encoding.decode(layout, words)
    assert np.linalg.norm(decoded.changes) <= norm
    assert np.linalg.norm(decoded.changes) > 0.99 * norm
    assert np.corrcoef(decoded.changes, change.numpy())[0, 1] > 0.99
    assert (decoded.within, decoded.mean_square) == (1, 0.0)


def test_a_mean_square_is_summed_by_weight() -> None:
    encoding = Encoding(clients=2, clip=1.0, max_weight=64)
    updates = [
        update_of(torch.zeros(15), torch.full((15,), v), {"": n, "audio": n, "text": n})
        for v, n in ((1e-4, 3), (2e-4, 5))
    ]
    decoded = encoding.decode(LAYOUT, summed(encoding, torch.zeros(15), updates))
    assert decoded.mean_square == pytest.approx(3e-8 + 5 * 4e-8, rel=1e-4)


def test_each_array_has_its_own_reach_where_words_are_narrow() -> None:
    encoding = Encoding(clients=100, clip=0.01, max_weight=4, bits=16, profile=(0.1, 1.0, 5.0))
    assert Encoding.from_record(encoding.to_record()) == encoding
    change = torch.cat([torch.full((5,), 9e-4), torch.full((4,), -9e-3), torch.full((6,), 0.2)])
    update = update_of(torch.zeros(15), change, {"": 4, "audio": 4, "text": 4})
    words = encoding.encode(LAYOUT, torch.zeros(15), update, SECRET)
    decoded = encoding.decode(LAYOUT, words)
    # The last array's changes are four times what it has room for.
    np.testing.assert_allclose(decoded.changes / 4, [9e-4] * 5 + [-9e-3] * 4 + [0.05] * 6, rtol=0.02)
    assert decoded.clipped == 6
    with pytest.raises(ConfigError, match="does not fit a model of 3"):
        Encoding(clients=2, clip=1.0, max_weight=1, profile=(1.0,)).decode(LAYOUT, words)
