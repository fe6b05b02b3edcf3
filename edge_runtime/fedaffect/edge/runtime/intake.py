"""From what an app has to what encoders take: each modality decoded, or left out with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from fedaffect.edge.encoders.base import Encoder, Prepared
from fedaffect.edge.encoders.speech import SpeechEncoder, prepare_sound
from fedaffect.edge.encoders.text import TextEncoder, beginning_of, unreadable
from fedaffect.edge.encoders.vision import VisionEncoder, prepare_frames
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.beginning import beginning
from fedaffect.edge.media.picture import seen
from fedaffect.edge.media.sound import has_sound, require_sound, resample
from fedaffect.edge.media.voice import SAMPLE_RATE_HZ, VOICE_FRAME
from fedaffect.edge.runtime.faces import BLANK, find_faces, is_blank
from fedaffect.edge.sample import MODALITIES, Audio, Frames, Sample, Video, Waveform

E = TypeVar("E")

# Calls a function for each modality, in order; the ``map`` of a pool of threads does it side by side.
Each: TypeAlias = Callable[[Callable[[str], "Taken | str"], Iterable[str]], Iterable["Taken | str"]]

NO_VOICE: Final = "no voice was found in the sound"
_LONG_TEXT: Final = 100_000


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of a sample.

    Parameters
    ----------
    sample : Sample
        Only the modalities that are left.
    prepared : mapping of str to Prepared
        What the encoders take, by modality.
    notes : tuple of str
        What was left out and why, and what else the caller should know.
    sound : Waveform, optional
        The decoded sound, 16 kHz.
    doubtful : bool
        Whether it rests on nothing that the encoders can judge; see `fedaffect.edge.calibration.doubt.doubted`.
    used : mapping of str to Waveform or Frames
        Decoded sound and pictures as far as they were used, by modality.
    evidence_s : float
        Seconds in which somebody speaks, and in which there is a face, added.
    """

    sample: Sample
    prepared: Mapping[str, Prepared]
    notes: tuple[str, ...] = ()
    sound: Waveform | None = None
    doubtful: bool = False
    used: Mapping[str, Waveform | Frames] = field(default_factory=dict)
    evidence_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """One modality, ready for its encoder.

    Parameters
    ----------
    prepared : Prepared
        What the encoder takes.
    notes : tuple of str
        What the caller should know.
    doubt : str
        Why the encoder cannot judge it: nobody speaks, the picture is blank, the words are unknown; nothing where it
        can.
    sound : Waveform, optional
        For sound: decoded, 16 kHz.
    used : Waveform or Frames, optional
        The part of sound or pictures that was used, before preprocessing.
    evidence_s : float
        How long in it somebody speaks or shows a face.
    """

    prepared: Prepared
    notes: tuple[str, ...] = ()
    doubt: str = ""
    sound: Waveform | None = None
    used: Waveform | Frames | None = None
    evidence_s: float = 0.0


def sample_of(
    *,
    text: str | None = None,
    audio: Audio | str | None = None,
    video: Video | str | None = None,
    sample_id: str = "sample",
) -> Sample:
    """A sample from what a user names: a film supplies its sound track too, unless other sound is given.

    Parameters
    ----------
    text : str, optional
        The words.
    audio : path, bytes or Waveform, optional
        Sound.
    video : path, bytes or Frames, optional
        A film or a picture.
    sample_id : str
        Its name.
    """
    audio = Path(audio) if isinstance(audio, str) else audio
    video = Path(video) if isinstance(video, str) else video
    if audio is None and video is not None and not hasattr(video, "images") and has_sound(video):
        audio = video
    return Sample(id=sample_id, text=text, audio=audio, video=video)


def as_sample(asked: Sample | str) -> Sample:
    """What a runtime is asked about, as a sample: plain words are one with nothing but text.

    Raises
    ------
    TypeError
        For anything else, saying what to pass.
    """
    if isinstance(asked, str):
        return Sample(text=asked)
    if not isinstance(asked, Sample):
        raise TypeError(
            f"a {type(asked).__name__} does not say what it holds; pass words, a Sample such as "
            f"Sample(audio=Path('voice.wav')), or sample_of(video=...)"
        )
    return asked


def with_paths(sample: Sample) -> Sample:
    """The sample, its files named by paths where they were named by strings; blank words are no words."""
    audio: Any = sample.audio
    video: Any = sample.video
    return replace(
        sample,
        text=None if isinstance(sample.text, str) and not sample.text.strip() else sample.text,
        audio=Path(audio) if isinstance(audio, str) else audio,
        video=Path(video) if isinstance(video, str) else video,
    )


def take_in(sample: Sample, encoders: Mapping[str, Encoder]) -> Intake:
    """Decode and preprocess whatever of a sample can be used.

    Parameters
    ----------
    sample : Sample
        Any subset of the modalities.
    encoders : mapping of str to Encoder
        By modality; a modality without one is left out.

    Raises
    ------
    DataError
        If nothing is left, with the reason for each modality.
    """
    taken, notes = take_usable(sample, encoders, _take, "bundle")
    left: dict[str, Any] = dict.fromkeys(set(sample.modalities) - set(taken))
    return Intake(
        replace(sample, **left),
        {modality: one.prepared for modality, one in taken.items()},
        notes,
        taken["audio"].sound if "audio" in taken else None,
        rests_on_doubt(taken),
        {modality: one.used for modality, one in taken.items() if one.used is not None},
        sum(one.evidence_s for one in taken.values()),
    )


