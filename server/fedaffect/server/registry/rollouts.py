"""Rollouts: a bundle goes to a part of the devices first, and back if they find it worse on their own examples."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import NotFound
from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import DeviceRefused, RolloutConflict
from fedaffect.server.registry.fleet_tables import DeviceRow, RolloutReportRow, RolloutRow
from fedaffect.server.registry.tables import BundleRow
from fedaffect.server.registry.transactions import database_now, lock

# No device counts for more than so many examples: one that lies about its number should not decide alone.
_MOST_EXAMPLES: Final = 200
# A change within so many deviations of the devices' own noise is no change.
_DEVIATIONS: Final = 2.0
_NOISE: Final = "noise"
_LOCK: Final = "rollouts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A bundle on its way.

    Parameters
    ----------
    id : int
    bundle_version : str
    percent : float
        Of devices that get it; always the same ones, and more as it grows.
    state : str
        ``staged``, ``complete`` (all have it, and another one came after it) or ``rolled-back``.
    tolerance : float
        By how much the devices' figure may be worse before it is rolled back.
    min_examples : int
        Examples reported before anything is decided.
    reports : int
        Devices that reported.
    examples : int
        Examples that count, at most 200 of a device.
    better, worse : int
        Devices that found more of their examples answered right than before, or fewer, beyond the noise they added.
    change : float, optional
        Mean of after minus before over those examples; None before the first report.
    noise : float
        Standard deviation of what devices added to that mean.
    reason : str
        Why it was rolled back.
    created, changed : datetime
    """

    id: int
    bundle_version: str
    percent: float
    state: str
    tolerance: float
    min_examples: int
    reports: int
    examples: int
    better: int
    worse: int
    change: float | None
    noise: float
    reason: str
    created: datetime
    changed: datetime


def stage(
    registry: Registry,
    version: str,
    percent: float,
    *,
    tolerance: float = 0.02,
    min_examples: int = 20,
    actor: str = "operator",
) -> Rollout:
    """Give a registered bundle to so many percent of devices; called again, to more of them.

    At 100 percent all are offered it, and what they find can still take it back; it is complete once another one is
    staged.

    Raises
    ------
    NotFound
        If the bundle is not registered.
    RolloutConflict
        If another bundle is staged, this one was rolled back, or has more devices already.
    ConfigError
        If the numbers make no sense.
    """
    if not 0 < percent <= 100:
        raise ConfigError(f"{percent:g} % of devices cannot get a bundle; give more than 0 and at most 100")
    if not 0 <= tolerance < 1 or min_examples < 1:
        raise ConfigError("a rollout wants a tolerance in [0, 1) and at least 1 example")
    with registry.writing() as session:
        lock(session, _LOCK)
        bundle = session.get(BundleRow, version)
        if bundle is None:
            raise NotFound(f"no bundle has the version {version!r}; register it with fedaffect server bundles add")
        now = database_now(session)
        row = _stageable(session, version, percent, actor)
        if row is None:
            row = RolloutRow(bundle_version=version, state="staged", reason="", created=now)
            session.add(row)
        row.percent, row.changed = float(percent), now
        row.tolerance, row.min_examples = tolerance, min_examples
        if percent == 100:
            bundle.offered = datetime.now(UTC)
        session.flush()
        audit.append(session, f"rollout.{row.state}", subject=version, actor=actor, percent=row.percent)
        return _record(session, row)


def _stageable(session: Session, version: str, percent: float, actor: str) -> RolloutRow | None:
    staged = _staged(session)
    if staged is not None and staged.bundle_version != version and staged.percent == 100:
        # All have it, and nobody found it worse.
        staged.state = "complete"
        session.flush()
        audit.append(session, "rollout.complete", subject=staged.bundle_version, actor=actor, percent=100.0)
        staged = None
    if staged is not None and staged.bundle_version != version:
        raise RolloutConflict(
            f"bundle {staged.bundle_version} is staged at {staged.percent:g} %; complete it or roll it back first"
        )
    if staged is not None and staged.percent > percent:
        raise RolloutConflict(
            f"bundle {version} has {staged.percent:g} % of devices already; give more, or roll it back"
        )
    before = session.scalars(
        select(RolloutRow).where(RolloutRow.bundle_version == version).order_by(RolloutRow.id.desc()).limit(1)
    ).first()
    if before is not None and before.state == "rolled-back":
        raise RolloutConflict(f"bundle {version} was rolled back ({before.reason}); build a better one")
    return staged


