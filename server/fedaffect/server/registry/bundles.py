"""Bundles that devices may fetch, each as one tar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import NotFound
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.fleet_tables import RolloutRow
from fedaffect.server.registry.tables import BundleRow


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleEntry:
    """A bundle's tar.

    Parameters
    ----------
    version : str
    path : Path
        The tar.
    sha256 : str
        Of the tar.
    size_bytes : int
    created : datetime
    offered : datetime, optional
        Since when devices get it; the one offered last is the newest.
    """

    version: str
    path: Path
    sha256: str
    size_bytes: int
    created: datetime
    offered: datetime | None


def add(registry: Registry, *, version: str, path: Path, sha256: str, size_bytes: int) -> BundleEntry:
    """Register a tar, not yet offered; the same content under the same version again changes nothing.

    Raises
    ------
    ConfigError
        If the version is taken by other content.
    """
    row = BundleRow(
        version=version,
        path=str(path.absolute()),
        sha256=sha256,
        size_bytes=size_bytes,
        created=datetime.now(UTC),
        offered=None,
    )
    try:
        with registry.writing() as session:
            session.add(row)
            session.flush()
            return _record(row)
    except IntegrityError as error:
        known = _find(registry, version)
        if known is not None and known.sha256 == sha256:
            return known
        raise ConfigError(f"bundle version {version!r} is registered with other content; build it again") from error


def offer(registry: Registry, version: str, *, offered: bool = True) -> BundleEntry:
    """Offer a bundle to devices as the newest one, or withdraw it.

    Raises
    ------
    NotFound
        If it is not registered.
    """
    with registry.writing() as session:
        row = session.get(BundleRow, version)
        if row is None:
            raise NotFound(f"no bundle has the version {version!r}; see fedaffect server bundles list")
        row.offered = datetime.now(UTC) if offered else None
        session.flush()
        return _record(row)


def get_offered(registry: Registry, version: str = "") -> BundleEntry:
    """The bundle with a version, which may also be staged by a rollout, or the one offered last.

    Raises
    ------
    NotFound
        If it is not registered or not offered.
    """
    with registry.reading() as session:
        offered: ColumnElement[bool] = BundleRow.offered.is_not(None)
        if version:
            staged = select(RolloutRow.bundle_version).where(RolloutRow.state == "staged")
            offered = (BundleRow.version == version) & (offered | BundleRow.version.in_(staged))
        query = select(BundleRow).where(offered)
        row = session.scalars(query.order_by(BundleRow.offered.desc()).limit(1)).first()
        if row is None:
            raise NotFound(
                f"no bundle {version!r} is offered; leave the version out to get the newest"
                if version
                else "no bundle is offered; offer one with fedaffect server bundles offer VERSION"
            )
        return _record(row)


def every(registry: Registry) -> list[BundleEntry]:
    """All bundles, oldest first."""
    with registry.reading() as session:
        rows = session.scalars(select(BundleRow).order_by(BundleRow.created, BundleRow.version))
        return [_record(row) for row in rows]


def _find(registry: Registry, version: str) -> BundleEntry | None:
    with registry.reading() as session:
        row = session.get(BundleRow, version)
        return _record(row) if row else None


def _record(row: BundleRow) -> BundleEntry:
    return BundleEntry(
        version=row.version,
        path=Path(row.path),
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        created=row.created,
        offered=row.offered,
    )
