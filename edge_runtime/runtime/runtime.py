"""What an app holds: a bundle that answers, alone or with the cloud's help."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from time import perf_counter
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_runtime.bundle import Bundle
from edge_runtime.cloud.client import CloudClient
from edge_runtime.encoders.text import TextEncoder
from edge_runtime.errors import ConfigError, DataError
from edge_runtime.media.timed import Pictures, Sounds, Words
from edge_runtime.offload import OffloadConfig, OffloadPolicy
from edge_runtime.prediction import Prediction
from edge_runtime.runtime.cascade import Cascade, LocalAnswer
from edge_runtime.runtime.intake import Intake, take_in, take_text
from edge_runtime.runtime.opened import OpenBundle
from edge_runtime.runtime.smoothing import Smoother
from edge_runtime.runtime.windows import Window, WindowConfig, Windows
from edge_runtime.sample import MODALITIES, Sample, Waveform

Transcriber = Callable[[Waveform], str]
# Calls of asyncio that may be under way; more wait their turn.
_CALLS: Final = 4


class EdgeRuntime(AbstractContextManager["EdgeRuntime"]):
    """Recognises emotion on a device.

    Safe to call from several threads. A prediction works with one bundle from beginning to end, whatever is swapped
    in meanwhile.

    Parameters
    ----------
    opened : OpenBundle
        What to answer with; apps use :meth:`load`.
    cascade : Cascade
        Asks the cloud where that pays.
    transcriber : callable, optional
        Words of a sound at 16 kHz.
    threads : int
        For bundles that are swapped in.
    """

    def __init__(
        self, opened: OpenBundle, cascade: Cascade, transcriber: Transcriber | None = None, threads: int = 1
    ) -> None:
        self._opened: OpenBundle | None = opened
        self._cascade = cascade
        self._transcriber = transcriber
        self._threads = threads
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(_CALLS, thread_name_prefix="fedaffect-edge")

    @classmethod
    def load(
        cls,
        bundle: Path | Bundle | None = None,
        *,
        cloud: CloudClient | None = None,
        policy: OffloadPolicy | None = None,
        privacy: str = "never",
        transcriber: Transcriber | None = None,
        threads: int = 1,
    ) -> EdgeRuntime:
        """Open a bundle.

        Parameters
        ----------
        bundle : Path or Bundle, optional
            Its folder; the default one if not given.
        cloud : CloudClient, optional
            Whom to ask where the device is unsure.
        policy : OffloadPolicy, optional
            When to ask; by the thresholds in the bundle's calibration if not given.
        privacy : {"never", "features", "raw"}
            What may leave the device.
        transcriber : callable, optional
            Finds the words where no text is given, such as `edge_runtime.transcription.Whisper`.
        threads : int
            Samples that an encoder works on at a time.

        Raises
        ------
        BundleError
            If there is no bundle, it is refused, or it has no fusion.
        ConfigError
            If ``privacy`` is unknown.
        """
        opened = OpenBundle(bundle, threads)
        if policy is None:
            policy = OffloadPolicy(OffloadConfig(thresholds=dict(opened.bundle.manifest.calibration.thresholds)))
        return cls(opened, Cascade(cloud, policy, privacy), transcriber, threads)

    @property
    def bundle(self) -> Bundle:
        """The one that answers now."""
        return self._current().bundle

    @property
    def labels(self) -> tuple[str, ...]:
        """What is predicted, in the order of the fusion's scores."""
        return self._current().labels

    def predict(self, sample: Sample, deadline_ms: float | None = None) -> Prediction:
        """The emotion of one sample.

        Parameters
        ----------
        sample : Sample
            Any subset of the modalities; see `edge_runtime.runtime.sample_of` for a film with its sound.
        deadline_ms : float, optional
            When the app wants its answer; the cloud is not waited for beyond it.

        Returns
        -------
        Prediction
            From what could be used; its notes say what could not, and why.

        Raises
        ------
        DataError
            If nothing of the sample can be used.
        ConfigError
            If the runtime is closed.
        """
        started_s = perf_counter()
        opened = self._current()
        intake = take_in(sample, opened.encoders)
        intake, transcript, transcription_ms = self._transcribe(intake, opened)
        tokens, notes = _encode(opened, intake)
        local = _prediction(opened, opened.probabilities(tokens), tokens, notes)
        spent_ms = (perf_counter() - started_s) * 1000 - (transcription_ms or 0.0)
        local = replace(local, latency_ms=spent_ms, transcript=transcript, transcription_ms=transcription_ms)
        answer = LocalAnswer(
            local,
            intake.sample,
            tokens,
            {modality: opened.encoders[modality].key for modality in tokens},
            transcribe=self._transcriber is not None and intake.sample.text is None,
        )
        return self._cascade.settle(answer, started_s, deadline_ms)

    async def apredict(self, sample: Sample, deadline_ms: float | None = None) -> Prediction:
        """:meth:`predict` for asyncio: the event loop goes on meanwhile. Waiting for a free thread counts as time."""
        asked_s = perf_counter()

        def call() -> Prediction:
            waited_ms = (perf_counter() - asked_s) * 1000
            left_ms = None if deadline_ms is None else max(0.0, deadline_ms - waited_ms)
            return self.predict(sample, left_ms)

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def stream(
        self,
        frames: Pictures | None = None,
        audio: Sounds | None = None,
        text: Words | None = None,
        window_s: float = 3.0,
        hop_s: float = 0.5,
        smoothing_s: float = 1.0,
    ) -> Iterator[Prediction]:
        """A prediction every hop, from the window that ends there.

        The first comes when one window is full, or with the last of a stream that is shorter. Where a window has
        nothing to go by, there is none. The cloud, where it is asked at all, has one hop's time.

        Parameters
        ----------
        frames : path, bytes, Frames or iterable of TimedPicture, optional
            A film, pictures in memory, or a camera.
        audio : path, bytes, Waveform or iterable of Waveform, optional
            A sound, or a microphone: pieces that follow each other.
        text : str or iterable of TimedWords, optional
            Words that hold for the whole stream, or each with its time.
        window_s, hop_s : float
            Length of a window, and from one to the next.
        smoothing_s : float
            Time constant of the steadying; 0 for none.

        Yields
        ------
        Prediction
            Its latency is what the device spent on what was new in the window.

        Raises
        ------
        DataError
            If a source is damaged, or the whole stream had nothing to go by.
        """
        if frames is None and audio is None and text is None:
            raise DataError("the stream is empty; give frames, audio or text")
        return self._stream(frames, audio, text, WindowConfig(window_s, hop_s, smoothing_s))

    async def astream(
        self,
        frames: Pictures | None = None,
        audio: Sounds | None = None,
        text: Words | None = None,
        window_s: float = 3.0,
        hop_s: float = 0.5,
        smoothing_s: float = 1.0,
    ) -> AsyncIterator[Prediction]:
        """:meth:`stream` for asyncio: the event loop goes on while the device waits and works."""
        windows = self.stream(frames, audio, text, window_s, hop_s, smoothing_s)
        advance = partial(next, windows, None)
        while (prediction := await asyncio.get_running_loop().run_in_executor(self._pool, advance)) is not None:
            yield prediction

    def features(self, sample: Sample) -> dict[str, NDArray[np.float32]]:
        """What the encoders make of a sample: tokens of shape (T, W) by modality.

        Raises
        ------
        DataError
            If nothing of the sample can be used.
        """
        opened = self._current()
        return _encode(opened, take_in(sample, opened.encoders))[0]

    def swap(self, bundle: Path | Bundle) -> str:
        """Answer with another bundle from now on; predictions under way end with the one that they began with.

        Parameters
        ----------
        bundle : Path or Bundle
            Opened and checked before anything changes.

        Returns
        -------
        str
            Version of the bundle that answered until now.

        Raises
        ------
        BundleError
            If it is refused; the one before stays.
        """
        opened = OpenBundle(bundle, self._threads)
        with self._lock:
            before = self._current()
            self._opened = opened
        return before.version

    def close(self) -> None:
        """Let go of the networks and the way to the cloud; predictions under way still end."""
        with self._lock:
            if self._opened is None:
                return
            self._opened = None
        self._pool.shutdown(wait=False)
        self._cascade.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _current(self) -> OpenBundle:
        opened = self._opened
        if opened is None:
            raise ConfigError("this runtime is closed; load it again with EdgeRuntime.load")
        return opened

    def _transcribe(self, intake: Intake, opened: OpenBundle) -> tuple[Intake, str | None, float | None]:
        """Words from the sound where there are none, with how long that took."""
        encoder = opened.encoders.get("text")
        if (
            self._transcriber is None
            or intake.sample.text is not None
            or intake.sound is None
            or not isinstance(encoder, TextEncoder)
        ):
            return intake, None, None
        started_s = perf_counter()
        words = self._transcriber(intake.sound).strip()
        spent_ms = (perf_counter() - started_s) * 1000
        if not words:
            return intake, words, spent_ms
        taken = take_text(encoder, words)
        prepared = {m: p for m, p in {**intake.prepared, "text": taken.prepared}.items() if m in MODALITIES}
        notes = (*intake.notes, *taken.notes, "the words were found in the sound")
        return (
            replace(intake, sample=replace(intake.sample, text=words), prepared=prepared, notes=notes),
            words,
            spent_ms,
        )

    def _stream(
        self, frames: Pictures | None, audio: Sounds | None, text: Words | None, config: WindowConfig
    ) -> Iterator[Prediction]:
        keep_media = self._cascade.cloud is not None and self._cascade.privacy == "raw"
        windows = Windows(frames, audio, text, config, self._current(), keep_media)
        smoother = Smoother(config.smoothing_s)
        answered, notes = False, ()  # type: bool, tuple[str, ...]
        while True:
            opened = self._current()
            if (window := windows.advance(opened)) is None:
                break
            notes = window.notes or notes
            if window.tokens:
                answered = True
                yield self._settle(opened, window, smoother, config)
        if not answered:
            raise DataError(f"the stream had nothing to go by: {'. '.join(notes) or 'its sources are empty'}")

    def _settle(self, opened: OpenBundle, window: Window, smoother: Smoother, config: WindowConfig) -> Prediction:
        started_s = perf_counter() - window.spent_ms / 1000
        local = _prediction(opened, opened.probabilities(window.tokens), window.tokens, window.notes)
        local = replace(local, latency_ms=(perf_counter() - started_s) * 1000)
        keys = {modality: opened.encoders[modality].key for modality in window.tokens}
        answer = LocalAnswer(local, window.sample, window.tokens, keys)
        settled = self._cascade.settle(answer, started_s, config.hop_s * 1000)
        labels = tuple(settled.probabilities)
        steady = smoother(labels, np.array(list(settled.probabilities.values())), window.end_s)
        return replace(settled, **_shares(labels, steady))