def report(
    registry: Registry,
    device_id: str,
    version: str,
    *,
    metric: str,
    before: float,
    after: float,
    examples: int,
    noise: float = 0.0,
) -> Rollout:
    """Take what a device found on its own labelled examples; a change for the worse rolls the bundle back.

    It is rolled back when, over all examples reported so far (at most 200 of a device) and at least
    ``min_examples``, the mean of ``after - before`` is below ``-tolerance`` by more than twice the deviation of the
    noise that devices added to it. A device that reports again replaces
    what it said.

    Parameters
    ----------
    registry : Registry
    device_id, version : str
    metric : str
        The greater the better, in [0, 1]: ``uar``, ``accuracy``.
    before, after : float
        With the bundle it had and with the new one.
    examples : int
    noise : float
        Standard deviation of the device's own noise in ``after - before``.

    Raises
    ------
    RolloutConflict
        If that bundle is not staged, or the device is not among those that got it.
    DeviceRefused
        If the device is not enrolled.
    ConfigError
        If the figures are out of range.
    """
    if not all(math.isfinite(figure) and 0 <= figure <= 1 for figure in (before, after, noise)) or examples < 1:
        raise ConfigError(f"{metric} {before} before and {after} after on {examples} examples is no evaluation")
    with registry.writing() as session:
        lock(session, _LOCK)
        row = _staged(session)
        if row is None or row.bundle_version != version:
            raise RolloutConflict(f"bundle {version} is not staged now; the device keeps what it is given")
        device = session.get(DeviceRow, device_id)
        if device is None or device.status != "enrolled":
            raise DeviceRefused(f"no device {device_id!r} is enrolled; its evaluation does not count")
        if not in_stage(version, device_id, row.percent):
            raise RolloutConflict(f"device {device_id!r} is not among the {row.percent:g} % that got bundle {version}")
        now = database_now(session)
        found = session.get(RolloutReportRow, (row.id, device_id))
        if found is None:
            found = RolloutReportRow(rollout_id=row.id, device_id=device_id, details={})
            session.add(found)
        found.metric, found.before, found.after = metric[:50], before, after
        found.examples, found.reported, found.details = examples, now, {_NOISE: noise}
        session.flush()
        rollout = _record(session, row)
        worse = rollout.change is not None and rollout.change < -row.tolerance - _DEVIATIONS * rollout.noise
        if worse and rollout.examples >= row.min_examples:
            over = f"over {rollout.examples} examples of {rollout.reports} devices"
            said = f"{metric} changed by {rollout.change:+.3f} {over}"
            _roll_back(session, row, said, now, actor=f"device:{device_id}")
        return _record(session, row)


def roll_back(registry: Registry, *, reason: str, actor: str = "operator") -> Rollout:
    """Take the staged bundle back from the devices that have it, or the one that was rolled out to all last.

    Raises
    ------
    RolloutConflict
        If there is neither.
    """
    with registry.writing() as session:
        lock(session, _LOCK)
        row = _staged(session) or _offered_last(session)
        if row is None:
            raise RolloutConflict(
                "no bundle is rolled out; withdraw one offered to all with fedaffect server bundles offer"
            )
        _roll_back(session, row, reason, database_now(session), actor=actor)
        return _record(session, row)


def version_for(registry: Registry, device_id: str) -> str | None:
    """The bundle that a device should run now: the staged one if it is among its devices, else the one offered last."""
    with registry.reading() as session:
        row = _staged(session)
        if row is not None and in_stage(row.bundle_version, device_id, row.percent):
            return row.bundle_version
        offered = select(BundleRow).where(BundleRow.offered.is_not(None)).order_by(BundleRow.offered.desc()).limit(1)
        bundle = session.scalars(offered).first()
        return bundle.version if bundle else None


