"""Figures of a fleet for those who watch it: counted by the database, and never by device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import case, func, select

from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.fleet_tables import DeviceRow
from fedaffect.server.registry.run_tables import PrivacyRow, RunRow
from fedaffect.server.registry.transactions import database_now


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFigures:
    """How many devices there are.

    Parameters
    ----------
    by_status : mapping of str to int
        ``enrolled``, ``waiting``, ``revoked``.
    consenting : int
        Enrolled ones whose users agree to learning.
    heard : mapping of float to int
        Enrolled ones that were heard of within so many seconds.
    """

    by_status: Mapping[str, int]
    consenting: int
    heard: Mapping[float, int]


def of_devices(registry: Registry, within_s: Sequence[float]) -> DeviceFigures:
    """Count the devices.

    Parameters
    ----------
    registry : Registry
    within_s : sequence of float
        Ages, in seconds, for ``heard``.
    """
    enrolled = DeviceRow.status == "enrolled"
    with registry.reading() as session:
        now = database_now(session)
        by_status = session.execute(select(DeviceRow.status, func.count().label("devices")).group_by(DeviceRow.status))
        counts = {row.status: row.devices for row in by_status}
        since = [DeviceRow.last_seen >= now - timedelta(seconds=age) for age in within_s]
        sums = [func.sum(case((condition, 1), else_=0)) for condition in (DeviceRow.consent, *since)]
        consenting, *heard = session.execute(select(*sums).where(enrolled)).one()
    return DeviceFigures(
        by_status=counts,
        consenting=int(consenting or 0),
        heard={age: int(count or 0) for age, count in zip(within_s, heard, strict=True)},
    )


def of_runs(registry: Registry) -> dict[str, int]:
    """How many runs are in each state."""
    with registry.reading() as session:
        found = session.execute(select(RunRow.state, func.count().label("runs")).group_by(RunRow.state))
        return {row.state: row.runs for row in found}


class SpentPrivacy:
    """The largest ε that was recorded, by device and by run; the ledger only grows, so each look reads what is new.

    Attributes
    ----------
    by_device : dict of str to float
        Over each device's lifetime.
    by_run : dict of str to float
        Of a run with central noise, what it cost every client; of one with local noise, the largest lifetime ε of a
        device that took part.
    """

    def __init__(self) -> None:
        self.by_device: dict[str, float] = {}
        self.by_run: dict[str, float] = defaultdict(float)
        self._last = 0

    def look(self, registry: Registry) -> None:
        """Take in charges since the last look."""
        row = PrivacyRow
        query = select(row.run_id, row.device_id, func.max(row.epsilon), func.max(row.id)).where(row.id > self._last)
        with registry.reading() as session:
            for run_id, device_id, epsilon, last in session.execute(query.group_by(row.run_id, row.device_id)).all():
                self.by_run[run_id] = max(self.by_run[run_id], epsilon)
                if device_id:
                    self.by_device[device_id] = max(self.by_device.get(device_id, 0.0), epsilon)
                self._last = max(self._last, last)
