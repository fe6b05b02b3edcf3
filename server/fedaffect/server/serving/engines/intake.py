"""From media to what the full model's encoders take; what cannot be used is left out, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.media.opening import decoding_until
from fedaffect.edge.runtime.intake import rests_on_doubt, take_usable
from fedaffect.edge.sample import Sample, Waveform
from fedaffect.server.models.full_model.encoder import CloudEncoder


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of a request's media.

    Parameters
    ----------
    prepared : mapping of str to Prepared
        What the encoders take, by modality.
    notes : tuple of str
        What was left out and why, and what else the caller should know.
    sound : Waveform, optional
        The decoded sound, 16 kHz.
    transcript : str, optional
        Words heard, where they were looked for.
    transcription_ms : float, optional
        How long that took.
    doubtful : bool
        Whether it rests on nothing that the encoders can judge; see `fedaffect.edge.runtime.intake.doubted`.
    """

    prepared: Mapping[str, Prepared] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sound: Waveform | None = None
    transcript: str | None = None
    transcription_ms: float | None = None
    doubtful: bool = False


def take_in(sample: Sample, encoders: Mapping[str, CloudEncoder], until_s: float = float("inf")) -> Intake:
    """Decode and preprocess whatever of a sample can be used, by the rules of the edge.

    Parameters
    ----------
    sample : Sample
        Any subset of the modalities.
    encoders : mapping of str to CloudEncoder
        By modality; a modality without one is left out.
    until_s : float
        When to give up decoding, on the clock of ``time.monotonic``.

    Raises
    ------
    DataError
        If nothing is left, with the reason for each modality.
    """
    with decoding_until(until_s):
        taken, notes = take_usable(sample, encoders, lambda encoder, source: encoder.take(source), "model")
    return Intake(
        prepared={modality: one.prepared for modality, one in taken.items()},
        notes=notes,
        sound=taken["audio"].sound if "audio" in taken else None,
        doubtful=rests_on_doubt(taken),
    )
