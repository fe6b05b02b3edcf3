"""Builds a bundle: drafts each encoder, chooses its precision, writes all of it or nothing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from fedaffect.client.models.registry import without_step
from fedaffect.edge.bundle import (
    MANIFEST,
    RUNTIME,
    Calibration,
    EncoderEntry,
    FileEntry,
    FusionEntry,
    Manifest,
    SigningKey,
    Source,
    Variant,
    sign,
)
from fedaffect.edge.encoders.base import written_settings
from fedaffect.edge.encoders.speech import SpeechSettings
from fedaffect.edge.errors import BundleError, ConfigError, unknown_name
from fedaffect.server.models.bundling.distilling import DistilRequest, distil_draft
from fedaffect.server.models.bundling.draft import Draft
from fedaffect.server.models.bundling.fusion import FusionWeights, finish_fusion, read_fusion
from fedaffect.server.models.bundling.gate import choose
from fedaffect.server.models.bundling.licences import NON_COMMERCIAL, OFFERED, PERMISSIVE, SHIPPABLE
from fedaffect.server.models.bundling.recipe import BROUGHT, VERSION, own_fusion, population_of
from fedaffect.server.models.bundling.scale import measure_scale
from fedaffect.server.models.bundling.speech import draft_speech
from fedaffect.server.models.bundling.step import StepModel, step_bytes
from fedaffect.server.models.bundling.text import PERMISSIVE_WORDS, draft_text
from fedaffect.server.models.bundling.vision import draft_vision
from fedaffect.server.models.reading import AS_IT_COMES, Reading

logger = logging.getLogger(__name__)

Report = Callable[[str], None]
_DRAFTS: Final = {"text": draft_text, "audio": draft_speech, "video": draft_vision}


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """What to build.

    Parameters
    ----------
    profile : str
        Name of the profile; ``edge`` is built from the weights that packages carry.
    text, speech, vision : str, optional
        Folder or hub id of a model to take instead.
    licence : {"non-commercial", "permissive"}
        Of the weights that are not brought. No corpus of voices or faces with emotions that lies behind this project
        lets an app ship what it taught, so a permissive bundle has words alone, and whatever is brought.
    behind : mapping of str to Source
        Where the encoders come from that the fusion learned behind, by modality, as far as that is known.
    quantise : bool
        Try INT8, and half precision for the fusion's weights; kept only where they are about as fast and faithful.
    fusion : FusionWeights, optional
        If not given, the one that this project trained behind these encoders, where there is one.
    carry_both : bool
        Keep both precisions of an encoder where INT8 is faithful; each device then measures and picks.
    distil : tuple of DistilRequest
        Encoders of which a smaller student is trained first, and taken where it is faster and faithful.
    readings : mapping of str to Reading
        By modality, of encoders that learned together with the fusion.
    learn : bool
        Carry the fusion's training step, by which devices without torch learn; of a fusion of one's own, half a minute.
    """

    profile: str = "edge"
    text: str | None = None
    speech: str | None = None
    vision: str | None = None
    quantise: bool = True
    fusion: FusionWeights | None = None
    carry_both: bool = False
    distil: tuple[DistilRequest, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)
    learn: bool = False
    licence: str = NON_COMMERCIAL
    behind: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.licence not in OFFERED:
            raise unknown_name("licence", self.licence, OFFERED)
        if self.fusion is not None:
            _require_licence(self, "fusion", self.fusion.source)
            for run in self.fusion.lineage:
                # What goes on from weights is as free as they are.
                began = Source(f"{run.get('run')} began from {run.get('from')}", "", str(run.get("licence", BROUGHT)))
                _require_licence(self, "fusion", began)
        if self.profile != "edge" and None in (self.text, self.speech, self.vision):
            raise ConfigError(
                f"packages carry weights for edge only; for {self.profile!r} give --text, --speech and --vision"
            )

    @property
    def models(self) -> Mapping[str, str | None]:
        """Which model each modality's encoder is made of; None is what the bundle has unless another is brought."""
        if self.licence != PERMISSIVE:
            return {"text": self.text, "audio": self.speech, "video": self.vision}
        brought = {"audio": self.speech, "video": self.vision}
        return {"text": self.text or PERMISSIVE_WORDS} | {m: name for m, name in brought.items() if name is not None}

    @property
    def steps(self) -> int:
        """How many steps a build reports."""
        return 2 * len(self.models) + len(self.distil) + 2


