"""Worse test clips: how much worse, that chance comes from the clip, and that the test split alone has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.edge.conftest import tiny_bundle

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.client.features.sequences import with_rows
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.runtime.probes import drawn_face
from fedaffect.edge.sample import Frames, Waveform
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.prepare import prepare
from fedaffect.simulation.preparing.degraded import CONDITIONS, Degraded, read_conditions

__all__ = ["tiny_bundle"]

RATE_HZ = 16_000
TONE = Waveform(
    (0.2 * np.sin(2 * np.pi * 1_000 * np.arange(RATE_HZ) / RATE_HZ) + 0.08 * np.sin(np.arange(RATE_HZ) * 2.4)).astype(
        np.float32
    ),
    RATE_HZ,
)
FACE = Frames(np.stack([drawn_face()] * 2), 5.0)


class Heard:
    """An encoder that keeps what it is given."""

    width, key, tokens_per_second = 1, "heard", 5.0

    def __init__(self, modality: str) -> None:
        self.modality = modality

    def prepare(self, source: object) -> Prepared:
        if isinstance(source, str):
            return Prepared(np.array(source.split()))
        return Prepared(source.samples if isinstance(source, Waveform) else source.images)  # type: ignore[attr-defined]

    def encode(self, batch: object) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
        raise NotImplementedError


def degraded(condition: str, source: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    (read,) = read_conditions([condition])
    return Degraded(Heard(read.modality), [read]).prepare(source).values


def level(samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("decibels", [20, 5])
def test_noise_is_as_far_below_the_voice_as_was_asked(decibels: int) -> None:
    noise = degraded(f"audio=noise:{decibels}", TONE) - TONE.samples
    assert level(TONE.samples) - level(noise) == pytest.approx(decibels, abs=0.1)
    power = np.abs(np.fft.rfft(noise)) ** 2
    # Pink: each octave has as much.
    assert power[500:1000].sum() == pytest.approx(power[2000:4000].sum(), rel=0.3)


def test_a_telephone_lets_its_band_through() -> None:
    power = np.abs(np.fft.rfft(degraded("audio=telephone:8", TONE))) ** 2
    before = np.abs(np.fft.rfft(TONE.samples)) ** 2
    assert power[950:1050].sum() > 0.5 * before[950:1050].sum()
    assert power[6000:6300].sum() < 0.02 * before[6000:6300].sum()


def test_an_echo_falls_by_60_db_in_its_time() -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[0] = 0.5
    heard = degraded("audio=room:0.5", Waveform(click, RATE_HZ))
    early, late = heard[1:801], heard[RATE_HZ // 2 - 800 : RATE_HZ // 2]
    assert level(early) - level(late) == pytest.approx(54, abs=4)
    assert heard[0] == pytest.approx(0.5, rel=0.05)


def test_pictures_get_softer_darker_coarser_and_covered() -> None:
    def edges(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
        return float(np.abs(np.diff(images.astype(float), axis=2)).mean())

    assert edges(degraded("video=blur:3", FACE)) < 0.5 * edges(FACE.images)
    dark = degraded("video=dark:3", FACE).astype(float)
    assert (dark / 255).mean() < 0.55 * (FACE.images / 255).mean()
    assert 0 < np.abs(degraded("video=jpeg:10", FACE).astype(int) - FACE.images).mean() < 20
    covered = degraded("video=covered:0.3", FACE)
    height = FACE.images.shape[1]
    assert (covered[:, round(0.7 * height) :] == 128).all()
    assert np.array_equal(covered[:, : round(0.7 * height)], FACE.images[:, : round(0.7 * height)])


def test_words_are_lost_and_one_is_left() -> None:
    words = " ".join(f"word{k}" for k in range(400))
    assert len(degraded("text=lost:0.5", words)) == pytest.approx(200, abs=50)
    assert degraded("text=lost:0.99", "alone").tolist() == ["alone"]


@pytest.mark.parametrize(
    "condition", [f"{m}={n}:{way.least:g}" for m, ways in CONDITIONS.items() for n, way in ways.items()]
)
def test_a_clip_is_degraded_in_one_way_whoever_asks(condition: str) -> None:
    source = {"audio": TONE, "video": FACE, "text": "one or two words"}[condition.partition("=")[0]]
    assert np.array_equal(degraded(condition, source), degraded(condition, source))


def test_another_condition_is_another_encoder(tiny_bundle: Path) -> None:
    encoder = Bundle.load(tiny_bundle, trust=None).encoder("audio")
    worse = [Degraded(encoder, read_conditions([one])) for one in ("audio=noise:10", "audio=noise:5", "audio=room:1")]
    assert len({encoder.key, *(each.key for each in worse)}) == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("sound=noise:10", "unknown modality to degrade"),
        ("audio=static:10", "unknown way to degrade audio"),
        ("audio=noise", "give audio=noise:N with N from -20 to 60"),
        ("video=covered:2", "N from 0.05 to 0.95"),
    ],
)
def test_a_wrong_condition_says_what_there_is(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_conditions([given])


def test_rows_of_another_table_take_their_places() -> None:
    one = TokenTable(np.arange(6, dtype=np.float32)[:, None], np.array([0, 2, 2, 6]))
    other = TokenTable(-np.arange(5, dtype=np.float32)[:, None] - 1, np.array([0, 1, 4, 5]))
    mixed = with_rows(one, other, np.array([1]))
    assert mixed.tokens[:, 0].tolist() == [0, 1, -2, -3, -4, 2, 3, 4, 5]
    assert mixed.offsets.tolist() == [0, 2, 5, 9]


def test_the_test_split_alone_is_worse(tiny_bundle: Path) -> None:
    usual = {"dataset": "synthetic", "modalities": ("audio",), "bundle": str(tiny_bundle), "partition": "iid:2"}

    def made(*conditions: str) -> Cohort:
        config = RunSettings.of({**usual, "degrade_test": conditions})
        return Cohort.load(prepare(config, progress=False))

    def heard(cohort: Cohort, row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        table = cohort.tables["audio"]
        return table.tokens[table.offsets[row] : table.offsets[row + 1]]

    good, worse = made(), made("audio=noise:0")
    changed = {row for row in range(len(good.labels)) if not np.array_equal(heard(good, row), heard(worse, row))}
    assert changed == set(good.splits["test"].tolist())
    with pytest.raises(ConfigError, match=r"--degrade-test video=blur:2 needs video"):
        made("video=blur:2")
