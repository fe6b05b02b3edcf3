"""Raw media as the networks take them, so that a corpus is decoded once: ids, samples or bands, faces.

Each is an `fedaffect.edge.encoders.base.Encoder` whose features are the network's input, a row of the table a word
piece, a block of samples, a frame of the spectrogram or a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from fedaffect.edge.bundle.manifest import hash_of
from fedaffect.edge.encoders.base import Prepared, key_of, written_settings
from fedaffect.edge.encoders.speech import SpeechSettings, hear, prepare_sound
from fedaffect.edge.encoders.vision import VisionSettings, prepare_frames, spread
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.face import FaceDetector
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.media.sound import require_sound
from fedaffect.edge.media.voice import SAMPLE_RATE_HZ, VoiceDetector
from fedaffect.edge.sample import Frames

# Samples of a row: 20 ms, a frame of wav2vec2. A clip's last row is filled with what is no number, and is no sound.
BLOCK: Final = SAMPLE_RATE_HZ // 50


class WordInputs:
    """Word-piece ids, (T, 1).

    Parameters
    ----------
    tokenizer : Tokenizer
    max_tokens : int
        Word-pieces kept, those that mark beginning and end included.
    """

    modality = "text"
    width = 1
    tokens_per_second = 0.0
    stored: type[np.generic] = np.int32

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        self._tokenizer = tokenizer
        words = sha256(tokenizer.to_str().encode()).hexdigest()
        self.key = key_of({"tokenizer": words}, {"kind": "word-inputs", "max_tokens": max_tokens})

    def prepare(self, source: Any) -> Prepared:
        """Ids of a sentence, (T,)."""
        ids = self._tokenizer.encode(source).ids
        if not ids:
            raise DataError("the tokenizer makes nothing of the text; leave it out where there is none")
        return Prepared(np.array(ids, dtype=np.int64))

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Rows of each sentence, (T, 1)."""
        return [each.values[:, None].astype(np.float32) for each in batch]


class SoundInputs:
    """Samples in rows of 20 ms, (T, 320), or log-mel, (T, bands), as the settings say.

    Parameters
    ----------
    settings : SpeechSettings
    voice : Path
        Silero VAD, which finds where speech begins and ends.
    """

    modality = "audio"
    stored: type[np.generic] = np.float32

    def __init__(self, settings: SpeechSettings, voice: Path) -> None:
        self.settings = settings
        self._voice = VoiceDetector(voice)
        log_mel = settings.front_end == "log_mel"
        self.width = settings.mel_bands if log_mel else BLOCK
        self.tokens_per_second = 100.0 if log_mel else SAMPLE_RATE_HZ / BLOCK
        self.key = key_of({"voice": hash_of(voice)}, {"kind": "sound-inputs-2", **asdict(settings)})

    def prepare(self, source: Any) -> Prepared:
        """Samples (N,) or log-mel (bands, T) of a clip: mono, 16 kHz, trimmed to speech, levelled."""
        sound = hear(source, self.settings)
        require_sound(sound)
        return prepare_sound(sound, self._voice.probabilities(sound.samples), self.settings)

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Rows of each clip, (T, width)."""
        return [self._rows(each.values) for each in batch]

    def _rows(self, values: NDArray[Any]) -> NDArray[np.float32]:
        if values.ndim == 2:
            return np.ascontiguousarray(values.T, dtype=np.float32)
        filled = np.pad(values.astype(np.float32), (0, -len(values) % BLOCK), constant_values=np.nan)
        return filled.reshape(-1, BLOCK)


class PictureInputs:
    """Faces, (T, S S 3), at most so many at equal distances over a clip.

    Parameters
    ----------
    settings : VisionSettings
    detector : FaceDetector, optional
        Finds the face of each frame; None takes all of each frame.
    most : int
        Frames kept of a clip.
    face : str
        Hash of the detector's file, empty without one.
    """

    modality = "video"
    stored: type[np.generic] = np.uint8

    def __init__(self, settings: VisionSettings, detector: FaceDetector | None, most: int, face: str) -> None:
        self.settings = settings
        self._detector = detector
        self._most = most
        self.width = settings.size**2 * 3
        self.tokens_per_second = settings.frames_per_second
        self.key = key_of({"face": face}, {"kind": "picture-inputs", "most": most, **written_settings(settings)})

    def prepare(self, source: Any) -> Prepared:
        """Frames at the network's size, uint8 (N, S, S, 3)."""
        seen = decode_video(source, self.settings.frames_per_second, self.settings.max_frames)
        # Faces are looked for in those frames alone that are kept.
        frames = replace(seen, images=seen.images[spread(len(seen.images), self._most)])
        return prepare_frames(frames, self._faces(frames), self.settings)

    def _faces(self, frames: Frames) -> Any:
        return None if self._detector is None else self._detector.largest(frames.images)

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Rows of each clip, (N, S S 3), in 0..255."""
        return [each.values.reshape(len(each.values), -1).astype(np.float32) for each in batch]


Inputs: TypeAlias = WordInputs | SoundInputs | PictureInputs