def withdrawn(registry: Registry) -> list[str]:
    """Bundles that went to devices and are to be used no more: rolled back, or offered to all and withdrawn since.

    A device goes back from these alone, and from one in use to an older one only where that is among them.
    """
    again = select(RolloutRow.bundle_version).where(RolloutRow.state == "staged")
    taken_back = (RolloutRow.state == "complete") & BundleRow.offered.is_(None) & BundleRow.version.not_in(again)
    query = select(RolloutRow.bundle_version).join(BundleRow, BundleRow.version == RolloutRow.bundle_version)
    with registry.reading() as session:
        found = session.scalars(query.where((RolloutRow.state == "rolled-back") | taken_back))
        return sorted(set(found))


def in_stage(version: str, device_id: str, percent: float) -> bool:
    """Whether a device is among the first so many percent for a bundle; once in, it stays in as they grow."""
    digest = hashlib.sha256(f"{version}\n{device_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * 100 < percent


def staged(registry: Registry) -> Rollout | None:
    """The rollout under way, or None."""
    with registry.reading() as session:
        row = _staged(session)
        return _record(session, row) if row else None


def every(registry: Registry) -> list[Rollout]:
    """All rollouts, newest first."""
    with registry.reading() as session:
        rows = session.scalars(select(RolloutRow).order_by(RolloutRow.id.desc()))
        return [_record(session, row) for row in rows]


def _roll_back(session: Session, row: RolloutRow, reason: str, now: datetime, *, actor: str) -> None:
    row.state, row.reason, row.changed = "rolled-back", reason[:500], now
    bundle = session.get_one(BundleRow, row.bundle_version)
    bundle.offered = None
    session.flush()
    audit.append(
        session,
        "rollout.rolled-back",
        subject=row.bundle_version,
        actor=actor,
        reason=reason[:500],
        percent=row.percent,
    )


def _offered_last(session: Session) -> RolloutRow | None:
    """The rollout of the bundle that was offered last, if that was rolled out."""
    offered = select(BundleRow).where(BundleRow.offered.is_not(None)).order_by(BundleRow.offered.desc()).limit(1)
    if (bundle := session.scalars(offered).first()) is None:
        return None
    completed = select(RolloutRow).where(RolloutRow.bundle_version == bundle.version, RolloutRow.state == "complete")
    return session.scalars(completed.order_by(RolloutRow.id.desc()).limit(1)).first()


def _staged(session: Session) -> RolloutRow | None:
    return session.scalars(select(RolloutRow).where(RolloutRow.state == "staged")).first()


def _record(session: Session, row: RolloutRow) -> Rollout:
    found = list(session.scalars(select(RolloutReportRow).where(RolloutReportRow.rollout_id == row.id)))
    weights = [min(each.examples, _MOST_EXAMPLES) for each in found]
    total = sum(weights)
    gained = sum(weight * (each.after - each.before) for weight, each in zip(weights, found, strict=True))
    return Rollout(
        id=row.id,
        bundle_version=row.bundle_version,
        percent=row.percent,
        state=row.state,
        tolerance=row.tolerance,
        min_examples=row.min_examples,
        reports=len(found),
        examples=total,
        better=sum(_beyond_noise(each.after - each.before, each) for each in found),
        worse=sum(_beyond_noise(each.before - each.after, each) for each in found),
        change=gained / total if total else None,
        noise=math.hypot(*(w * each.details.get(_NOISE, 0.0) for w, each in zip(weights, found, strict=True)))
        / max(1, total),
        reason=row.reason,
        created=row.created,
        changed=row.changed,
    )


def _beyond_noise(gain: float, report: RolloutReportRow) -> bool:
    return gain > _DEVIATIONS * float(report.details.get(_NOISE, 0.0))
