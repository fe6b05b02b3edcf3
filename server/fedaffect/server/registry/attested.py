"""Whether devices and keys are as the audit log tells it: who may take part is what a forger would want to change."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedaffect.server.registry.audit_tables import AuditRow
from fedaffect.server.registry.errors import AuditBroken
from fedaffect.server.registry.fleet_tables import DeviceRow, KeyRow

_TELLING: Final = ("device.enrolled", "device.consent", "device.revoked", "key.revoked")
_REMEDY: Final = "the database was changed behind the log; restore a backup and compare"


def check_devices(session: Session, archived: int) -> None:
    """Hold the rows of devices and keys against what the log says of them last.

    Parameters
    ----------
    session : Session
    archived : int
        Entries that are in the log no more: where there are any, a device may have been enrolled in them.

    Raises
    ------
    AuditBroken
        If a device or key is not as the log tells it, naming it.
    """
    consent: dict[str, bool] = {}
    revoked: set[str] = set()
    enrolled: set[str] = set()
    retired: set[str] = set()
    query = select(AuditRow).where(AuditRow.action.in_(_TELLING)).order_by(AuditRow.id)
    for entry in session.scalars(query.execution_options(yield_per=500)):
        said: dict[str, Any] = json.loads(entry.details)
        if entry.action == "key.revoked":
            retired.add(str(said.get("fingerprint")))
        elif entry.action == "device.revoked":
            revoked.add(entry.subject)
        elif "consent" in said:
            consent[entry.subject] = bool(said["consent"])
        if entry.action == "device.enrolled":
            enrolled.add(entry.subject)
    for device in session.scalars(select(DeviceRow).order_by(DeviceRow.id)):
        if device.id not in enrolled and not archived:
            raise AuditBroken(f"the audit log has no enrolment of device {device.id}: {_REMEDY}")
        if (device.id in revoked) != (device.status == "revoked") and (device.id in enrolled or device.id in revoked):
            raise AuditBroken(f"device {device.id} is {device.status}, and the audit log says otherwise: {_REMEDY}")
        if consent.get(device.id, device.consent) != device.consent:
            raise AuditBroken(f"the consent of device {device.id} is not what the audit log says: {_REMEDY}")
    for key in session.scalars(select(KeyRow).where(KeyRow.revoked.is_(None))):
        if key.fingerprint in retired or (key.kind == "device" and key.owner in revoked):
            raise AuditBroken(f"a key of {key.kind} {key.owner} counts that the audit log calls revoked: {_REMEDY}")
