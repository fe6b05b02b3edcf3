"""From media to what the full model's encoders take; what cannot be used is left out, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.errors import DataError
from fedaffect.edge.runtime.intake import Each, Taken, rests_on_doubt, take_usable
from fedaffect.edge.sample import Frames, Sample, Waveform
from fedaffect.server.models.full_model.encoder import CloudEncoder
from fedaffect.server.serving.decoding.decoders import Decoders


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
        Whether it rests on nothing that the encoders can judge; see `fedaffect.edge.calibration.doubt.doubted`.
    """

    prepared: Mapping[str, Prepared] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sound: Waveform | None = None
    transcript: str | None = None
    transcription_ms: float | None = None
    doubtful: bool = False


def take_in(
    sample: Sample,
    encoders: Mapping[str, CloudEncoder],
    decoders: Decoders | None,
    until_s: float = float("inf"),
    each: Each = map,
) -> Intake:
    """Decode and preprocess whatever of a sample can be used, by the rules of the edge.

    Parameters
    ----------
    sample : Sample
        Any subset of the modalities.
    encoders : mapping of str to CloudEncoder
        By modality; a modality without one is left out.
    decoders : Decoders, optional
        Open files; with None this process does, as measurements of the bare model do.
    until_s : float
        When to give up decoding, on the clock of ``time.monotonic``.
    each : callable
        As of `fedaffect.edge.runtime.intake.take_usable`.

    Raises
    ------
    DataError
        If nothing is left, with the reason for each modality.
    """

    def take(encoder: CloudEncoder, source: Any) -> Taken:
        if decoders is None or not isinstance(source, bytes):
            return encoder.take(source)
        decoded, notes = _decoded(encoder, source, decoders, until_s)
        try:
            taken = encoder.take(decoded)
        except DataError as error:
            raise DataError(". ".join((str(error), *notes))) from error
        return replace(taken, notes=(*notes, *taken.notes))

    taken, notes = take_usable(sample, encoders, take, "model", each)
    return Intake(
        prepared={modality: one.prepared for modality, one in taken.items()},
        notes=notes,
        sound=taken["audio"].sound if "audio" in taken else None,
        doubtful=rests_on_doubt(taken),
    )


def _decoded(
    encoder: CloudEncoder, data: bytes, decoders: Decoders, until_s: float
) -> tuple[Waveform | Frames, tuple[str, ...]]:
    """A file as far as an encoder uses it, with notes of what it does not use."""
    settings = cast(Any, encoder).settings
    if encoder.modality == "audio":
        return decoders.sound(data, settings.max_seconds, until_s)
    return decoders.pictures(data, settings.frames_per_second, settings.max_frames, until_s)
