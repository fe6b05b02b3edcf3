"""Exports a finished run as a bundle: the fleet's encoders and the run's fusion, signed and registered."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedaffect.client.models.registry import without_step
from fedaffect.client.onnx_engine.graph import StepGraph
from fedaffect.edge.bundle import RUNTIME, Bundle, SigningKey, sign, usual_bundle_path
from fedaffect.edge.bundle.archive import pack
from fedaffect.edge.bundle.manifest import MANIFEST
from fedaffect.edge.bundle.signature import SIGNATURE
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.files import private_folder
from fedaffect.server.federation.guard import guard_figures
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.models.bundling.fusion import POPULATION, STEP, WEIGHTS, FusionWeights, finish_fusion
from fedaffect.server.models.bundling.step import StepModel, step_bytes
from fedaffect.server.registry import Registry, RegistryUnavailable, audit, bundles, models, rollouts, runs
from fedaffect.server.registry.folder_hash import file_sha256
from fedaffect.server.starting_point import bundle_at
from fedaffect.server.trained_fusion import fusion_to_offer

logger = logging.getLogger("flwr")


def export_run(folder: FleetFolder, registry: Registry, run_id: str, encoders: Path | None = None) -> str:
    """Join a run's best round and the encoders it learned with into a bundle that can be rolled out.

    Parameters
    ----------
    folder : FleetFolder
    registry : Registry
    run_id : str
    encoders : Path, optional
        A bundle with them; the one that this machine uses if not given.

    Returns
    -------
    str
        The bundle's version.

    Raises
    ------
    BundleError
        If the run's fusion does not fit those encoders.
    LostTooMuch
        If it made people on its guard worse than it may.
    """
    run_folder = RunFolder.open(folder.runs / run_id)
    named = run_folder.config.data.bundle
    weights = fusion_to_offer(run_folder.path)
    before = weights.lineage[-1]["bundle"] if weights.lineage else ""
    kept = private_folder(folder.path / "bundles")
    with (
        bundle_at(encoders or (Path(named) if named else usual_bundle_path())) as base,
        tempfile.TemporaryDirectory(prefix=".export-", dir=kept) as scratch,
    ):
        ready = Path(scratch) / "bundle"
        shutil.copytree(
            base.path,
            ready,
            ignore=shutil.ignore_patterns(MANIFEST, SIGNATURE, "fusion.onnx", WEIGHTS, POPULATION, STEP),
        )
        manifest = replace(
            base.manifest,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            minimum_runtime=RUNTIME,
            label_set=weights.labels,
            # Without a population: devices learn from voices as they are, and a fusion that knows them so must hear
            # them so.
            fusion=finish_fusion(weights, Path(scratch), ready, _step_of(base, weights)),
            # What goes on from the bundle's own fusion is as sure of itself, until somebody calibrates it.
            calibration=base.manifest.calibration if before == base.version else weights.calibration,
        )
        manifest.write(ready)
        sign(ready, SigningKey.own())
        version = Bundle.load(ready).version
        tar = pack(ready, Path(scratch) / "bundle.tar")
        target = kept / f"{version}.tar"
        tar.replace(target)
    sha256 = file_sha256(target)
    bundles.add(registry, version=version, path=target, sha256=sha256, size_bytes=target.stat().st_size)
    _register(registry, run_id, run_folder, version, sha256, target, weights.lineage)
    audit.write(registry, "bundle.exported", subject=version, actor="aggregator", run=run_id, sha256=sha256)
    return version


def _step_of(base: Bundle, weights: FusionWeights) -> bytes | None:
    """The training step that devices without torch learned by, or of the run's own model; None if they had none."""
    before = base.manifest.fusion
    if before is None or before.step is None or without_step(weights.model, weights.options, weights.ratings):
        return None
    path, model = base.path / before.step.file, StepModel.of(weights)
    return path.read_bytes() if model.fits(StepGraph.load(path).about) else step_bytes(model)


def export_quietly(folder: FleetFolder, registry: Registry, run_id: str) -> None:
    """Export a run whose rounds have ended, once; the audit log records where that fails.

    The run counts as finished all the same.

    Raises
    ------
    RegistryUnavailable
        If the database is unavailable; to be repeated.
    """
    if any(model.run_id == run_id for model in models.every(registry)):
        return
    try:
        logger.info("run %s is exported as bundle %s", run_id, export_run(folder, registry, run_id))
    except RegistryUnavailable:
        raise
    except FedAffectError as error:
        logger.warning("run %s is not exported: %s", run_id, error)
        audit.write(registry, "bundle.not-exported", subject=run_id, actor="aggregator", why=str(error))


def roll_out_quietly(registry: Registry, run_id: str, percent: float) -> str:
    """Stage the bundle of a run for a share of the devices.

    Parameters
    ----------
    registry : Registry
    run_id : str
    percent : float
        0 leaves it to the operator.

    Returns
    -------
    str
        Why the bundle does not reach devices, or that there is none; empty where all is well.

    Raises
    ------
    RegistryUnavailable
        If the database is unavailable; to be repeated.
    """
    if not percent:
        return ""
    version = next((model.version for model in models.every(registry) if model.run_id == run_id), None)
    if version is None:
        entries = audit.entries(registry, subject=run_id, action="bundle.not-exported")
        why = next((json.loads(entry.details)["why"] for entry in entries), "it is not exported")
        return f"no bundle was made of it: {why}"
    try:
        rollouts.stage(registry, version, percent)
    except RegistryUnavailable:
        raise
    except FedAffectError as error:
        logger.warning("bundle %s is not rolled out: %s", version, error)
        return f"bundle {version} is not rolled out: {error}"
    return ""


def _register(
    registry: Registry,
    run_id: str,
    run_folder: RunFolder,
    version: str,
    sha256: str,
    tar: Path,
    lineage: Sequence[Mapping[str, Any]],
) -> None:
    """Register the model version with its lineage: run, round, data, metrics, privacy."""
    run = runs.get(registry, run_id)
    summary = run_folder.summary()
    privacy = summary.get("privacy") or {}
    models.add(
        registry,
        version=version,
        profile="edge",
        path=tar,
        label_set=str(summary["labels"]),
        sha256=sha256,
        metrics=summary.get("test") or {},
        lineage={
            "run": run_id,
            "flower_runs": [str(number) for number in run.flower_runs],
            "before": lineage[-1]["bundle"] if lineage else "",
            "runs": [str(one["run"]) for one in lineage],
            "guard": guard_figures(summary),
        },
        run_id=run_id,
        round=int(summary["best_round"]),
        data_statement=run.data_statement,
        epsilon=privacy.get("epsilon"),
        delta=privacy.get("delta"),
    )
