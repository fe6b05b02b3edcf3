"""Which encoders a profile of the full model has, and where their weights come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.models.reading import Reading

EMBEDDED: Final = "package"


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of encoders.

    Parameters
    ----------
    name : str
    sources : mapping of str to str
        By modality: a hub id with its commit or a local folder, or ``package`` for weights that an installable package
        carries. A modality left out has no encoder; a profile without any answers on features alone.
    readings : mapping of str to Reading
        How features are read off each; layers that are not given are those of `default_layers`.
    """

    name: str
    sources: Mapping[str, str] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for modality in (*self.sources, *self.readings):
            if modality not in MODALITIES:
                raise unknown_name("modality", modality, MODALITIES)

    def with_sources(self, **sources: str | None) -> Profile:
        """The same with some models replaced by the user's own; None keeps what is there."""
        given = {modality: source for modality, source in sources.items() if source is not None}
        if given and not self.sources:
            raise ConfigError(f"profile {self.name} answers on features and takes no encoders; use profile cloud")
        readings = {modality: reading for modality, reading in self.readings.items() if modality not in given}
        return Profile(self.name, {**self.sources, **given}, readings)


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "cloud": Profile(
            "cloud",
            {
                "text": "bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594",
                "audio": "facebook/wav2vec2-base@0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
                "video": "google/vit-base-patch16-224@3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3",
            },
        ),
        "cloud-embedded": Profile(
            "cloud-embedded",
            {"text": EMBEDDED, "audio": EMBEDDED, "video": EMBEDDED},
            {"text": Reading(layers=(3, 4, 5, 6)), "audio": Reading(layers=(2, 3, 4, 5))},
        ),
        "edge-features": Profile("edge-features"),
    }
)


def profile(name: str) -> Profile:
    """A profile by name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in PROFILES:
        raise unknown_name("profile", name, PROFILES)
    return PROFILES[name]


def default_layers(depth: int) -> tuple[int, ...]:
    """Half-way, three quarters up, and the last of a network's layers: emotion is in the middle, words are on top."""
    return tuple(sorted({max(1, round(depth / 2)), max(1, round(depth * 3 / 4)), depth}))