def take_usable(
    sample: Sample, encoders: Mapping[str, E], take: Callable[[E, Any], Taken], owner: str, each: Each = map
) -> tuple[dict[str, Taken], tuple[str, ...]]:
    """Take each modality that has an encoder and can be read; the rules of devices and of the cloud.

    Parameters
    ----------
    sample : Sample
    encoders : mapping of str to encoder
        By modality.
    take : callable
        Decodes and preprocesses one modality for its encoder.
    owner : str
        Whose encoders they are, for the reason of a modality without one.
    each : callable
        ``map``, or that of a pool of threads, to take modalities side by side.

    Returns
    -------
    taken : dict of str to Taken
    notes : tuple of str
        What was left out and why, and what else the caller should know.

    Raises
    ------
    DataError
        If nothing is left, with the reason for each modality.
    """

    def taken_or_why(modality: str) -> Taken | str:
        if modality not in encoders:
            return f"this {owner} has no encoder for it"
        try:
            return take(encoders[modality], getattr(sample, modality))
        except DataError as error:
            return str(error)

    outcomes = dict(zip(sample.modalities, each(taken_or_why, sample.modalities), strict=True))
    taken = {modality: one for modality, one in outcomes.items() if isinstance(one, Taken)}
    reasons = {modality: why for modality, why in outcomes.items() if isinstance(why, str)}
    # Noise has no emotion, nor a blank picture; they are used only where there is nothing better.
    doubts = {modality: one.doubt for modality, one in taken.items() if one.doubt}
    if len(doubts) < len(taken):
        reasons |= doubts
        taken = {modality: one for modality, one in taken.items() if modality not in doubts}
    if not taken:
        raise DataError(_nothing_left(reasons))
    left_out = (f"{modality} left out: {reason}" for modality, reason in reasons.items())
    as_it_is = (f"{one.doubt}; it was used as it is" for one in taken.values() if one.doubt)
    return taken, (*left_out, *(note for one in taken.values() for note in one.notes), *as_it_is)


def rests_on_doubt(taken: Mapping[str, Taken]) -> bool:
    """Whether nothing was taken that its encoder can judge."""
    return all(one.doubt for one in taken.values())


def _nothing_left(reasons: Mapping[str, str]) -> str:
    if not reasons:
        return f"the sample is empty; give at least one of {', '.join(MODALITIES)}"
    if len(reasons) == 1:
        ((modality, reason),) = reasons.items()
        return f"{modality}: {reason}"
    return "nothing is left to go by: " + ". ".join(f"{modality}: {reason}" for modality, reason in reasons.items())


def _take(encoder: Encoder, source: Any) -> Taken:
    if isinstance(source, str) and encoder.modality != "text":
        source = Path(source)
    match encoder:
        case TextEncoder():
            return take_text(encoder, source)
        case SpeechEncoder():
            return take_speech(encoder, source)
        case VisionEncoder():
            return take_video(encoder, source)
        case _:
            return Taken(encoder.prepare(source))


def take_text(encoder: TextEncoder, source: Any) -> Taken:
    """Word-piece ids, and a note where not all words were read."""
    if isinstance(source, str) and not source.strip():
        raise DataError("the text is empty; give words or leave it out")
    prepared = encoder.prepare(source.strip() if isinstance(source, str) else source)
    notes: tuple[str, ...] = ()
    if len(prepared.values) >= encoder.max_tokens:
        amount = f"{len(source):,} characters" if len(source) > _LONG_TEXT else "the text"
        notes = (f"only the first {encoder.max_tokens} word pieces of {amount} were read",)
    return Taken(prepared, notes, unreadable(encoder.tokenizer, beginning_of(source.strip(), encoder.max_tokens)))


def take_speech(encoder: SpeechEncoder, source: Any) -> Taken:
    """What the network takes of a sound, with a note where it was longer than what is heard."""
    sound, notes = beginning(source, encoder.settings.max_seconds)
    try:
        taken = take_sound(encoder, resample(sound, SAMPLE_RATE_HZ))
    except DataError as error:
        raise DataError(". ".join((str(error), *notes))) from error
    return replace(taken, notes=(*notes, *taken.notes), used=sound)


def take_sound(encoder: SpeechEncoder, sound: Waveform) -> Taken:
    """What the network takes of a sound of 16 kHz."""
    require_sound(sound)
    probabilities = encoder.voice.probabilities(sound.samples)
    voiced = int((probabilities >= encoder.settings.voice_threshold).sum())
    prepared = prepare_sound(sound, probabilities, encoder.settings)
    evidence_s = voiced * VOICE_FRAME / SAMPLE_RATE_HZ
    return Taken(prepared, (), "" if voiced else NO_VOICE, sound, evidence_s=evidence_s)


def take_video(encoder: VisionEncoder, source: Any) -> Taken:
    """The faces of a film or picture."""
    settings = encoder.settings
    frames, notes = seen(source, settings.frames_per_second, settings.max_frames)
    found = find_faces(frames, encoder.detector, settings)
    prepared = prepare_frames(found.upright(frames), found.faces, settings)
    doubt = BLANK if is_blank(frames.images) else ""
    faces = len(frames.images) if found.faces is None else sum(face is not None for face in found.faces)
    evidence_s = faces / frames.frames_per_second if frames.frames_per_second and not doubt else 0.0
    return Taken(prepared, (*notes, *found.notes), doubt, used=frames, evidence_s=evidence_s)
