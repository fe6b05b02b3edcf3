"""Model versions: which there are, and the folders they lie in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import NotFound
from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.tables import ModelRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered version.

    Parameters
    ----------
    version, profile, label_set : str
    path : Path
        Its model folder.
    sha256 : str
        Of all its files, see :func:`fedaffect.server.registry.folder_hash.folder_sha256`.
    metrics : mapping
        Figures it reached, by name.
    lineage : mapping
        What it was made from: run, bundle, command.
    created : datetime
    run_id : str, optional
        The run whose arrays it holds, and with ``round`` which of them.
    round : int, optional
    data_statement : str
        Whose data it learned from, under which terms.
    epsilon, delta : float, optional
        What privacy it cost those; None where it was learned without.
    """

    version: str
    profile: str
    path: Path
    label_set: str
    sha256: str
    metrics: Mapping[str, Any]
    lineage: Mapping[str, Any]
    created: datetime
    run_id: str | None = None
    round: int | None = None
    data_statement: str = ""
    epsilon: float | None = None
    delta: float | None = None


def add(
    registry: Registry,
    *,
    version: str,
    profile: str,
    path: Path,
    label_set: str,
    sha256: str,
    metrics: Mapping[str, Any] | None = None,
    lineage: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    round: int | None = None,
    data_statement: str = "",
    epsilon: float | None = None,
    delta: float | None = None,
) -> Model:
    """Register a version; the same content under the same version again changes nothing.

    Raises
    ------
    ConfigError
        If the version is taken by other content.
    """
    row = ModelRow(
        version=version,
        profile=profile,
        path=str(path.absolute()),
        label_set=label_set,
        sha256=sha256,
        metrics=dict(metrics or {}),
        lineage=dict(lineage or {}),
        created=datetime.now(UTC),
        run_id=run_id,
        round=round,
        data_statement=data_statement,
        epsilon=epsilon,
        delta=delta,
    )
    try:
        with registry.writing() as session:
            session.add(row)
            session.flush()
            audit.append(
                session,
                "model.added",
                subject=version,
                actor="operator",
                sha256=sha256,
                run=run_id,
                round=round,
                epsilon=None if epsilon is None else str(epsilon),
            )
            return _record(row)
    except IntegrityError as error:
        known = get(registry, version)
        if known.sha256 == sha256:
            return known
        raise ConfigError(
            f"version {version!r} is registered with other content ({known.path}); "
            "give the new one a version of its own in its model.json"
        ) from error


def get(registry: Registry, version: str) -> Model:
    """One version.

    Raises
    ------
    NotFound
        If it is not registered.
    """
    with registry.reading() as session:
        row = session.get(ModelRow, version)
        if row is None:
            raise NotFound(f"no model has the version {version!r}; see fedaffect server models list")
        return _record(row)


def every(registry: Registry) -> list[Model]:
    """All versions, oldest first."""
    with registry.reading() as session:
        return [_record(row) for row in session.scalars(select(ModelRow).order_by(ModelRow.created, ModelRow.version))]


def _record(row: ModelRow) -> Model:
    return Model(
        version=row.version,
        profile=row.profile,
        path=Path(row.path),
        label_set=row.label_set,
        sha256=row.sha256,
        metrics=row.metrics,
        lineage=row.lineage,
        created=row.created,
        run_id=row.run_id,
        round=row.round,
        data_statement=row.data_statement,
        epsilon=row.epsilon,
        delta=row.delta,
    )
