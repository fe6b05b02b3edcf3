"""Who gets which model version: a history of shares, of which the newest entry holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import NotFound
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.model_folder import kind_of
from fedaffect.server.registry.tables import DeploymentRow, ModelRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One entry of the history.

    Parameters
    ----------
    id : int
        Grows with time.
    created : datetime
    shares : mapping of str to float
        Of requests, by version; those of one kind add up to 1. A version with 0 answers only those who ask for it.
    restores : int, optional
        The entry that a rollback went back to.
    """

    id: int
    created: datetime
    shares: Mapping[str, float]
    restores: int | None = None


def checked_shares(shares: Mapping[str, float], kinds: Mapping[str, str]) -> dict[str, float]:
    """The shares, if they can be served.

    Parameters
    ----------
    shares : mapping of str to float
        By version.
    kinds : mapping of str to str
        What each version answers, see :func:`fedaffect.server.registry.model_folder.kind_of`.

    Raises
    ------
    ConfigError
        If one is outside [0, 1], or those of one kind do not add up to 1.
    """
    if not shares:
        raise ConfigError("no version would get requests; name one with its share")
    for version, share in shares.items():
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise ConfigError(f"version {version!r} cannot get a share of {share}; give a number from 0 to 1")
    for kind in {kinds[version] for version in shares}:
        alike = {version: share for version, share in shares.items() if kinds[version] == kind}
        if not math.isclose(sum(alike.values()), 1.0, abs_tol=1e-6):
            said = ", ".join(f"{version}={share:.4g}" for version, share in alike.items())
            raise ConfigError(f"shares of versions for {kind} must add up to 1, and {said} does not; say each one's")
    return dict(shares)


def share(registry: Registry, shares: Mapping[str, float]) -> Deployment:
    """Split requests among versions from now on.

    Raises
    ------
    ConfigError
        If the shares do not add up.
    NotFound
        If a version is not registered.
    """
    with registry.writing() as session:
        kinds = {}
        for version in shares:
            row = session.get(ModelRow, version)
            if row is None:
                raise NotFound(f"no model has the version {version!r}; register it with fedaffect server models add")
            kinds[version] = kind_of(row.profile)
        return _append(session, checked_shares(shares, kinds), None)


def current(registry: Registry) -> Deployment | None:
    """The entry that holds, or None before the first."""
    with registry.reading() as session:
        row = _newest(session)
        return _record(row) if row else None


def rollback(registry: Registry) -> Deployment:
    """Go back to the entry before the one that holds; again, and it goes one further back.

    Raises
    ------
    NotFound
        If there is nothing to go back to.
    """
    with registry.writing() as session:
        row = _newest(session)
        before = row.restores or row.id if row else 0
        target = session.scalars(
            select(DeploymentRow).where(DeploymentRow.id < before).order_by(DeploymentRow.id.desc()).limit(1)
        ).first()
        if target is None:
            raise NotFound("there is no earlier split to go back to; see fedaffect server models list")
        # What that entry itself restored: what was rolled back from once is not come back to.
        return _append(session, target.shares, target.restores or target.id)


def history(registry: Registry, limit: int = 20) -> list[Deployment]:
    """The newest entries, newest first."""
    with registry.reading() as session:
        rows = session.scalars(select(DeploymentRow).order_by(DeploymentRow.id.desc()).limit(limit))
        return [_record(row) for row in rows]


def _newest(session: Session) -> DeploymentRow | None:
    return session.scalars(select(DeploymentRow).order_by(DeploymentRow.id.desc()).limit(1)).first()


def _append(session: Session, shares: Mapping[str, float], restores: int | None) -> Deployment:
    row = DeploymentRow(created=datetime.now(UTC), shares=dict(shares), restores=restores)
    session.add(row)
    session.flush()
    return _record(row)


def _record(row: DeploymentRow) -> Deployment:
    return Deployment(id=row.id, created=row.created, shares=dict(row.shares), restores=row.restores)
