"""The device's own answer: words found, tokens made, probabilities named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.encoders.text import TextEncoder
from fedaffect.edge.errors import DataError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.runtime.intake import Intake, take_text
from fedaffect.edge.runtime.opened import OpenBundle
from fedaffect.edge.sample import MODALITIES, Waveform

Transcriber = Callable[[Waveform], str]


def transcribed(
    transcriber: Transcriber | None, intake: Intake, opened: OpenBundle
) -> tuple[Intake, str | None, float | None]:
    """Words from the sound where there are none, with how many milliseconds that took."""
    encoder = opened.encoders.get("text")
    if (
        transcriber is None
        or intake.sample.text is not None
        or intake.sound is None
        or not isinstance(encoder, TextEncoder)
    ):
        return intake, None, None
    started_s = perf_counter()
    words = transcriber(intake.sound).strip()
    spent_ms = (perf_counter() - started_s) * 1000
    if not words:
        return intake, words, spent_ms
    taken = take_text(encoder, words)
    prepared = {m: p for m, p in {**intake.prepared, "text": taken.prepared}.items() if m in MODALITIES}
    notes = (*intake.notes, *taken.notes, "the words were found in the sound")
    sample = replace(intake.sample, text=words)
    doubtful = intake.doubtful and bool(taken.doubt)
    return replace(intake, sample=sample, prepared=prepared, notes=notes, doubtful=doubtful), words, spent_ms


def encode(opened: OpenBundle, intake: Intake) -> tuple[dict[str, NDArray[np.float32]], tuple[str, ...]]:
    """Tokens of what is left of a sample, in the order of ``MODALITIES``, without those that are not numbers; notes.

    Raises
    ------
    DataError
        If nothing is left.
    """
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


def local_prediction(
    opened: OpenBundle,
    probabilities: NDArray[np.float64],
    ratings: Mapping[str, float],
    tokens: Mapping[str, NDArray[np.float32]],
    notes: tuple[str, ...],
    request_id: str,
) -> Prediction:
    """The device's answer, not decided and not timed yet."""
    return Prediction(
        **shares_of(opened.labels, probabilities),
        source="edge",
        modalities=tuple(m for m in MODALITIES if m in tokens),
        latency_ms=0.0,
        model_version=opened.version,
        offload_reason="",
        notes=notes,
        request_id=request_id,
        ratings=ratings,
    )


def encoded(opened: OpenBundle, tokens: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """What of a question says what the encoders made."""
    keys = {modality: opened.encoders[modality].key for modality in tokens}
    return {"tokens": tokens, "encoder_keys": keys, "bundle_version": opened.version}


def shares_of(labels: tuple[str, ...], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """What of a prediction follows from its probabilities, shape (C,)."""
    best = int(probabilities.argmax())
    return {
        "label": labels[best],
        "probabilities": {label: float(share) for label, share in zip(labels, probabilities, strict=True)},
        "confidence": float(probabilities[best]),
    }
