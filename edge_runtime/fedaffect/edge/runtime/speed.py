"""How long the parts of a prediction take on this device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, Final

import numpy as np

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.encoders.speech import SpeechEncoder, prepare_sound
from fedaffect.edge.encoders.vision import VisionEncoder, prepare_frames
from fedaffect.edge.runtime.intake import take_in
from fedaffect.edge.runtime.opened import OpenBundle
from fedaffect.edge.runtime.probes import probe_sample
from fedaffect.edge.runtime.runtime import EdgeRuntime
from fedaffect.edge.sample import Frames, Waveform

_STREAM_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the table.

    Parameters
    ----------
    name : str
        What was measured.
    median_ms, p90_ms : float
        Over the repetitions.
    processor_ms : float
        Median of the time that the processor worked on it: on a busy machine less than what passed.
    """

    name: str
    median_ms: float
    p90_ms: float
    processor_ms: float

    @classmethod
    def of(cls, name: str, times_ms: list[tuple[float, float]]) -> Part:
        """From what passed and what the processor worked in each repetition."""
        passed, worked = zip(*times_ms, strict=True)
        return cls(name, float(np.median(passed)), float(np.percentile(passed, 90)), float(np.median(worked)))


def measure_parts(bundle: Bundle, repeats: int) -> list[Part]:
    """Time every part on a drawn face, a sound like a voice and twenty words, of three seconds.

    Parameters
    ----------
    bundle : Bundle
        With a fusion.
    repeats : int
        Of each part, after one that is not counted.

    Raises
    ------
    BundleError
        If the bundle has no fusion.
    """
    opened = OpenBundle(bundle)
    sample = probe_sample()
    prepared = take_in(sample, opened.encoders).prepared
    parts: list[Part] = []

    def add(name: str, call: Callable[[], Any]) -> None:
        call()
        parts.append(Part.of(name, [_ms(call) for _ in range(repeats)]))

    speech, vision, text = (opened.encoders.get(modality) for modality in ("audio", "video", "text"))
    if isinstance(vision, VisionEncoder) and isinstance(sample.video, Frames):
        frames, settings, detector = sample.video, vision.settings, vision.detector
        if detector is not None:
            add("looking for a face, one picture", lambda: detector.largest(frames.images[:1]))
        one = prepare_frames(Frames(frames.images[:1]), None, settings)
        add("encoding a face", lambda: vision.encode([one]))
    if isinstance(speech, SpeechEncoder) and isinstance(sample.audio, Waveform):
        sound = sample.audio
        voiced = speech.voice.probabilities(sound.samples)
        add("looking for a voice, 3 s", lambda: speech.voice.probabilities(sound.samples))
        add("preparing sound, 3 s", lambda: prepare_sound(sound, voiced, speech.settings))
        add("encoding sound, 3 s", lambda: speech.encode([prepared["audio"]]))
    if text is not None:
        add("encoding 20 words", lambda: text.encode([text.prepare(sample.text)]))
    tokens = {modality: opened.encode(modality, ready) for modality, ready in prepared.items()}
    add("fusion", lambda: opened.answer(tokens))
    with EdgeRuntime.load(bundle) as runtime:
        add("all of it: 15 pictures, 3 s of sound, 20 words", lambda: runtime.predict(sample))
        parts.append(Part.of("a hop of half a second, streaming", hop_times_ms(runtime, repeats)))
    return parts


def hop_times_ms(runtime: EdgeRuntime, least: int) -> list[tuple[float, float]]:
    """What passes, and what the processor works, in each hop of pictures, sound and words; at least so many hops.

    The first window is left out: it encodes three seconds at once.
    """
    sample = probe_sample(_STREAM_S)
    times: list[tuple[float, float]] = []
    while len(times) < least:
        video, audio = sample.video, sample.audio
        if not isinstance(video, Frames) or not isinstance(audio, Waveform):
            break
        hops = runtime.stream(video, audio, sample.text)
        next(hops)
        started_s = process_time()
        for prediction in hops:
            times.append((prediction.latency_ms, (process_time() - started_s) * 1000))
            started_s = process_time()
    return times


def _ms(call: Callable[[], Any]) -> tuple[float, float]:
    started_s, worked_s = perf_counter(), process_time()
    call()
    return (perf_counter() - started_s) * 1000, (process_time() - worked_s) * 1000
