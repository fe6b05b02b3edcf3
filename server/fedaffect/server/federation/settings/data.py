"""The corpus and how it becomes clients."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from fedaffect.client.targets import CLASS, GROUPS, rating_names
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.federation.settings.fields import Folder, Names, Section, Text, setting


class Data(Section):
    """Corpus: what is learned from, and who has what of it."""

    dataset: str = setting("Corpus; 'fedaffect data list' shows all.", default="synthetic", metavar="NAME", common=True)
    data_dir: Folder | None = setting(
        "Folder of the corpus, in its official layout.", default=None, metavar="DIR", common=True
    )
    modalities: Names = setting(f"Some of {','.join(MODALITIES)}.", metavar="LIST")
    labels: str = setting("Label set, such as meld7, meld4, shared7.", metavar="SET", common=True)
    targets: Names = setting(
        f"What is learned beside the class, some of {','.join(GROUPS)}.", default=(CLASS,), metavar="LIST"
    )
    context: int = setting("Past utterances the model also reads.", metavar="N", unit="utterances", ge=0)
    normalise: Literal["none", "client"] = setting(
        "Standardise features by each owner's own unlabelled clips.", metavar="none|client"
    )
    bundle: Text | None = setting(
        "Encoders.", default=None, metavar="DIR", otherwise="the edge bundle, built when missing"
    )
    audio_features: Literal["encoder", "acoustic"] = setting(
        "Of sound: the encoder's, or MFCC, log-mel, energy and pitch of a denoised voice.",
        default="encoder",
        metavar="encoder|acoustic",
    )
    video_features: Literal["encoder", "landmarks5", "landmarks68"] = setting(
        "Of faces: the encoder's, or with five or 68 landmarks and how they move.",
        default="encoder",
        metavar="encoder|landmarks5|landmarks68",
    )
    partition: str = setting(
        "natural, fedmultimodal (implies --labels meld4), iid:N, dirichlet:A:N, quantity:A:N, shards:S:N.",
        metavar="SPEC",
        common=True,
    )
    missing_modality: float = setting(
        "Rate at which a client lacks a modality.", default=0.0, metavar="P", unit="rate", ge=0, le=1
    )
    label_noise: float = setting("Rate of wrong training labels.", default=0.0, metavar="P", unit="rate", ge=0, le=1)
    label_noise_matrix: Folder | None = setting(
        "Table of the labels that wrong labels become.", default=None, metavar="CSV", otherwise="uniform"
    )
    degrade_test: Names = setting(
        "Worse test clips, such as audio=noise:10,video=blur:2 (also telephone, room; dark, jpeg, covered; text=lost).",
        default=(),
        metavar="LIST",
    )
    strict: bool = setting("Stop where clips cannot be used, instead of leaving them out.", default=False)

    @field_validator("labels")
    @classmethod
    def _labels_are_known(cls, name: str) -> str:
        label_set(name)
        return name

    @field_validator("targets")
    @classmethod
    def _targets_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        rating_names(names)
        return names

    @field_validator("modalities")
    @classmethod
    def _modalities_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ConfigError(f"no modality is left; give --modalities some of {','.join(MODALITIES)}")
        for name in names:
            if name not in MODALITIES:
                raise unknown_name("modality", name, MODALITIES)
        return names
