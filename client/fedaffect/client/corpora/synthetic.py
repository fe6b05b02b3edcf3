"""A synthetic corpus, drawn from a seed: no downloads, three modalities, speakers who differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.corpora.base import CorpusInfo, Utterance
from fedaffect.client.corpora.generated import GeneratedCorpus
from fedaffect.client.corpora.synthetic_face import FRAMES_PER_SECOND, Colour, FaceCue, FaceStyle, draw
from fedaffect.client.corpora.synthetic_voice import SAMPLE_RATE_HZ, VoiceCue, VoiceStyle, speak
from fedaffect.client.corpora.synthetic_words import sentence
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import Frames, Sample, Waveform

_LABELS = label_set("synthetic4").labels
_VALENCE = {"anger": -1.0, "joy": 1.0, "neutral": 0.0, "sadness": -1.0}
_AROUSAL = {"anger": 1.0, "joy": 0.8, "neutral": -0.3, "sadness": -0.9}
_BROWS = {"anger": 0.5, "joy": 0.0, "neutral": 0.0, "sadness": -0.5}
_TOLD, _SARCASTIC = 0.55, 0.1
_MASKED = 0.08  # share of faces that show nothing, and of voices that do not
_HOME = 20  # speakers that have train utterances; four more come in dev or test only
_STYLE, _PLAN, _WORDS, _VOICE, _FACE = range(5)  # streams of chance that do not disturb one another


@dataclass(frozen=True, slots=True)
class SyntheticSpeaker:
    """A speaker of the synthetic corpus.

    Parameters
    ----------
    face : FaceStyle
        Looks.
    voice : VoiceStyle
        Sound.
    told : float
        Probability that this speaker's words say the emotion.
    mix : array, shape (4,)
        Share of each label in what this speaker says.
    """

    face: FaceStyle
    voice: VoiceStyle
    told: float
    mix: NDArray[np.float64]


class SyntheticVoice(Waveform):
    """Sound that is made when its samples are looked at; asking twice makes it twice, alike."""

    __slots__ = ("_recipe",)
    _recipe: tuple[VoiceStyle, VoiceCue, tuple[int, ...]]

    def __init__(self, style: VoiceStyle, cue: VoiceCue, seed: tuple[int, ...]) -> None:
        object.__setattr__(self, "_recipe", (style, cue, seed))
        object.__setattr__(self, "sample_rate_hz", SAMPLE_RATE_HZ)

    @property
    def samples(self) -> NDArray[np.float32]:
        """Amplitudes in [-1, 1], shape (N,)."""
        style, cue, seed = self._recipe
        return speak(style, cue, np.random.default_rng(seed)).samples

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), self._recipe


class SyntheticFace(Frames):
    """Pictures that are drawn when looked at; asking twice draws them twice, alike."""

    __slots__ = ("_recipe",)
    _recipe: tuple[FaceStyle, FaceCue, tuple[int, ...]]

    def __init__(self, style: FaceStyle, cue: FaceCue, seed: tuple[int, ...]) -> None:
        object.__setattr__(self, "_recipe", (style, cue, seed))
        object.__setattr__(self, "frames_per_second", FRAMES_PER_SECOND)

    @property
    def images(self) -> NDArray[np.uint8]:
        """RGB, shape (5, 96, 96, 3)."""
        style, cue, seed = self._recipe
        return draw(style, cue, np.random.default_rng(seed)).images

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), self._recipe


class Synthetic(GeneratedCorpus):
    """Synthetic utterances: drawn faces, voiced sound without words, templated sentences.

    Built so that no modality suffices. The face shows valence, and tells anger from sadness only by
    faint brows; the voice shows arousal, on top of each speaker's own pitch and tempo, and tells anger
    from joy only by a faint melody; the words say the emotion about half the time, mean another one a tenth of
    the time, and otherwise fit any mood. Some faces and voices show nothing.

    Speakers differ in looks, voice, talkativeness and in which emotions they have, so speakers as clients
    are not IID. Of 24 speakers, 20 have train utterances (720 together) and also half of ``dev`` (60 of
    120) and half of ``test`` (120 of 240); two more appear only in ``dev`` and the last two only in
    ``test``. Utterance i depends on the seed and i alone.

    Parameters
    ----------
    data_dir : None
        There is no folder.
    seed : int
        Decides everything.
    """

    edition = 1
    info = CorpusInfo(
        name="synthetic",
        title="synthetic corpus (generated, not recorded)",
        modalities=("text", "audio", "video"),
        label_set="synthetic4",
        label_sets=("synthetic4", "shared4", "shared7"),
        licence="Apache-2.0, as fedaffect",
        size="1,080 synthetic utterances, 24 synthetic speakers; nothing on disk",
        where="built in: generated from a seed when used",
        needs="no folder",
        counts=MappingProxyType({"train": 720, "dev": 120, "test": 240, "clients": 24}),
        client="speaker",
        faces="whole",
        citation="fedaffect's own synthetic data",
    )

    def __iter__(self) -> Iterator[Utterance]:
        for index in range(len(self)):
            yield self[index]

    def __getitem__(self, index: int) -> Utterance:
        """Utterance ``index``; its sound and pictures are made when looked at."""
        split, number = self._plan[index]
        speaker = self.speakers[number]
        rng = np.random.default_rng([self.seed, _WORDS, index])
        label = str(rng.choice(_LABELS, p=speaker.mix))
        name = f"speaker_{number:02d}"
        return Utterance(
            sample=Sample(
                id=f"synthetic_{index:04d}",
                text=sentence(label, speaker.told, _SARCASTIC, rng),
                audio=SyntheticVoice(speaker.voice, _voice_cue(label, rng), (self.seed, _VOICE, index)),
                video=SyntheticFace(speaker.face, _face_cue(label, rng), (self.seed, _FACE, index)),
            ),
            label=label,
            split=split,
            speaker=name,
            client=name,
            attributes={"synthetic": "yes", "known_speaker": "yes" if number < _HOME else "no"},
        )

    def __len__(self) -> int:
        return len(self._plan)

    @cached_property
    def speakers(self) -> tuple[SyntheticSpeaker, ...]:
        """All 24, by number."""
        return tuple(_speaker(self.seed, number) for number in range(_HOME + 4))

    @cached_property
    def _plan(self) -> list[tuple[str, int]]:
        """Split and speaker of every utterance."""
        rng = np.random.default_rng([self.seed, _PLAN])
        # Some talk more than others; nobody says fewer than a dozen things.
        more = rng.multinomial(720 - 12 * _HOME, rng.dirichlet(np.full(_HOME, 3.0)))
        counts = [("train", s, 12 + int(n)) for s, n in enumerate(more)]
        counts += [("dev", s, 3) for s in range(_HOME)] + [("dev", _HOME, 30), ("dev", _HOME + 1, 30)]
        counts += [("test", s, 6) for s in range(_HOME)] + [("test", _HOME + 2, 60), ("test", _HOME + 3, 60)]
        return [(split, speaker) for split, speaker, count in counts for _ in range(count)]


def _speaker(seed: int, number: int) -> SyntheticSpeaker:
    rng = np.random.default_rng([seed, _STYLE, number])
    darkness = rng.uniform(0.35, 1.0)
    high = bool(rng.random() < 0.5)
    face = FaceStyle(
        skin=_colour(np.array([245, 205, 180]) * darkness + rng.normal(0, 6, 3)),
        hair=_colour(rng.uniform(20, 190) * np.array([1.0, 0.75, 0.5]) + rng.normal(0, 6, 3)),
        backdrop=_colour(rng.uniform(90, 200) + rng.normal(0, 25, 3)),
        eyes=_colour(rng.uniform(20, 110, 3)),
        width=float(rng.uniform(0.7, 0.84)),
        brow=float(rng.uniform(0.05, 0.09)),
        mouth=float(rng.normal(0, 0.15)),
        beard=not high and bool(rng.random() < 0.4),
        fringe=float(rng.uniform(0.25, 0.42)),
    )
    voice = VoiceStyle(
        pitch_hz=float((190 if high else 110) * 2 ** rng.normal(0, 0.2)),
        tract=float((1.15 if high else 1.0) * rng.uniform(0.95, 1.07)),
        syllables_per_second=float(rng.uniform(3.3, 4.8)),
        breath=float(rng.uniform(0.03, 0.25)),
        loudness=float(rng.uniform(0.25, 0.45)),
    )
    # Known speakers lean to some emotions; those only met in dev and test have all alike.
    mix = 0.15 / len(_LABELS) + 0.85 * rng.dirichlet(np.full(len(_LABELS), 1.0))
    return SyntheticSpeaker(
        face=face,
        voice=voice,
        told=float(np.clip(rng.normal(_TOLD, 0.1), 0.2, 0.8)),
        mix=mix if number < _HOME else np.full(len(_LABELS), 1 / len(_LABELS)),
    )


def _colour(rgb: NDArray[np.float64]) -> Colour:
    red, green, blue = (int(x) for x in np.clip(rgb, 0, 255))
    return red, green, blue


def _face_cue(label: str, rng: np.random.Generator) -> FaceCue:
    shown = float(rng.random() >= _MASKED)
    return FaceCue(
        smile=shown * _VALENCE[label] * rng.uniform(0.35, 1.0) + rng.normal(0, 0.2),
        brows=shown * _BROWS[label] * rng.uniform(0.3, 1.0) + rng.normal(0, 0.35),
        open=float(rng.uniform(0.3, 1.0)),
    )


def _voice_cue(label: str, rng: np.random.Generator) -> VoiceCue:
    shown = float(rng.random() >= _MASKED)
    return VoiceCue(
        arousal=float(np.clip(shown * _AROUSAL[label] * rng.uniform(0.5, 1.2) + rng.normal(0, 0.25), -1.3, 1.3)),
        valence=float(np.clip(shown * _VALENCE[label] * rng.uniform(0.2, 1.0) + rng.normal(0, 0.4), -1.3, 1.3)),
    )
