from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedaffect.client.compression.codecs import BLOCK, Fp16, Int8, TopK
from fedaffect.client.compression.compress import Compressed, codec, compress, decompress
from fedaffect.client.compression.soundness import require_sound
from fedaffect.client.update import ClientState, Update
from fedaffect.edge.errors import ConfigError

SIZE = 3 * BLOCK + 17
SPECS = ("fp16", "int8", "top-k:0.05")


def vector(seed: int = 0, size: int = SIZE, spread: float = 1e-3) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=size) * spread).astype(np.float32)


def sent(
    spec: str, change: np.ndarray, *, round: int = 1, state: ClientState | None = None, **more: float
) -> Compressed:
    start = torch.from_numpy(vector(99, len(change), 1.0))
    update = Update(start + torch.from_numpy(change), {"": 4}, {})
    chosen = codec(spec)
    assert chosen is not None
    return compress(chosen, start, update, state, client=3, round=round, seed=7, **more)


@given(
    st.sampled_from(SPECS), st.integers(0, 10_000), st.integers(1, 700), st.sampled_from([0.0, 1e-30, 1e-7, 1e-3, 1e4])
)
def test_the_server_reads_back_what_the_client_thinks_it_sent(spec: str, seed: int, size: int, spread: float) -> None:
    change = vector(seed, size, spread)
    start = torch.from_numpy(vector(99, size, 1.0))
    compressed = sent(spec, change)
    read = decompress(codec(spec), compressed.arrays, start)
    assert torch.equal(read[""], compressed.update.weights)
    assert torch.isfinite(read[""]).all()


