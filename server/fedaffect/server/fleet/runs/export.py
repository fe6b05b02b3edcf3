"""Exports a finished run as a bundle: the fleet's encoders and the run's fusion, signed and registered."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fedaffect.edge.bundle import Bundle, SigningKey, sign, usual_bundle_path
from fedaffect.edge.bundle.archive import pack
from fedaffect.edge.bundle.manifest import MANIFEST
from fedaffect.edge.bundle.signature import SIGNATURE
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.files import private_folder
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.models.bundling.fusion import finish_fusion
from fedaffect.server.registry import Registry, RegistryUnavailable, audit, bundles, models, runs
from fedaffect.server.registry.folder_hash import file_sha256
from fedaffect.server.trained_fusion import fusion_at

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
    """
    run_folder = RunFolder.open(folder.runs / run_id)
    base = Bundle.load(encoders or usual_bundle_path())
    weights = fusion_at(run_folder.path)
    kept = private_folder(folder.path / "bundles")
    with tempfile.TemporaryDirectory(prefix=".export-", dir=kept) as scratch:
        ready = Path(scratch) / "bundle"
        shutil.copytree(base.path, ready, ignore=shutil.ignore_patterns(MANIFEST, SIGNATURE, "fusion.onnx"))
        manifest = replace(
            base.manifest,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            label_set=weights.labels,
            fusion=finish_fusion(weights, Path(scratch), ready),
            calibration=weights.calibration,
        )
        manifest.write(ready)
        sign(ready, SigningKey.own())
        version = Bundle.load(ready).version
        tar = pack(ready, Path(scratch) / "bundle.tar")
        target = kept / f"{version}.tar"
        tar.replace(target)
    sha256 = file_sha256(target)
    bundles.add(registry, version=version, path=target, sha256=sha256, size_bytes=target.stat().st_size)
    _register(registry, run_id, run_folder, version, sha256, target)
    audit.write(registry, "bundle.exported", subject=version, actor="aggregator", run=run_id, sha256=sha256)
    return version


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


def _register(registry: Registry, run_id: str, run_folder: RunFolder, version: str, sha256: str, tar: Path) -> None:
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
        lineage={"run": run_id, "flower_runs": [str(number) for number in run.flower_runs]},
        run_id=run_id,
        round=int(summary["best_round"]),
        data_statement=run.data_statement,
        epsilon=privacy.get("epsilon"),
        delta=privacy.get("delta"),
    )
