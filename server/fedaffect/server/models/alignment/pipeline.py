"""From calibration corpora to a model folder: encode, fit, calibrate, measure, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import nn

from fedaffect.edge.bundle import Bundle, default_bundle_path
from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.errors import ConfigError
from fedaffect.server.models.alignment.aligning import Aligned, behind_trunk, widths_of
from fedaffect.server.models.alignment.answers import figures, logits_of
from fedaffect.server.models.alignment.calibrating import let_experts_answer, temperatures
from fedaffect.server.models.alignment.fitting import FitConfig, fit
from fedaffect.server.models.alignment.material import CORPORA, Material, read_material, without_repeats
from fedaffect.server.models.alignment.storing import save_fusion
from fedaffect.server.models.alignment.voices import VariedVoice
from fedaffect.server.models.bundling.fusion import FusionWeights, read_fusion
from fedaffect.server.models.bundling.recipe import DEFAULT_FUSION, NON_COMMERCIAL
from fedaffect.server.models.full_model.card import FUSION, ModelCard
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.loading import open_encoder
from fedaffect.server.models.full_model.profiles import Profile
from fedaffect.server.models.full_model.profiles import profile as profile_named

FEATURES: Final = "edge-features"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What is to be aligned with what.

    Parameters
    ----------
    corpora : mapping of str to Path
        Calibration data by corpus.
    fusion : FusionWeights, optional
        What devices learned; the committed fusion if not given.
    profile : str
        Of the full model; ``edge-features`` takes the edge's own encoders and learns a whole larger fusion.
    sources : mapping of str to str
        Models taken instead of the profile's own, by modality: folders or hub ids.
    head, layers
        As of `behind_trunk`.
    options : mapping, optional
        Of a fusion learned whole, for ``edge-features``.
    voice_copies : int
        Constructed copies of each clip to fit on, heard through other rooms and microphones.
    bundle : Path, optional
        Of the edge's encoders; the one in the cache if not given.
    fit : FitConfig
    version : str, optional
    device : str
        Where encoders run.
    """

    corpora: Mapping[str, Path]
    fusion: FusionWeights | None = None
    profile: str = "cloud-embedded"
    sources: Mapping[str, str] = field(default_factory=dict)
    head: str = "shared"
    layers: int = 1
    options: Mapping[str, Any] = field(
        default_factory=lambda: {"width": 192, "layers": 2, "feedforward": 512, "dropout": 0.3, "token_dropout": 0.3}
    )
    voice_copies: int = 2
    bundle: Path | None = None
    fit: FitConfig = field(default_factory=FitConfig)
    version: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        profile_named(self.profile).with_sources(**self.sources)
        if not self.corpora:
            raise ConfigError(f"there is nothing to fit on; give --data for some of {', '.join(CORPORA)}")


def carry_out(asked: Alignment, out: Path, report: Callable[[str], None]) -> list[str]:
    """Align and write a model folder.

    Parameters
    ----------
    asked : Alignment
    out : Path
        The folder.
    report : callable
        Told lines of progress.

    Returns
    -------
    list of str
        A line of figures for each corpus and split.

    Raises
    ------
    FedAffectError
        If a corpus cannot be read, an encoder cannot be opened, or the fusion does not fit.
    """
    fusion = asked.fusion or read_fusion(DEFAULT_FUSION)
    encoders = {m: _encoder(m, asked) for m in sorted({CORPORA[name] for name in asked.corpora if name in CORPORA})}
    materials = []
    for name, folder in asked.corpora.items():
        report(f"encoding {name}")
        encoder = encoders[CORPORA.get(name, name)]
        copies = range(1, asked.voice_copies + 1) if encoder.modality == "audio" else ()
        materials.append(read_material(name, folder, [encoder, *(VariedVoice(encoder, copy) for copy in copies)]))
    materials = without_repeats(materials)
    aligned = _start(asked, fusion, materials)
    report(f"fitting {sum(p.numel() for p in aligned.trained):,} parameters on {len(materials)} corpora")
    fit(
        aligned.model, aligned.trained, materials, asked.fit, lambda step, loss: report(f"step {step}: loss {loss:.3f}")
    )
    experts = let_experts_answer(aligned.model, materials, asked.fit.seed)
    aligned = replace(aligned, options={**aligned.options, "experts": experts})
    fitted = temperatures(aligned.model, materials, asked.fit.seed)
    version = asked.version or f"{asked.profile}-{fusion.source.version}"
    _write(out, asked, aligned, fusion, version, fitted, encoders)
    return [line for material in materials for line in described(aligned.model, material)]


def described(model: nn.Module, material: Material) -> list[str]:
    """A line of figures for the development and the test split of a corpus."""
    lines = []
    for split in ("dev", "test"):
        rows = material.of_split(split)
        if len(rows):
            logits = logits_of(model, {material.modality: material.tables[0]}, {material.modality: rows})
            labels = material.labels[rows]
            got = figures(logits, labels)
            chance = 1 / len(np.unique(labels))
            lines.append(
                f"{material.corpus} {split}, {len(rows)} rows: UAR {got['uar']:.3f} (chance {chance:.3f}), "
                f"weighted F1 {got['weighted_f1']:.3f}, accuracy {got['accuracy']:.3f}"
            )
    return lines


def _encoder(modality: str, asked: Alignment) -> Encoder:
    if asked.profile == FEATURES:
        return Bundle.load(asked.bundle or default_bundle_path()).encoder(modality, faces="whole")
    return open_encoder(modality, _profile(asked), Compute(asked.device), faces="whole")


def _serving_key(encoder: Encoder, asked: Alignment) -> str:
    """The key of the encoder that answers: it looks for the face, where corpora come cropped."""
    if encoder.modality != "video":
        return encoder.key
    if asked.profile == FEATURES:
        return Bundle.load(asked.bundle or default_bundle_path(), verify=False).encoder("video").key
    return open_encoder("video", _profile(asked), Compute(asked.device)).key


def _profile(asked: Alignment) -> Profile:
    return profile_named(asked.profile).with_sources(**asked.sources)


def _start(asked: Alignment, fusion: FusionWeights, materials: list[Material]) -> Aligned:
    if asked.profile != FEATURES:
        return behind_trunk(fusion, widths_of(materials), head=asked.head, layers=asked.layers, seed=asked.fit.seed)
    larger = FusionWeights(fusion.model, dict(asked.options), fusion.widths, fusion.labels, fusion.state, fusion.source)
    return behind_trunk(larger, widths_of(materials), head="own", seed=asked.fit.seed)


def _write(
    out: Path,
    asked: Alignment,
    aligned: Aligned,
    fusion: FusionWeights,
    version: str,
    fitted: Mapping[str, float],
    encoders: Mapping[str, Encoder],
) -> None:
    out.mkdir(parents=True)
    save_fusion(
        aligned.model,
        out / FUSION,
        options=aligned.options,
        widths=aligned.widths,
        labels=fusion.labels.name,
        version=version,
        temperatures=fitted,
        licence=NON_COMMERCIAL,
    )
    ModelCard(
        version=version,
        profile=asked.profile,
        label_set=fusion.labels.name,
        labels=fusion.labels.labels,
        model=fusion.model,
        options=dict(aligned.options),
        widths=dict(aligned.widths),
        temperatures=dict(fitted),
        encoder_keys={modality: _serving_key(encoder, asked) for modality, encoder in encoders.items()},
        sources=dict(asked.sources),
    ).write(out)
