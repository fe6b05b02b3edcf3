"""Measures the spread of voice features on synthetic voices, so that a bundle needs nobody's recordings for it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from fedaffect.client.corpora.synthetic import Synthetic
from fedaffect.edge.encoders.scale import Scale
from fedaffect.edge.encoders.speech import SpeechEncoder, SpeechSettings

VOICES: Final = 240


def measure_scale(network: Path, voice: Path, settings: SpeechSettings, width: int) -> Scale:
    """Mean and spread of an encoder's tokens over synthetic (generated, not recorded) voices.

    Parameters
    ----------
    network, voice : Path
        The encoder's network as it will run, and its voice detector.
    settings : SpeechSettings
    width : int
        Of its tokens.
    """
    encoder = SpeechEncoder(network, voice, settings, width=width, key="")
    corpus = Synthetic()
    every = max(1, len(corpus) // VOICES)
    sounds = [corpus[place].sample.audio for place in range(0, len(corpus), every)]
    prepared = [encoder.prepare(sound) for sound in sounds if sound is not None]
    return Scale.of(np.concatenate(encoder.encode(prepared)))