def test_bytes_of_a_million_parameters() -> None:
    size = 1_050_000
    nbytes = {
        spec: sum(a.nbytes for a in sent(spec, vector(size=size)).arrays.values()) for spec in (*SPECS, "top-k:0.01")
    }
    assert nbytes["fp16"] == 2 * size + 4
    assert nbytes["int8"] == size + 4 * -(-size // BLOCK)
    assert nbytes["top-k:0.01"] == 8 * 10_500
    # A thousandth of the full model's 1.16 GB.
    assert nbytes["int8"] < 1_160_000


def test_half_precision_keeps_eleven_bits_of_however_small_a_change() -> None:
    for spread in (1e-9, 1e-3, 1e3):
        change = vector(spread=spread)
        read = Fp16().decode(Fp16().encode(change, np.random.default_rng(0)), SIZE)
        large = np.abs(change) > 1e-3 * np.abs(change).max()
        assert np.abs(read / change - 1)[large].max() < 2.0**-10


def test_int8_is_right_on_average_and_never_further_off_than_a_step() -> None:
    change = vector()
    random = np.random.default_rng(0)
    reads = np.stack([Int8().decode(Int8().encode(change, random), SIZE) for _ in range(400)])
    steps = np.repeat(Int8().encode(change, random)["scales"], BLOCK)[:SIZE]
    assert (np.abs(reads - change) <= steps * 1.001).all()
    # The mean of 400 draws of at most a quarter of a step's variance each.
    assert (np.abs(reads.mean(0) - change) < 5 * steps / 2 / 20).all()
    # Nearest rounding would give the same every time.
    assert (reads.std(0) > 0).mean() > 0.9


def test_top_k_sends_the_largest_and_every_value_in_the_end() -> None:
    # The same change each round: with feedback its sum arrives, without it small values never would.
    change = vector()
    total, state, rounds = np.zeros(SIZE), None, 60
    start = vector(99, SIZE, 1.0)
    for number in range(1, rounds + 1):
        compressed = sent("top-k:0.05", change, round=number, state=state)
        state = compressed.update.state
        arrays = compressed.arrays
        assert len(arrays["/places"]) == round(0.05 * SIZE)
        total += TopK(0.05).decode({name[1:]: a for name, a in arrays.items()}, SIZE)
        if number == 1:
            largest = np.sort(np.abs(change))[-len(arrays["/places"]) :]
            np.testing.assert_allclose(np.sort(np.abs(arrays["/values"])), largest, rtol=1e-4, atol=1e-7)
    # All that is missing is what still waits.
    waits = state.tensors["compression.unsent"].numpy()
    np.testing.assert_allclose(total + waits, rounds * change, atol=rounds * 2e-7 * np.abs(start).max())
    assert np.linalg.norm(total / rounds - change) < 0.35 * np.linalg.norm(change)


@pytest.mark.parametrize("spec", SPECS)
def test_a_repeated_round_sends_the_same_bytes_and_what_waits_advances_once(spec: str) -> None:
    first = sent(spec, vector(1), round=1)
    second = sent(spec, vector(2), round=2, state=first.update.state)
    again = sent(spec, vector(2), round=2, state=first.update.state)
    assert {n: a.tobytes() for n, a in second.arrays.items()} == {n: a.tobytes() for n, a in again.arrays.items()}
    if codec(spec).feeds_back:
        assert second.update.state.round == 2
        assert torch.equal(*(c.update.state.tensors["compression.unsent"] for c in (second, again)))
        without = sent(spec, vector(2), round=2)
        assert not np.array_equal(without.arrays["/values"], second.arrays["/values"])
    else:
        assert second.update.state is None


@pytest.mark.parametrize("spec", SPECS)
@given(seed=st.integers(0, 1000))
def test_the_norm_that_was_promised_holds_after_compression(spec: str, seed: int) -> None:
    change = vector(seed)
    bound = float(np.linalg.norm(change.astype(np.float64)))
    compressed = sent(spec, change, norm_bound=bound / 2)
    read = codec(spec).decode({name[1:]: a for name, a in compressed.arrays.items()}, SIZE)
    assert np.linalg.norm(read.astype(np.float64)) <= bound / 2
    # And rounding at random does break it where nothing keeps it.
    if spec == "int8":
        raw = Int8().decode(Int8().encode(change, np.random.default_rng(seed)), SIZE)
        assert np.linalg.norm(raw.astype(np.float64)) > bound / 2


def test_what_is_beside_the_parameters_is_compressed_too() -> None:
    start = torch.zeros(SIZE)
    control = torch.from_numpy(vector(5, SIZE, 3.0))
    update = Update(torch.from_numpy(vector()), {"": 4}, {}, extra={"control": control})
    compressed = compress(Int8(), start, update, None, client=0, round=1, seed=0)
    read = decompress(Int8(), compressed.arrays, start)
    assert torch.equal(read["control"], compressed.update.extra["control"])
    assert float((read["control"] - control).abs().max()) < 0.1
    with pytest.raises(ConfigError, match="error feedback"):
        compress(TopK(0.1), start, update, None, client=0, round=1, seed=0)


@pytest.mark.parametrize(
    ("spec", "break_it"),
    [
        ("int8", lambda a: a.pop("/scales")),
        ("int8", lambda a: a.update({"/values": a["/values"][:-1]})),
        ("int8", lambda a: a.update({"/values": a["/values"].astype(np.int16)})),
        ("int8", lambda a: a["/scales"].__setitem__(0, np.nan)),
        ("fp16", lambda a: a["/values"].__setitem__(0, np.inf)),
        ("top-k:0.05", lambda a: a["/places"].__setitem__(-1, SIZE)),
        ("top-k:0.05", lambda a: a["/places"].__setitem__(1, a["/places"][0])),
        ("int8", lambda a: a.update({"x": a["/values"]})),
        ("int8", lambda a: [a.update({f"control{k}": a.pop(k)}) for k in list(a)]),
    ],
)
def test_what_no_client_of_ours_sends_is_refused(spec: str, break_it: object) -> None:
    arrays = {name: array.copy() for name, array in sent(spec, vector()).arrays.items()}
    break_it(arrays)  # type: ignore[operator]
    with pytest.raises(ConfigError):
        decompress(codec(spec), arrays, torch.zeros(SIZE))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("gzip", "fp16, int8, none, top-k"),
        ("top-k", "such as top-k:0.01"),
        ("top-k:0", "above 0"),
        ("int8:3", "no option"),
    ],
)
def test_compressions_that_are_none(spec: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        codec(spec)


@pytest.mark.parametrize(
    ("spec", "settings", "why"),
    [
        ("top-k:0.01", {"secagg": True}, "room for all places only"),
        ("fp16", {"secagg": True}, "whole numbers only"),
        ("top-k:0.01", {"dp": "central"}, "counts each round's data once"),
        ("top-k:0.01", {"algorithm": "scaffold"}, "control variates"),
    ],
)
def test_unsound_compositions_are_refused_with_the_reason(spec: str, settings: dict[str, object], why: str) -> None:
    usual = {"dp": None, "secagg": False, "algorithm": "fedavg"}
    with pytest.raises(ConfigError, match=why):
        require_sound(spec, **{**usual, **settings})  # type: ignore[arg-type]
    # It is the composition that is refused, not its parts.
    require_sound(spec, **usual)  # type: ignore[arg-type]
    require_sound("none", **{**usual, **settings})  # type: ignore[arg-type]
    require_sound("int8", **{**usual, **settings})  # type: ignore[arg-type]
