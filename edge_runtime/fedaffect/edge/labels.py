"""One vocabulary of emotions, the label sets drawn from it, and each corpus's own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fedaffect.edge.errors import ConfigError, nearest, unknown_name

VOCABULARY: tuple[str, ...] = (
    "anger",
    "contempt",
    "disgust",
    "fear",
    "joy",
    "sadness",
    "surprise",
    "neutral",
    "calm",
    "excitement",
    "frustration",
    "power",
    "positive",
    "negative",
    "other",
)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """An ordered choice from the vocabulary; what a model predicts.

    Parameters
    ----------
    name : str
        As given to ``--labels``.
    labels : tuple of str
        Vocabulary names; a class's index is its place here.
    merge : mapping of str to str
        Vocabulary labels that this set files under another one of its labels,
        such as excitement under joy in the usual four classes of IEMOCAP.
    """

    name: str
    labels: tuple[str, ...]
    merge: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        strange = [x for x in (*self.labels, *self.merge) if x not in VOCABULARY]
        strange += [x for x in self.merge.values() if x not in self.labels]
        if strange:
            raise ConfigError(f"label set {self.name!r} uses {strange}; choose from {', '.join(VOCABULARY)}")

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, label: str) -> int | None:
        """Class of a vocabulary label, or None where this set has no place for it."""
        label = self.merge.get(label, label)
        return self.labels.index(label) if label in self.labels else None

    def without_place_for(self, label: str) -> str:
        """What becomes of a label that this set has no place for, in words."""
        return f"the bundle in use predicts {', '.join(self.labels)}; {label!r} is kept, and nothing is learned from it"


_BASIC7 = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")

LABEL_SETS: Mapping[str, LabelSet] = MappingProxyType(
    {
        s.name: s
        for s in (
            LabelSet("meld7", _BASIC7),
            LabelSet("meld4", ("neutral", "sadness", "joy", "anger")),
            LabelSet("emorynlp7", ("joy", "anger", "calm", "neutral", "sadness", "power", "fear")),
            LabelSet("iemocap4", ("anger", "joy", "neutral", "sadness"), MappingProxyType({"excitement": "joy"})),
            LabelSet("iemocap5", ("anger", "joy", "neutral", "sadness", "excitement")),
            LabelSet("iemocap6", ("anger", "joy", "neutral", "sadness", "excitement", "frustration")),
            LabelSet("ravdess8", ("neutral", "calm", "joy", "sadness", "anger", "fear", "disgust", "surprise")),
            LabelSet("song6", ("neutral", "calm", "joy", "sadness", "anger", "fear")),
            LabelSet("cremad6", ("anger", "disgust", "fear", "joy", "neutral", "sadness")),
            LabelSet("urdu4", ("anger", "joy", "neutral", "sadness")),
            LabelSet("shemo6", ("anger", "fear", "joy", "neutral", "sadness", "surprise")),
            LabelSet("nemo6", ("anger", "fear", "joy", "neutral", "sadness", "surprise")),
            LabelSet("enterface6", ("anger", "disgust", "fear", "joy", "sadness", "surprise")),
            LabelSet("fer7", _BASIC7),
            LabelSet(
                "ferplus8",
                ("neutral", "joy", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
            ),
            LabelSet(
                "affectnet8",
                ("neutral", "joy", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
            ),
            LabelSet("mosi2", ("negative", "positive")),
            LabelSet("polarity3", ("negative", "neutral", "positive")),
            LabelSet("synthetic4", ("anger", "joy", "neutral", "sadness")),
            LabelSet("shared4", ("anger", "joy", "neutral", "sadness"), MappingProxyType({"excitement": "joy"})),
            LabelSet(
                "shared7",
                _BASIC7,
                MappingProxyType({"excitement": "joy", "calm": "neutral"}),
            ),
        )
    }
)

# Each corpus's own names, lower case, to the vocabulary.
CORPUS_LABELS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "meld": {x: x for x in _BASIC7},
        "emorynlp": {
            "joyful": "joy",
            "mad": "anger",
            "peaceful": "calm",
            "neutral": "neutral",
            "sad": "sadness",
            "powerful": "power",
            "scared": "fear",
        },
        "iemocap": {
            "ang": "anger",
            "hap": "joy",
            "exc": "excitement",
            "neu": "neutral",
            "sad": "sadness",
            "fru": "frustration",
            "fea": "fear",
            "sur": "surprise",
            "dis": "disgust",
            "oth": "other",
            "xxx": "other",
        },
        "ravdess": {
            "neutral": "neutral",
            "calm": "calm",
            "happy": "joy",
            "sad": "sadness",
            "angry": "anger",
            "fearful": "fear",
            "disgust": "disgust",
            "surprised": "surprise",
        },
        "ravdess_song": {
            "neutral": "neutral",
            "calm": "calm",
            "happy": "joy",
            "sad": "sadness",
            "angry": "anger",
            "fearful": "fear",
        },
        "crema_d": {
            "ang": "anger",
            "dis": "disgust",
            "fea": "fear",
            "hap": "joy",
            "neu": "neutral",
            "sad": "sadness",
        },
        "urdu": {"angry": "anger", "happy": "joy", "neutral": "neutral", "sad": "sadness"},
        "shemo": {
            "anger": "anger",
            "fear": "fear",
            "happiness": "joy",
            "neutral": "neutral",
            "sadness": "sadness",
            "surprise": "surprise",
        },
        "nemo": {
            "anger": "anger",
            "fear": "fear",
            "happiness": "joy",
            "neutral": "neutral",
            "sadness": "sadness",
            "surprised": "surprise",
        },
        "savee": {
            "a": "anger",
            "d": "disgust",
            "f": "fear",
            "h": "joy",
            "n": "neutral",
            "sa": "sadness",
            "su": "surprise",
        },
        "tess": {
            "angry": "anger",
            "disgust": "disgust",
            "fear": "fear",
            "happy": "joy",
            "neutral": "neutral",
            "ps": "surprise",
            "sad": "sadness",
        },
        "emovo": {
            "dis": "disgust",
            "gio": "joy",
            "neu": "neutral",
            "pau": "fear",
            "rab": "anger",
            "sor": "surprise",
            "tri": "sadness",
        },
        "enterface": {
            "anger": "anger",
            "disgust": "disgust",
            "fear": "fear",
            "happiness": "joy",
            "sadness": "sadness",
            "surprise": "surprise",
        },
        "voxceleb2": {},
        "lrs2": {},
        "fer2013": {
            "angry": "anger",
            "disgust": "disgust",
            "fear": "fear",
            "happy": "joy",
            "sad": "sadness",
            "surprise": "surprise",
            "neutral": "neutral",
        },
        "ferplus": {
            "neutral": "neutral",
            "happiness": "joy",
            "surprise": "surprise",
            "sadness": "sadness",
            "anger": "anger",
            "disgust": "disgust",
            "fear": "fear",
            "contempt": "contempt",
        },
        "affectnet": {
            "neutral": "neutral",
            "happiness": "joy",
            "happy": "joy",
            "sadness": "sadness",
            "sad": "sadness",
            "surprise": "surprise",
            "fear": "fear",
            "disgust": "disgust",
            "anger": "anger",
            "contempt": "contempt",
        },
        # As people name folders: the vocabulary, and words that other corpora use for it.
        "folder": {
            **{x: x for x in VOCABULARY},
            "angry": "anger",
            "disgusted": "disgust",
            "afraid": "fear",
            "fearful": "fear",
            "scared": "fear",
            "happy": "joy",
            "happiness": "joy",
            "joyful": "joy",
            "sad": "sadness",
            "surprised": "surprise",
            "excited": "excitement",
            "frustrated": "frustration",
        },
        "saudi": {x: x for x in ("anger", "joy", "neutral", "sadness")},
        "emobank": {x: x for x in ("negative", "neutral", "positive")},
        # As the authors group their 27 emotions (Demszky et al., section 4.2).
        "goemotions": {
            **dict.fromkeys(("anger", "annoyance", "disapproval"), "anger"),
            "disgust": "disgust",
            **dict.fromkeys(("fear", "nervousness"), "fear"),
            **dict.fromkeys(("joy", "amusement", "approval", "excitement", "gratitude", "love"), "joy"),
            **dict.fromkeys(("optimism", "relief", "pride", "admiration", "desire", "caring"), "joy"),
            **dict.fromkeys(("sadness", "disappointment", "embarrassment", "grief", "remorse"), "sadness"),
            **dict.fromkeys(("surprise", "realization", "confusion", "curiosity"), "surprise"),
            "neutral": "neutral",
        },
        # Plutchik's eight by their numbers, and 9 for neutral lines; anticipation (2) and trust (8) are no class here.
        "xed": {
            "1": "anger",
            "2": "other",
            "3": "disgust",
            "4": "fear",
            "5": "joy",
            "6": "sadness",
            "7": "surprise",
            "8": "other",
            "9": "neutral",
        },
        "isear": {
            **{x: x for x in ("anger", "disgust", "fear", "joy", "sadness")},
            "shame": "other",
            "guilt": "other",
        },
        "dailydialog": {
            **{x: x for x in _BASIC7 if x != "joy"},
            **dict.fromkeys(("happiness", "happines", "happy"), "joy"),
            "excited": "excitement",
            "sad": "sadness",
            "surprised": "surprise",
            "angry": "anger",
        },
        "mosaic": {x: x for x in _BASIC7},
        "meld_voiced": {x: x for x in _BASIC7},
        "mosi": {"negative": "negative", "positive": "positive"},
        "synthetic": {x: x for x in ("anger", "joy", "neutral", "sadness")},
        "dialogues": {x: x for x in ("anger", "joy", "neutral", "sadness")},
    }
)


def label_set(name: str) -> LabelSet:
    """The label set of that name.

    Raises
    ------
    ConfigError
        If there is none, listing those that exist.
    """
    if name not in LABEL_SETS:
        raise unknown_name("label set", name, LABEL_SETS)
    return LABEL_SETS[name]


def to_vocabulary(corpus: str, native: str) -> str:
    """A corpus's own label in the vocabulary.

    Raises
    ------
    ConfigError
        If that corpus does not use that label, listing those it uses.
    """
    names = CORPUS_LABELS[corpus]
    try:
        return names[native.strip().lower()]
    except KeyError:
        close = nearest(native, names)
        hint = f"did you mean {close}? " if close else ""
        raise ConfigError(
            f"label {native!r} is outside the set of {corpus}; {hint}it uses {', '.join(dict.fromkeys(names.values()))}"
        ) from None
