"""Where in a recording somebody speaks: Silero VAD through its ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_runtime.encoders.session import open_session
from edge_runtime.sample import Waveform

SAMPLE_RATE_HZ: Final = 16_000
_FRAME: Final = 512
_CONTEXT: Final = 64
_BLOCK: Final = 512
_UNITS: Final = 128


class VoiceDetector:
    """Speech probability of every 32 ms, and trimming by it.

    Parameters
    ----------
    path : Path
        ``silero_vad_16k_sequence.onnx`` of the silero-vad package (MIT): one call takes a block of frames, each with
        the 64 samples before it, and carries the state of its recurrent layer to the next block.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability that somebody speaks, one for every 512 samples.

        Parameters
        ----------
        samples : float32 array, shape (N,)
            At 16 kHz.

        Returns
        -------
        float32 array, shape (ceil(N / 512),)
        """
        frames = np.zeros((-(-len(samples) // _FRAME), _FRAME), np.float32)
        frames.reshape(-1)[: len(samples)] = samples
        contexts = np.zeros((len(frames), _CONTEXT), np.float32)
        contexts[1:] = frames[:-1, -_CONTEXT:]
        blocks = np.concatenate([contexts, frames], axis=1)  # (frames, 64 + 512)
        hidden = cell = np.zeros((1, 1, _UNITS), np.float32)
        found = []
        for start in range(0, len(blocks), _BLOCK):
            feed = {"input": blocks[start : start + _BLOCK], "h": hidden, "c": cell}
            voiced, hidden, cell = self._session.run(["speech_probs", "hn", "cn"], feed)
            found.append(voiced.reshape(-1))
        return np.concatenate(found)

    def trim(self, sound: Waveform, threshold: float, margin_s: float) -> Waveform:
        """Cut what comes before the first voiced frame and after the last; all of it stays where no voice is found.

        Parameters
        ----------
        sound : Waveform
            At 16 kHz.
        threshold : float
            Probability from which a frame counts as voiced.
        margin_s : float
            How much to keep around them.
        """
        voiced = np.flatnonzero(self.probabilities(sound.samples) >= threshold)
        if voiced.size == 0:
            return sound
        margin = round(margin_s * SAMPLE_RATE_HZ)
        start = max(0, int(voiced[0]) * _FRAME - margin)
        stop = min(len(sound.samples), (int(voiced[-1]) + 1) * _FRAME + margin)
        return Waveform(sound.samples[start:stop], sound.sample_rate_hz)
