"""What the operator says of devices: which may take part, which group each is in, what else is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.devices import Device, record, row_of
from fedaffect.server.registry.errors import DeviceRefused
from fedaffect.server.registry.fleet_tables import DeviceRow
from fedaffect.server.registry.transactions import database_now

LONGEST: Final = 100
_MOST_LABELS: Final = 20


def approve(registry: Registry, named: Sequence[str], *, actor: str = "operator") -> list[Device]:
    """Let devices take part that wait for it; one that was approved before stays so. All of them, or none.

    Parameters
    ----------
    registry : Registry
    named : sequence of str
        Ids or names.
    actor : str
        Who approves, for the audit log.

    Raises
    ------
    DeviceRefused
        If one of them is unknown or revoked.
    """

    def change(session: Session, row: DeviceRow) -> None:
        if row.status == "revoked":
            raise DeviceRefused(f"device {row.name!r} is revoked and cannot be approved; it has to enrol again")
        if row.status == "waiting":
            row.status = "enrolled"
            audit.append(session, "device.approved", subject=row.id, actor=actor, name=row.name)

    return _each(registry, named, change)


def set_group(registry: Registry, named: Sequence[str], group: str) -> list[Device]:
    """Put devices into a group, out of the one they were in; ``""`` takes them out. All of them, or none.

    Raises
    ------
    DeviceRefused
        If one of them is unknown.
    """

    def change(session: Session, row: DeviceRow) -> None:
        if row.group != group:
            row.group = group
            audit.append(session, "device.grouped", subject=row.id, actor="operator", group=group)

    return _each(registry, named, change)


def set_labels(
    registry: Registry, named: Sequence[str], add: Iterable[str] = (), remove: Iterable[str] = ()
) -> list[Device]:
    """Add labels to devices and take others away. All of them, or none.

    Raises
    ------
    DeviceRefused
        If one of them is unknown.
    ConfigError
        If one would have more than 20 labels.
    """
    added, removed = set(add), set(remove)

    def change(session: Session, row: DeviceRow) -> None:
        labels = sorted((set(row.labels) | added) - removed)
        if len(labels) > _MOST_LABELS:
            raise ConfigError(f"device {row.name!r} would have {len(labels)} labels; {_MOST_LABELS} are the most")
        if labels != row.labels:
            row.labels = labels
            audit.append(session, "device.labelled", subject=row.id, actor="operator", labels=labels)

    return _each(registry, named, change)


def _each(registry: Registry, named: Sequence[str], change: Callable[[Session, DeviceRow], Any]) -> list[Device]:
    with registry.writing() as session:
        ids = dict.fromkeys(row_of(session, name).id for name in named)
        # Locked, or one that is revoked at the same moment could come back; in one order, so that no two wait for ever.
        locked = {
            each: session.get_one(DeviceRow, each, with_for_update=True, populate_existing=True) for each in sorted(ids)
        }
        rows = [locked[each] for each in ids]
        for row in rows:
            change(session, row)
        session.flush()
        now = database_now(session)
        return [record(session, row, now) for row in rows]
