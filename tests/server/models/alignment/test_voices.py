"""Voices heard through other rooms."""

from __future__ import annotations

import numpy as np

from fedaffect.edge.sample import Waveform
from fedaffect.server.models.alignment.voices import vary


def test_silence_stays_finite() -> None:
    changed = [vary(Waveform(np.zeros(24_000, np.float32), 16_000), copy) for copy in range(8)]
    assert all(np.isfinite(one.samples).all() for one in changed)


def test_short_clips_are_not_cut() -> None:
    clip = Waveform(np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32), 16_000)
    assert {len(vary(clip, copy).samples) for copy in range(8)} == {8_000}


def test_other_clips_get_other_draws() -> None:
    draw = np.random.default_rng(1)
    clips = [Waveform(draw.normal(0, 0.1, 16_000).astype(np.float32), 16_000) for _ in range(6)]
    assert len({vary(clip, 1).sample_rate_hz for clip in clips}) > 2
