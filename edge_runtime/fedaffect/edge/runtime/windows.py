"""A stream cut into overlapping windows, each answered from what changed since the one before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.encoders.speech import SpeechEncoder
from fedaffect.edge.encoders.text import TextEncoder
from fedaffect.edge.encoders.vision import VisionEncoder
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.media.sound import MAX_SECONDS
from fedaffect.edge.media.timed import Pictures, Sounds, TimedPicture, TimedWords, Words, pictures_of, sounds_of
from fedaffect.edge.runtime.intake import take_text
from fedaffect.edge.runtime.opened import OpenBundle
from fedaffect.edge.runtime.senses import Hearing, Sight
from fedaffect.edge.sample import MODALITIES, Sample, Waveform

_PICTURES_HZ: Final = 5.0
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """How a stream is cut.

    Parameters
    ----------
    window_s : float
        Length of a window, up to 30 s.
    hop_s : float
        From one window to the next.
    smoothing_s : float
        See `Smoother`.
    """

    window_s: float = 3.0
    hop_s: float = 0.5
    smoothing_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.hop_s <= self.window_s <= MAX_SECONDS:
            raise ConfigError(
                f"windows of {self.window_s} s every {self.hop_s} s: use 0 < hop <= window <= {MAX_SECONDS:g} s"
            )


@dataclass(frozen=True, slots=True)
class Window:
    """What one window gave.

    Parameters
    ----------
    start_s, end_s : float
        From the stream's beginning.
    tokens : mapping of str to float32 array, shape (T, W)
        Of the modalities that had something in them; may be empty.
    notes : tuple of str
        What was left out and why.
    spent_ms : float
        Time that the device worked on what was new in it.
    sample : Sample
        The window's media as far as they are kept.
    doubtful : bool
        Whether it rests on nothing that the encoders can judge.
    """

    start_s: float
    end_s: float
    tokens: dict[str, NDArray[np.float32]]
    notes: tuple[str, ...]
    spent_ms: float
    sample: Sample
    doubtful: bool = False


class Windows:
    """Pulls pictures, sound and words as far as each window reaches, and encodes what is new.

    Sources are pulled one after the other, so one that is slower than time holds up the others; those of
    `fedaffect.edge.media.capture` never are.

    Parameters
    ----------
    frames, audio, text
        See `EdgeRuntime.stream`.
    config : WindowConfig
        How to cut.
    opened : OpenBundle
        To begin with; `advance` may be given another.
    keep_media : bool
        Keep sound and pictures of a window, for a cloud that is to have them.
    """

    def __init__(
        self,
        frames: Pictures | None,
        audio: Sounds | None,
        text: Words | None,
        config: WindowConfig,
        opened: OpenBundle,
        keep_media: bool = False,
    ) -> None:
        self._config = config
        self._keep_media = keep_media
        self._pictures = _Pulled(pictures_of(frames, _PICTURES_HZ), frames is not None)
        self._sounds = _Pulled(sounds_of(audio), audio is not None)
        spoken: Iterable[TimedWords] = () if text is None or isinstance(text, str) else text
        self._words = _Pulled(spoken, spoken != ())
        self._always = text if isinstance(text, str) else None
        self._said: list[TimedWords] = []
        self._text: tuple[str, NDArray[np.float32], str] | None = None
        self._sight: Sight | None = None
        self._hearing: Hearing | None = None
        self._keys: dict[str, str] = {}
        self._heard_s = 0.0
        self._seen_s = 0.0
        self._spent_s = 0.0
        self._end_s = config.window_s - config.hop_s
        self._adopt(opened)

    def advance(self, opened: OpenBundle) -> Window | None:
        """The next window, or None where the stream is over.

        Parameters
        ----------
        opened : OpenBundle
            To encode with; where its encoders differ from those before, what they made is forgotten.

        Raises
        ------
        DataError
            If a source is damaged or gives what cannot be used.
        """
        if self._over():
            return None
        self._spent_s = 0.0
        self._adopt(opened)
        self._end_s += self._config.hop_s
        self._pull(self._end_s)
        started_s = perf_counter()
        start_s = self._end_s - self._config.window_s
        tokens, notes, doubtful = self._encode(opened, start_s, self._end_s)
        self._spent_s += perf_counter() - started_s
        sample = Sample(
            id=f"{start_s:g}-{self._end_s:g}s",
            text=self._text_of(start_s, self._end_s) if "text" in tokens else None,
            audio=self._hearing.window(start_s, self._end_s) if "audio" in tokens and self._hearing else None,
            video=self._sight.frames(start_s, self._end_s) if "video" in tokens and self._sight else None,
        )
        return Window(start_s, self._end_s, tokens, notes, self._spent_s * 1000, sample, doubtful)

    def _adopt(self, opened: OpenBundle) -> None:
        """Begin again with whatever of a bundle differs."""
        keys = {modality: opened.bundle.manifest.encoders[modality].key() for modality in opened.encoders}
        if keys == self._keys:
            return
        keep_s = self._config.window_s + self._config.hop_s
        if keys.get("text") != self._keys.get("text"):
            self._text = None
        if keys.get("audio") != self._keys.get("audio"):
            self._hearing = None
        if keys.get("video") != self._keys.get("video"):
            self._sight = None
        self._keys = keys
        audio = opened.encoders.get("audio") if self._sounds.given else None
        if self._hearing is None and isinstance(audio, SpeechEncoder):
            self._hearing = Hearing(audio, keep_s, begins_s=self._heard_s)
        video = opened.encoders.get("video") if self._pictures.given else None
        if self._sight is None and isinstance(video, VisionEncoder):
            self._sight = Sight(video, keep_s, self._keep_media)

    def _pull(self, end_s: float) -> None:
        while (picture := self._pictures.peek) is not None and picture.time_s + 5e-4 < end_s:
            self._pictures.next()
            self._timed_see(picture)
        while self._heard_s + 5e-4 < end_s and not self._sounds.ended:
            self._timed_hear(self._sounds.next())
        while (words := self._words.peek) is not None and words.time_s < end_s:
            self._said.append(words)
            self._words.next()

    def _timed_see(self, picture: TimedPicture) -> None:
        started_s = perf_counter()
        if self._sight is not None:
            self._sight.add(picture)
        self._seen_s = picture.time_s + 1 / _PICTURES_HZ
        self._spent_s += perf_counter() - started_s

    def _timed_hear(self, sound: Waveform | None) -> None:
        started_s = perf_counter()
        if sound is not None:
            self._heard_s += len(sound.samples) / sound.sample_rate_hz
        if self._hearing is not None and sound is not None:
            self._hearing.add(sound)
        elif self._hearing is not None:
            self._hearing.finish()
        self._spent_s += perf_counter() - started_s

    def _over(self) -> bool:
        """Whether all sources have ended and at most half a hop of them was not looked at yet."""
        if self._pictures.peek is not None or self._sounds.peek is not None or self._words.peek is not None:
            return False
        last_s = max(self._heard_s, self._seen_s, self._said[-1].time_s if self._said else 0.0)
        if self._end_s < self._config.window_s - 1e-9:
            return last_s == 0 and self._always is None
        return last_s <= self._end_s + self._config.hop_s / 2

    def _encode(
        self, opened: OpenBundle, start_s: float, end_s: float
    ) -> tuple[dict[str, NDArray[np.float32]], tuple[str, ...], bool]:
        tokens: dict[str, NDArray[np.float32]] = {}
        notes = [
            f"{modality} left out: this bundle has no encoder for it"
            for modality, source in (("video", self._pictures), ("audio", self._sounds))
            if source.given and modality not in opened.encoders
        ]
        doubts: dict[str, str] = {}
        if (words := self._text_of(start_s, end_s)) is not None:
            try:
                tokens["text"], doubts["text"] = self._text_tokens(opened, words)
            except DataError as error:
                notes.append(f"text left out: {error}")
        video: NDArray[np.float32] | None = None
        try:
            video = None if self._sight is None else self._sight.tokens(start_s, end_s)
        except DataError as error:
            notes.append(f"video left out: {error}")
        try:
            heard = None if self._hearing is None else self._hearing.take(start_s, end_s)
        except DataError as error:
            heard = None
            notes.append(f"audio left out: {error}")
        if heard is not None:
            doubts["audio"] = heard.doubt
        if video is not None:
            tokens["video"] = video
        sure = {"video"} & {*tokens} | {modality for modality, doubt in doubts.items() if not doubt}
        for modality, doubt in doubts.items():
            if doubt and sure:
                notes.append(f"{modality} left out: {doubt}")
                tokens.pop(modality, None)
            elif doubt:
                notes.append(f"{doubt}; it was used as it is")
        if heard is not None and not (heard.doubt and sure):
            tokens["audio"] = opened.encode("audio", heard.prepared)
        return {m: tokens[m] for m in MODALITIES if m in tokens}, tuple(notes), bool(tokens) and not sure

    def _text_of(self, start_s: float, end_s: float) -> str | None:
        if self._always is not None:
            return self._always
        self._said = [words for words in self._said if words.time_s >= start_s]
        return " ".join(words.text for words in self._said if words.time_s < end_s) or None

    def _text_tokens(self, opened: OpenBundle, words: str) -> tuple[NDArray[np.float32], str]:
        """Tokens, shape (T, W), and why they cannot be judged."""
        if self._text is None or self._text[0] != words:
            encoder = opened.encoders.get("text")
            if not isinstance(encoder, TextEncoder):
                raise DataError("this bundle has no encoder for it")
            taken = take_text(encoder, words)
            self._text = words, encoder.encode([taken.prepared])[0], taken.doubt
        return self._text[1:]


class _Pulled(Generic[Item]):
    """An iterator with a look at what comes next."""

    def __init__(self, source: Iterable[Item], given: bool) -> None:
        self._source = iter(source)
        self._ahead: list[Item] = []
        self.given = given
        self.ended = not given

    @property
    def peek(self) -> Item | None:
        """The next item, left where it is; None at the end. Waits for it where it is not there yet."""
        if not self._ahead and not self.ended:
            try:
                self._ahead.append(next(self._source))
            except StopIteration:
                self.ended = True
        return self._ahead[0] if self._ahead else None

    def next(self) -> Item | None:
        """The next item, taken; None at the end."""
        item = self.peek
        self._ahead.clear()
        return item
