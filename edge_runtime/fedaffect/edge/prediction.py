"""What an app gets: an emotion, how sure, from where, and why from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one sample.

    Parameters
    ----------
    label : str
        The likeliest emotion, in the vocabulary's words.
    probabilities : mapping of str to float
        Calibrated, by label name; they add up to 1.
    confidence : float
        The probability of ``label``.
    source : {"edge", "cloud"}
        Who answered.
    modalities : tuple of str
        Those that the answer rests on, in the order of ``MODALITIES``.
    latency_ms : float
        From the call to the answer, transcription not counted.
    model_version : str
        Of the bundle, or of the cloud's model.
    offload_reason : str
        Why the answer was given here or there: a value of `fedaffect.edge.offload.Reason`.
    notes : tuple of str
        What the caller should know: a modality that had nothing in it, random weights, words guessed from sound.
    transcript : str, optional
        Words heard, where the transcription step ran.
    transcription_ms : float, optional
        How long that took.
    request_id : str
        Of this one call, chosen by the runtime: what the cloud was asked under, and what feedback refers to.
    """

    label: str
    probabilities: Mapping[str, float]
    confidence: float
    source: str
    modalities: tuple[str, ...]
    latency_ms: float
    model_version: str
    offload_reason: str
    notes: tuple[str, ...] = ()
    transcript: str | None = None
    transcription_ms: float | None = None
    request_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values under the names of the fields; what was not done is left out."""
        values = asdict(self) | {"modalities": list(self.modalities), "notes": list(self.notes)}
        return {name: value for name, value in values.items() if value is not None}
