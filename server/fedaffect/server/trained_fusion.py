"""The fusion layer that a run learned, as a bundle and a full model take it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from fedaffect.client.targets import rating_names
from fedaffect.edge.bundle import MANIFEST, Manifest, Source, default_bundle_path
from fedaffect.edge.errors import BundleError, RunError
from fedaffect.edge.labels import label_set
from fedaffect.server.federation.guard import guard_figures, require_kept
from fedaffect.server.federation.run_folder import CONFIG, SUMMARY, RunFolder
from fedaffect.server.federation.settings import FINE_TUNED
from fedaffect.server.federation.stopping import best_record
from fedaffect.server.models.bundling.fusion import WEIGHTS, FusionWeights, read_fusion
from fedaffect.server.models.bundling.recipe import BROUGHT

if TYPE_CHECKING:
    from fedaffect.server.models.full_model import ModelCard

# Of a run that trained its encoders too: what `fedaffect.server.models.fine_tuning.model_folder` writes.
MODEL: Final = "model"


def fusion_to_offer(path: Path) -> FusionWeights:
    """As `fusion_at`, of a run that made nobody on its guard worse than it may.

    Raises
    ------
    LostTooMuch
        If it did.
    BundleError, RunError
        As `fusion_at`.
    """
    if (path / CONFIG).is_file() and (path / SUMMARY).is_file():
        folder = RunFolder.open(path)
        require_kept(folder.config.run_name, folder.summary())
    return fusion_at(path)


def fusion_at(path: Path) -> FusionWeights:
    """Weights from a run folder's best checkpoint, or from a safetensors file with our metadata.

    Raises
    ------
    BundleError
        If there is neither, the file is damaged, or the run learned something that a device cannot compute.
    RunError
        If the run has no finished round.
    """
    if not (path / CONFIG).is_file():
        return read_fusion(path)
    folder = RunFolder.open(path)
    config = folder.config
    if config.data.context or config.data.normalise != "none":
        raise BundleError(
            f"{path} learned with {'--context' if config.data.context else '--normalise ' + config.data.normalise}, "
            f"which a device does not compute; export a run without it"
        )
    if config.federation.mode == FINE_TUNED:
        return read_fusion(_model_of(path) / WEIGHTS)
    records = folder.metrics()
    if not records:
        raise RunError(f"{path} has no finished round; go on with --resume {path}")
    number = int(best_record(records, config.evaluation.select_by)["round"])
    state = {name: torch.from_numpy(np.array(array)) for name, array in folder.checkpoints.load(number).arrays.items()}
    source = Source(config.run_name, f"round {number}", BROUGHT)
    summary = folder.summary() if (path / SUMMARY).is_file() else {}
    known = summary.get("widths", {})
    widths = {m: known[m] if m in known else _adapter_width(state, m, path) for m in config.data.modalities}
    start, guard = summary.get("start", {}), guard_figures(summary)
    if summary.get("personal", {}).get("layers") and not start:
        raise BundleError(
            f"{path} left what its heads learned on its clients; export a run of fedavg or ditto, or one that began "
            f"with --start-from"
        )
    own = {"run": config.run_name, "round": number, "from": start.get("name", ""), "bundle": start.get("bundle", "")}
    own |= {"licence": start["licence"]} if start.get("licence") else {}
    return FusionWeights(
        config.model.model,
        config.model.model_options,
        widths,
        label_set(config.data.labels),
        state,
        source,
        lineage=(*start.get("lineage", ()), own | ({"guard": guard} if guard else {})),
        ratings=rating_names(config.data.targets),
    )


def encoders_at(path: Path) -> ModelCard | None:
    """What a run says of the encoders that it trained with its fusion; None of any other run, and of a file.

    Raises
    ------
    BundleError
        If the run is not finished.
    """
    if not (path / CONFIG).is_file() or RunFolder.open(path).config.federation.mode != FINE_TUNED:
        return None
    # Here, not above: transformers takes seconds to import.
    from fedaffect.server.models.full_model import ModelCard

    return ModelCard.read(_model_of(path))


def learned_behind(path: Path) -> Mapping[str, Source]:
    """Where the encoders come from that a run read its corpus with, by modality; nothing where that is not known."""
    if not (path / CONFIG).is_file():
        return {}
    named = RunFolder.open(path).config.data.bundle
    bundle = Path(named).expanduser() if named else default_bundle_path()
    if not (bundle / MANIFEST).is_file():
        return {}
    return {modality: entry.source for modality, entry in Manifest.read(bundle).encoders.items()}


def _model_of(path: Path) -> Path:
    if not (path / MODEL / WEIGHTS).is_file():
        raise BundleError(f"{path} has no model yet; finish it with: fedaffect train --resume {path}")
    return path / MODEL


def _adapter_width(state: Mapping[str, Tensor], modality: str, path: Path) -> int:
    """Of a run without a summary: most models begin with an adapter a modality, whose LayerNorm is as wide."""
    for name in (f"adapters.{modality}.norm.weight", f"adapters.{modality}.weight"):
        if name in state and state[name].ndim == 1:
            return int(state[name].shape[0])
    raise BundleError(f"{path} is not finished, and has no {modality} adapter that tells its width; resume it")
