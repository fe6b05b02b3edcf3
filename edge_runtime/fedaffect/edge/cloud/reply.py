"""The cloud's answer, believed only after it was checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fedaffect.edge.cloud.errors import CloudGarbage
from fedaffect.edge.labels import VOCABULARY
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import MODALITIES

# Probabilities travel as float32.
_TOLERANCE: Final = 1e-3
_MAX_NOTES: Final = 32
_MAX_NOTE_LENGTH: Final = 500
_MAX_TRANSCRIPT_LENGTH: Final = 20_000


def checked_prediction(values: Mapping[str, Any], *, request_id: str, round_trip_ms: float) -> Prediction:
    """A prediction out of a reply's fields.

    Parameters
    ----------
    values : mapping
        Named as in `Prediction`, with ``request_id`` beside.
    request_id : str
        That was asked.
    round_trip_ms : float
        From the call to the answer; becomes the latency, less the transcription.

    Raises
    ------
    CloudGarbage
        If a field is missing or of the wrong kind, a label unknown, a probability no probability, they do not add
        up to 1, the label is not the likeliest, or it answers another request.
    """
    try:
        return _prediction(values, request_id, round_trip_ms)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _garbage(f"a field is missing or of the wrong kind: {_short(repr(error))}") from error


def _prediction(values: Mapping[str, Any], request_id: str, round_trip_ms: float) -> Prediction:
    if values["request_id"] != request_id:
        raise _garbage(f"it answers request {_short(repr(values['request_id']))}, asked was {request_id!r}")
    probabilities = _probabilities(values["probabilities"])
    label, confidence = values["label"], _number(values["confidence"])
    likeliest = max(probabilities.values())
    if label not in probabilities or probabilities[label] < likeliest - _TOLERANCE:
        raise _garbage(f"its label {_short(repr(label))} is not the likeliest")
    if abs(confidence - probabilities[label]) > _TOLERANCE:
        raise _garbage(f"its confidence {confidence:g} is not the probability of its label")
    modalities = _texts(values["modalities"], len(MODALITIES), 20)
    if not modalities or len(set(modalities)) != len(modalities) or not set(modalities) <= set(MODALITIES):
        raise _garbage(f"it rests on the modalities {_short(repr(modalities))}")
    transcript, transcription_ms = values.get("transcript"), values.get("transcription_ms")
    if transcription_ms is not None:
        transcription_ms = _number(transcription_ms)
    if transcript is not None:
        (transcript,) = _texts([transcript], 1, _MAX_TRANSCRIPT_LENGTH)
    (version,) = _texts([values["model_version"]], 1, 200)
    return Prediction(
        label=label,
        probabilities=probabilities,
        confidence=confidence,
        source="cloud",
        modalities=tuple(m for m in MODALITIES if m in modalities),
        latency_ms=max(0.0, round_trip_ms - (transcription_ms or 0.0)),
        model_version=version,
        offload_reason="unsure",
        notes=_texts(values.get("notes", ()), _MAX_NOTES, _MAX_NOTE_LENGTH),
        transcript=transcript,
        transcription_ms=transcription_ms,
        request_id=request_id,
    )


def _probabilities(values: Any) -> dict[str, float]:
    probabilities = {label: _number(value) for label, value in values.items()}
    if strange := [label for label in probabilities if label not in VOCABULARY]:
        raise _garbage(f"it knows labels that are not in the vocabulary: {_short(repr(strange))}")
    if not probabilities or not all(0.0 <= p <= 1.0 + _TOLERANCE for p in probabilities.values()):
        raise _garbage("its probabilities are none")
    if abs(math.fsum(probabilities.values()) - 1.0) > _TOLERANCE:
        raise _garbage(f"its probabilities add up to {math.fsum(probabilities.values()):g}, not to 1")
    return probabilities


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _texts(values: Iterable[Any], most: int, longest: int) -> tuple[str, ...]:
    if isinstance(values, str):
        raise ValueError("a list was wanted")
    texts = tuple(values)
    if len(texts) > most or any(not isinstance(text, str) or len(text) > longest for text in texts):
        raise ValueError(f"not at most {most} texts of at most {longest} characters")
    return texts


def _garbage(what: str) -> CloudGarbage:
    return CloudGarbage(f"the cloud's answer makes no sense ({what}); check that client and server are of one version")


def said(message: str) -> str:
    """What the other side said, fit for one line of ours."""
    return _short("".join(c if c.isprintable() else " " for c in message[:1000])) or "no reason given"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:197]}..."
