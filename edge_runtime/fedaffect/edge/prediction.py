"""What an app gets: an emotion, how sure, from where, and why from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedaffect.edge.adaptation import Adaptation


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
    ratings : mapping of str to float
        Where the bundle's fusion learned them and the device answers: valence, arousal and dominance, about -1 to 1;
        intensity, about 0 to 1.
    adaptation : Adaptation, optional
        How an app should look, sound and go on now; of a stream or conversation, after all answers so far.
    session : str
        Of a stream: the same for all its answers, chosen by the runtime.
    window_s : pair of float, optional
        Of a stream: where the window begins and ends, in seconds from the stream's beginning.
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
    ratings: Mapping[str, float] = field(default_factory=dict)
    adaptation: Adaptation | None = None
    session: str = ""
    window_s: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values under the names of the fields; what was not done is left out."""
        values = asdict(self) | {"modalities": list(self.modalities), "notes": list(self.notes)}
        for name in ("ratings", "session"):
            if not values[name]:
                del values[name]
        if self.window_s is not None:
            values["window_s"] = list(self.window_s)
        if self.adaptation is not None:
            values["adaptation"] = self.adaptation.to_json()
        return {name: value for name, value in values.items() if value is not None}
