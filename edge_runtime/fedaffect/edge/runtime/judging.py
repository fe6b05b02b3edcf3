"""The device's own judgement of a sample; of a long one, window by window, weighed into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.calibration.doubt import doubted
from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.errors import DataError
from fedaffect.edge.offload.pooling import averaged, weighed
from fedaffect.edge.runtime.intake import Intake, take_in
from fedaffect.edge.runtime.local import Transcriber, encode, transcribed
from fedaffect.edge.runtime.opened import OpenBundle
from fedaffect.edge.runtime.question import Excerpt
from fedaffect.edge.runtime.spans import Span, Spans, only_first
from fedaffect.edge.sample import Sample


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a device makes of a sample.

    Parameters
    ----------
    probabilities : float64 array, shape (C,)
    ratings : mapping of str to float
        Where the bundle's fusion learned them.
    sample : Sample
        As it was given, with only the modalities that were used.
    intake : Intake
        Of the sample, or of the window that weighs most: it is what an example holds.
    tokens : mapping of str to float32 array, shape (T, W)
        Of the same.
    notes : tuple of str
        What was left out and why, and what else the caller should know.
    transcript : str, optional
        Words found in the sound.
    transcription_ms : float, optional
        How long that took.
    windows : tuple of Excerpt
        Of a long sample, those that were used; none where it is not cut.
    """

    probabilities: NDArray[np.float64]
    ratings: Mapping[str, float]
    sample: Sample
    intake: Intake
    tokens: Mapping[str, NDArray[np.float32]]
    notes: tuple[str, ...]
    transcript: str | None = None
    transcription_ms: float | None = None
    windows: tuple[Excerpt, ...] = ()


def judge(
    sample: Sample, opened: OpenBundle, transcriber: Transcriber | None = None, until_s: float = float("inf")
) -> Judgement:
    """Decode, encode and fuse a sample.

    What is longer than the encoders take is judged in windows of that length, each with the words of the whole, and the
    answer is weighed from theirs by the seconds in which somebody speaks or shows a face; see
    `fedaffect.edge.offload.pooling.weighed`.

    Parameters
    ----------
    sample : Sample
    opened : OpenBundle
    transcriber : callable, optional
        Finds words where there are none.
    until_s : float
        On the clock of ``time.perf_counter``: of a long sample no further window is begun then.

    Raises
    ------
    DataError
        If nothing of it can be used.
    """
    spans = Spans(sample, opened.encoders)
    if not spans.window_s:
        return _judge(Span(sample, 0.0, 0.0), opened, transcriber)
    best: Judgement | None = None
    shares: list[NDArray[np.float64]] = []
    ratings: list[Mapping[str, float]] = []
    windows: list[Excerpt] = []
    told: list[tuple[str, tuple[str, ...]]] = []
    failed: DataError | None = None
    words: list[str] = []
    spent_ms: float | None = None
    used: Counter[str] = Counter()
    late: tuple[str, ...] = ()
    for span in spans:
        if shares and perf_counter() > until_s:
            late = (f"{only_first(span.start_s, None)}: the time was over",)
            break
        when = f"{span.start_s:g}-{span.end_s:g} s"
        try:
            one = _judge(span, opened, transcriber)
        except DataError as error:
            failed = failed or error
            told.append((when, (*span.notes, f"nothing of it could be used: {error}")))
            continue
        told.append((when, (*span.notes, *one.notes)))
        shares.append(one.probabilities)
        ratings.append(one.ratings)
        keys = {modality: opened.encoders[modality].key for modality in one.tokens}
        windows.append(Excerpt(span.start_s, one.tokens, keys, one.intake.evidence_s))
        used.update(one.tokens.keys())
        words += [one.transcript] if one.transcript else []
        if one.transcription_ms is not None:
            spent_ms = (spent_ms or 0.0) + one.transcription_ms
        if best is None or one.intake.evidence_s > best.intake.evidence_s:
            best = one
    if best is None:
        raise failed or DataError("the sample holds nothing; record it again")
    many = "1 window" if len(told) == 1 else f"{len(told)} windows"
    how = f"judged in {many} of {spans.window_s:g} s by how long somebody speaks or shows a face in each"
    left: dict[str, Any] = {modality: None for modality in sample.modalities if modality not in used}
    weights = [window.weight for window in windows]
    return replace(
        best,
        probabilities=weighed(shares, weights),
        ratings=averaged(ratings, weights),
        sample=replace(sample, **left),
        notes=(how, *spans.notes(), *late, *_notes(told)),
        transcript=" ".join(words) if spent_ms is not None else None,
        transcription_ms=spent_ms,
        windows=tuple(windows),
    )


def samples_of(sample: Sample, encoders: Mapping[str, Encoder], windows: Sequence[Excerpt]) -> Iterator[Sample]:
    """Media of a long sample's windows as they were judged, decoded again one after the other; words go with each."""
    wanted = {window.start_s: window for window in windows}
    for span in Spans(sample, encoders):
        if (window := wanted.get(span.start_s)) is not None:
            left: dict[str, Any] = {m: None for m in span.sample.modalities if m not in window.tokens}
            yield replace(span.sample, **left)


def _judge(span: Span, opened: OpenBundle, transcriber: Transcriber | None) -> Judgement:
    intake = take_in(span.sample, opened.encoders)
    intake, transcript, transcription_ms = transcribed(transcriber, intake, opened)
    tokens, notes = encode(opened, intake)
    probabilities, ratings = opened.answer(tokens)
    probabilities = doubted(probabilities, intake.doubtful)
    return Judgement(probabilities, ratings, intake.sample, intake, tokens, notes, transcript, transcription_ms)


def _notes(told: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Notes of windows: what holds for all of them once, the rest with the time that it holds for."""
    times = Counter(note for _, notes in told for note in dict.fromkeys(notes))
    everywhere = [note for note, count in times.items() if count == len(told)]
    here = [f"{when}: {note}" for when, notes in told for note in dict.fromkeys(notes) if note not in everywhere]
    return (*everywhere, *here)