def build_bundle(config: BuildConfig, out: Path, report: Report = lambda _: None) -> Manifest:
    """Build a bundle into ``out``, replacing the bundle there, if any, once all of it is written.

    Parameters
    ----------
    config : BuildConfig
        What to build.
    out : Path
        The bundle's folder.
    report : callable of str
        Told what is being done, ``config.steps`` times.

    Raises
    ------
    BundleError
        If weights are missing or a model cannot be exported, ``out`` is a folder of something else, a part may not be
        shipped and the bundle shall be permissive, or the fusion learned behind another edition of an encoder.
    """
    if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} exists and is not a bundle; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(out.parent) as scratch:
        ready = scratch / "bundle"
        ready.mkdir()
        entries = {}
        for modality, name in config.models.items():
            report(f"{modality}: exporting")
            made = _DRAFTS[modality](name, scratch, config.readings.get(modality, AS_IT_COMES))
            _require_licence(config, modality, made.source)
            _require_same(config, modality, made.source)
            for request in config.distil:
                if request.modality == modality:
                    report(f"{modality}: distilling")
                    made = distil_draft(made, request, scratch)
            report(f"{modality}: measuring")
            entries[modality] = _finish(made, ready, config)
        report("fusion")
        weights = _fusion_for(config, entries)
        manifest = Manifest(
            profile=config.profile,
            version=VERSION,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            minimum_runtime=RUNTIME,
            encoders=entries,
            label_set=weights.labels if weights else None,
            fusion=_fusion_entry(config, weights, scratch, ready) if weights else None,
            calibration=weights.calibration if weights else Calibration(),
        )
        report("writing")
        manifest.write(ready)
        sign(ready, SigningKey.own())
        _swap(ready, out, scratch / "old")
    return manifest


def _fusion_for(config: BuildConfig, entries: Mapping[str, EncoderEntry]) -> FusionWeights | None:
    """The fusion asked for, which must fit; else ours, where one learned behind these encoders; else none."""
    if config.fusion is not None:
        return config.fusion
    ours = own_fusion(entries) if config.profile == "edge" else None
    return None if ours is None else replace(read_fusion(ours), population=population_of(ours))


def _require_licence(config: BuildConfig, part: str, source: Source) -> None:
    """Of a permissive bundle: no part whose licence forbids to ship it. What is brought is for its owner to judge."""
    if config.licence == PERMISSIVE and source.licence not in (*SHIPPABLE, BROUGHT):
        raise BundleError(
            f"no permissive bundle holds the {part} of {source.package} ({source.licence or 'no licence'}); "
            "leave it out, or bring another"
        )


def _require_same(config: BuildConfig, modality: str, source: Source) -> None:
    """No edition of an encoder but the one that the fusion learned behind: another gives features just as wide."""
    learned = config.fusion is not None and modality in config.fusion.widths
    before = config.behind.get(modality) if learned else None
    if before is not None and before.package == source.package and before.version != source.version:
        raise BundleError(
            f"the fusion learned behind {before.version}, not {source.version}; build it with the same --licence"
        )


def _fusion_entry(config: BuildConfig, weights: FusionWeights, scratch: Path, ready: Path) -> FusionEntry:
    return finish_fusion(weights, scratch, ready, _step_of(config, weights), smaller=config.quantise)


def _step_of(config: BuildConfig, weights: FusionWeights) -> bytes | None:
    if not config.learn:
        return None
    if why := without_step(weights.model, weights.options, weights.ratings):
        logger.warning("devices without torch cannot learn model %s: %s", weights.model, why)
        return None
    return step_bytes(StepModel.of(weights))


def _finish(draft: Draft, ready: Path, config: BuildConfig) -> EncoderEntry:
    quantise = draft.quantise if config.quantise else None
    choice = choose(draft.network, quantise, draft.probes, draft.probe, draft.bound, config.carry_both)
    network = ready / f"{draft.modality}.onnx"
    shutil.copyfile(choice.path, network)
    alternatives = []
    for precision, path in choice.alternatives.items():
        copy = ready / f"{draft.modality}.{precision}.onnx"
        shutil.copyfile(path, copy)
        alternatives.append(Variant(FileEntry.of(copy), precision))
    assets = {}
    for role, path in draft.assets.items():
        copy = ready / f"{draft.modality}.{role}{path.suffix}"
        shutil.copyfile(path, copy)
        assets[role] = FileEntry.of(copy)
    if isinstance(draft.settings, SpeechSettings) and draft.scaled:
        scale = ready / f"{draft.modality}.scale.npy"
        measure_scale(network, draft.assets["voice"], draft.settings, draft.width).save(scale)
        assets["scale"] = FileEntry.of(scale)
    return EncoderEntry(
        modality=draft.modality,
        network=FileEntry.of(network),
        assets=assets,
        width=draft.width,
        tokens_per_second=draft.tokens_per_second,
        precision=choice.precision,
        source=draft.source,
        preprocessing=written_settings(draft.settings),
        latency_ms=choice.latency_ms,
        fidelity={**choice.fidelity, **draft.findings},
        alternatives=tuple(alternatives),
    )


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A folder beside the target, so that the last step is a rename on one disk; gone afterwards whatever happens."""
    folder = Path(mkdtemp(prefix=".bundle-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(ready: Path, out: Path, old: Path) -> None:
    if out.exists():
        out.rename(old)
    try:
        ready.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
