"""Where in a recording somebody speaks: Silero VAD through its ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.sample import Waveform
from fedaffect.edge.system.onnx_session import open_session

SAMPLE_RATE_HZ: Final = 16_000
VOICE_FRAME: Final = 512
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

    def follow(self) -> VoiceFollower:
        """Listen to sound that goes on, piece by piece."""
        return VoiceFollower(self._session)

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
        frames = np.zeros((-(-len(samples) // VOICE_FRAME), VOICE_FRAME), np.float32)
        frames.reshape(-1)[: len(samples)] = samples
        return self.follow().feed(frames.reshape(-1))

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
        return trim(sound, self.probabilities(sound.samples), threshold, margin_s)


class VoiceFollower:
    """Speech probabilities of sound that goes on; what was heard so far stays in the recurrent layer's state.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Silero VAD's.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._hidden = self._cell = np.zeros((1, 1, _UNITS), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of what comes next.

        Parameters
        ----------
        samples : float32 array, shape (512 n,)
            At 16 kHz, following what was fed before.

        Returns
        -------
        float32 array, shape (n,)
        """
        if len(samples) == 0:
            return np.zeros(0, np.float32)
        frames = samples.reshape(-1, VOICE_FRAME)
        contexts = np.concatenate([self._context[None], frames[:-1, -_CONTEXT:]])
        blocks = np.concatenate([contexts, frames], axis=1)  # (frames, 64 + 512)
        found = []
        for start in range(0, len(blocks), _BLOCK):
            feed = {"input": blocks[start : start + _BLOCK], "h": self._hidden, "c": self._cell}
            voiced, self._hidden, self._cell = self._session.run(["speech_probs", "hn", "cn"], feed)
            found.append(voiced.reshape(-1))
        self._context = frames[-1, -_CONTEXT:].copy()
        return np.concatenate(found)


def trim(sound: Waveform, probabilities: NDArray[np.float32], threshold: float, margin_s: float) -> Waveform:
    """What lies between the first voiced frame and the last, given the frames' probabilities.

    Parameters
    ----------
    sound : Waveform
        At 16 kHz.
    probabilities : float32 array, shape (ceil(N / 512),)
        Of each frame, see `VoiceDetector.probabilities`.
    threshold, margin_s : float
        See `VoiceDetector.trim`.
    """
    voiced = np.flatnonzero(probabilities >= threshold)
    if voiced.size == 0:
        return sound
    margin = round(margin_s * SAMPLE_RATE_HZ)
    start = max(0, int(voiced[0]) * VOICE_FRAME - margin)
    stop = min(len(sound.samples), (int(voiced[-1]) + 1) * VOICE_FRAME + margin)
    return Waveform(sound.samples[start:stop], sound.sample_rate_hz)