def _encode(opened: OpenBundle, intake: Intake) -> tuple[dict[str, NDArray[np.float32]], tuple[str, ...]]:
    """Tokens of what is left of a sample, in the order of ``MODALITIES``, without those that are not numbers."""
    tokens, notes = {}, list(intake.notes)
    for modality in (m for m in MODALITIES if m in intake.prepared):
        encoded = opened.encode(modality, intake.prepared[modality])
        if np.isfinite(encoded).all():
            tokens[modality] = encoded
        else:
            notes.append(f"{modality} left out: its features are not numbers; build the bundle again")
    if not tokens:
        raise DataError(f"nothing is left to go by: {'. '.join(notes)}")
    return tokens, tuple(notes)


def _prediction(
    opened: OpenBundle,
    probabilities: NDArray[np.float64],
    tokens: Mapping[str, NDArray[np.float32]],
    notes: tuple[str, ...],
) -> Prediction:
    return Prediction(
        **_shares(opened.labels, probabilities),
        source="edge",
        modalities=tuple(m for m in MODALITIES if m in tokens),
        latency_ms=0.0,
        model_version=opened.version,
        offload_reason="",
        notes=notes,
    )


def _shares(labels: tuple[str, ...], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    best = int(probabilities.argmax())
    return {
        "label": labels[best],
        "probabilities": {label: float(share) for label, share in zip(labels, probabilities, strict=True)},
        "confidence": float(probabilities[best]),
    }
