"""What a model folder says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.errors import BundleError, ConfigError, unknown_name
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.subsets import subset_key
from fedaffect.server.models.full_model.profiles import Profile, profile
from fedaffect.server.models.reading import Reading

FILE: Final = "model.json"
FUSION: Final = "fusion.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One version of the full model: a folder's ``model.json``.

    Parameters
    ----------
    version : str
        Its name.
    profile : str
        Which encoders feed it; see `fedaffect.server.models.full_model.profiles`.
    label_set : str
        Name in the label vocabulary.
    labels : tuple of str
        What the scores stand for, in their order.
    model : str
        Fusion model by name, as `fedaffect.client.models.registry` knows it.
    options : mapping
        The model's settings.
    widths : mapping of str to int
        Width of each modality's tokens.
    temperatures : mapping of str to float
        Of calibration, by subset: modalities joined by ``+`` in the order of ``MODALITIES``; 1 where missing.
    encoder_keys : mapping of str to str
        Keys of the encoders that it was fitted behind, by modality; where given, others are refused.
    sources : mapping of str to str
        Models taken instead of the profile's own, by modality: folders, beside the card or elsewhere, or hub ids.
    readings : mapping of str to Reading
        How features are read off encoders, by modality, where that is not as of the profile.
    ratings : tuple of str
        What the fusion learned beside the class, which the cloud does not answer.
    random_init : bool
        Whether nobody trained it.
    """

    version: str
    profile: str
    label_set: str
    labels: tuple[str, ...]
    model: str = "cmt"
    options: Mapping[str, Any] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)
    temperatures: Mapping[str, float] = field(default_factory=dict)
    encoder_keys: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    ratings: tuple[str, ...] = ()
    random_init: bool = False

    def __post_init__(self) -> None:
        if not self.version:
            raise BundleError("a model needs a version; name it in model.json")
        try:
            known = label_set(self.label_set).labels
        except ConfigError as error:
            raise BundleError(f"model {self.version}: {error}") from error
        if sorted(known) != sorted(self.labels):
            raise BundleError(
                f"model {self.version} predicts {', '.join(self.labels)}, but {self.label_set} is {', '.join(known)}; "
                f"name the label set that it was trained for"
            )
        unknown = [name for name in self.widths if name not in MODALITIES]
        if unknown or any(width < 1 for width in self.widths.values()):
            raise BundleError(f"model {self.version} has widths {dict(self.widths)}; give text, audio, video above 0")
        if any(not 0 < value < 1e4 for value in self.temperatures.values()):
            raise BundleError(f"model {self.version}: temperatures must be positive; calibrate it again")

    @property
    def resolved_profile(self) -> Profile:
        """The profile, with this model's own sources and readings, of the modalities that it takes."""
        own = profile(self.profile).with_sources(**self.sources)
        sources = {m: source for m, source in own.sources.items() if m in self.widths or not self.widths}
        return Profile(own.name, sources, {**own.readings, **self.readings})

    def temperature(self, modalities: tuple[str, ...]) -> float:
        """Of a subset of the modalities."""
        return self.temperatures.get(subset_key(modalities), 1.0)

    def write(self, folder: Path) -> None:
        """Write ``model.json``."""
        values = asdict(self)
        # Cards of models that need none stay as older servers read them.
        del values["readings"], values["ratings"]
        if self.ratings:
            values["ratings"] = list(self.ratings)
        if self.readings:
            values["readings"] = {modality: reading.written() for modality, reading in self.readings.items()}
        values["calibration"] = {"temperatures": values.pop("temperatures")}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ModelCard:
        """Read a folder's ``model.json``.

        Raises
        ------
        BundleError
            If it is missing, damaged, has a key that nobody reads, or contradicts itself.
        """
        path = folder / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            known = ["calibration", *(entry.name for entry in fields(cls) if entry.name != "temperatures")]
            for name in values:
                if name not in known:
                    raise BundleError(f"{path}: {unknown_name('key', name, known)}")
            values["temperatures"] = dict((values.pop("calibration", None) or {}).get("temperatures") or {})
            values["labels"] = tuple(values["labels"])
            values["ratings"] = tuple(values.get("ratings", ()))
            values["sources"] = {m: _place(folder, source) for m, source in values.get("sources", {}).items()}
            values["readings"] = {m: Reading.of(reading) for m, reading in values.get("readings", {}).items()}
            return cls(**values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{path} does not describe a model ({error}); make the model folder again") from error


def _place(folder: Path, source: str) -> str:
    """Where an encoder is: a folder beside the card is named from the card's own."""
    beside = folder / source
    return str(beside) if beside.is_dir() else source
