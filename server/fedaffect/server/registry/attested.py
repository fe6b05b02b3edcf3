"""Whether devices and keys are as the audit log tells it: who may take part is what a forger would want to change.

What the log tells is replayed from its entries. Where its beginning was archived, the entry that says so carries what
the archived entries had told, and goes on from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedaffect.server.registry.audit_tables import AuditRow
from fedaffect.server.registry.errors import AuditBroken
from fedaffect.server.registry.fleet_tables import DeviceRow, KeyRow

TELLING: Final = (
    *("token.made", "token.ended"),
    *("device.enrolled", "device.approved", "device.grouped", "device.labelled", "device.consent", "device.revoked"),
    *("key.rotated", "key.revoked"),
)
_REMEDY: Final = "the database was changed behind the log; restore a backup and compare"
# Between the look at a token and the entry that tells of it.
_SLACK: Final = timedelta(minutes=1)


@dataclass(slots=True)
class ToldToken:
    """A token as the log tells it; ``until`` is when it runs out, ISO 8601, ``uses`` how many it still lets in."""

    until: str
    uses: int = 1
    approval: bool = False
    group: str = ""
    region: bool = False


@dataclass(slots=True)
class ToldDevice:
    """A device as the log tells it."""

    partition: int
    consent: bool
    revoked: bool = False
    waiting: bool = False
    group: str = ""
    labels: list[str] = field(default_factory=list)
    region: bool = False

    @property
    def status(self) -> str:
        """As the registry writes it."""
        return "revoked" if self.revoked else "waiting" if self.waiting else "enrolled"


@dataclass(slots=True)
class ToldKey:
    """A key as the log tells it; ``until`` is when it runs out, ISO 8601."""

    kind: str
    owner: str
    until: str
    revoked: bool = False


@dataclass(slots=True)
class Told:
    """What entries of the log say of who may take part.

    Parameters
    ----------
    devices : dict of str to ToldDevice
        By id.
    keys : dict of str to ToldKey
        By fingerprint.
    tokens : dict of str to ToldToken
        Those that still let somebody in, by id.
    """

    devices: dict[str, ToldDevice] = field(default_factory=dict)
    keys: dict[str, ToldKey] = field(default_factory=dict)
    tokens: dict[str, ToldToken] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[AuditRow], before: Told | None = None) -> Told:
        """What entries tell after those before them.

        Raises
        ------
        AuditBroken
            If they tell what cannot have happened: somebody came in without a token of the log.
        """
        told = before or cls()
        for entry in entries:
            told.take(entry, json.loads(entry.details))
        return told

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> Told:
        """As :meth:`written` wrote it."""
        return cls(
            {device: ToldDevice(**values) for device, values in said["devices"].items()},
            {fingerprint: ToldKey(**values) for fingerprint, values in said["keys"].items()},
            # A log that was archived before tokens let several devices in says only when they run out.
            {token: ToldToken(**({"until": t} if isinstance(t, str) else t)) for token, t in said["tokens"].items()},
        )

    def written(self, now: datetime) -> dict[str, Any]:
        """For an entry of the log; tokens that ran out are left out."""
        usable = {token: asdict(t) for token, t in self.tokens.items() if datetime.fromisoformat(t.until) > now}
        return asdict(self) | {"tokens": usable}

    def take(self, entry: AuditRow, said: dict[str, Any]) -> None:
        """What one more entry tells, whose details were read already."""
        match entry.action:
            case "token.made":
                uses, approval = int(said.get("uses", 1)), bool(said.get("approval", False))
                self.tokens[entry.subject] = ToldToken(
                    said["expires"], uses, approval, said.get("group", ""), bool(said.get("region", False))
                )
            case "token.ended":
                self.tokens.pop(entry.subject, None)
            case "device.enrolled":
                self._enroll(entry, said)
            case "device.consent" if entry.subject in self.devices:
                self.devices[entry.subject].consent = bool(said["consent"])
            case "device.approved" if entry.subject in self.devices:
                self.devices[entry.subject].waiting = False
            case "device.grouped" if entry.subject in self.devices:
                self.devices[entry.subject].group = said["group"]
            case "device.labelled" if entry.subject in self.devices:
                self.devices[entry.subject].labels = list(said["labels"])
            case "device.revoked" if entry.subject in self.devices:
                self.devices[entry.subject].revoked = True
                for key in self.keys.values():
                    key.revoked |= (key.kind, key.owner) == ("device", entry.subject)
            case "key.revoked" if said["fingerprint"] in self.keys:
                self.keys[said["fingerprint"]].revoked = True
            case "key.rotated":
                self._rotate(entry, said)
            case _:
                pass

    def _enroll(self, entry: AuditRow, said: dict[str, Any]) -> None:
        name = entry.actor.removeprefix("token:")
        token = self.tokens.get(name)
        if token is None or datetime.fromisoformat(token.until) + _SLACK < entry.at:
            raise AuditBroken(f"device {entry.subject} was enrolled by a token that let nobody in: {_REMEDY}")
        waiting, group = said.get("status") == "waiting", said.get("group", "")
        region = bool(said.get("region", False))
        if (waiting, group, region) != (token.approval, token.group, token.region):
            raise AuditBroken(f"device {entry.subject} was enrolled otherwise than its token says: {_REMEDY}")
        token.uses -= 1
        if not token.uses:
            del self.tokens[name]
        if entry.subject in self.devices or said["fingerprint"] in self.keys:
            raise AuditBroken(f"device {entry.subject} or its key was enrolled twice: {_REMEDY}")
        self.devices[entry.subject] = ToldDevice(
            int(said["partition"]), bool(said["consent"]), waiting=waiting, group=group, region=bool(said.get("region"))
        )
        self.keys[said["fingerprint"]] = ToldKey("device", entry.subject, said["key_until"])

    def _rotate(self, entry: AuditRow, said: dict[str, Any]) -> None:
        kind, _, owner = entry.subject.partition("/")
        for fingerprint, until in (
            (said["old"], said["old_until"]),
            *((e, entry.at.isoformat()) for e in said["ended"]),
        ):
            if fingerprint in self.keys:
                self.keys[fingerprint].until = until
        self.keys[said["new"]] = ToldKey(kind, owner, said["new_until"])


def check_devices(session: Session, archived: int) -> None:
    """Hold the rows of devices and keys against what the log says of them.

    Parameters
    ----------
    session : Session
    archived : int
        The last entry that is in the log no more.

    Raises
    ------
    AuditBroken
        If a device or key is not as the log tells it, naming it.
    """
    before = told_before(session, archived)
    query = select(AuditRow).where(AuditRow.action.in_(TELLING)).order_by(AuditRow.id)
    with session.execute(query.execution_options(yield_per=500)) as result:
        told = Told.of(result.scalars(), before)
    rows = {row.id: row for row in session.scalars(select(DeviceRow).order_by(DeviceRow.id))}
    for device, row in rows.items():
        if (said := told.devices.get(device)) is None:
            raise AuditBroken(f"the audit log has no enrolment of device {device}: {_REMEDY}")
        if said.status != row.status:
            raise AuditBroken(f"device {device} is {row.status}, and the audit log says otherwise: {_REMEDY}")
        if (said.consent, said.partition) != (row.consent, row.partition):
            raise AuditBroken(f"consent or partition of device {device} are not what the audit log says: {_REMEDY}")
        if said.region != (row.region is not None):
            raise AuditBroken(f"whether device {device} is a region is not what the audit log says: {_REMEDY}")
        if (said.group, said.labels) != (row.group, row.labels):
            raise AuditBroken(f"group or labels of device {device} are not what the audit log says: {_REMEDY}")
    if lost := sorted(set(told.devices) - set(rows)):
        raise AuditBroken(f"device {lost[0]} is gone, and the audit log enrolled it: {_REMEDY}")
    for key in session.scalars(select(KeyRow).order_by(KeyRow.id)):
        _check_key(key, told.keys.get(key.fingerprint))


def told_before(session: Session, archived: int) -> Told:
    """What entries told that were archived, up to that one; nothing where none were.

    Raises
    ------
    AuditBroken
        If no entry says so.
    """
    if not archived:
        return Told()
    query = select(AuditRow).where(AuditRow.action == "audit.archived").order_by(AuditRow.id.desc())
    for entry in session.scalars(query):
        said = json.loads(entry.details)
        if said.get("last_id") == archived and "told" in said:
            return Told.parse(said["told"])
    raise AuditBroken(f"no entry of the audit log says what those up to {archived} told: {_REMEDY}")


def _check_key(key: KeyRow, said: ToldKey | None) -> None:
    name = f"key {key.fingerprint[:16]}… of {key.kind} {key.owner}"
    if said is None:
        raise AuditBroken(f"the audit log has no {name}: {_REMEDY}")
    if (said.kind, said.owner) != (key.kind, key.owner) or hashlib.sha256(
        key.public.encode()
    ).hexdigest() != key.fingerprint:
        raise AuditBroken(f"{name} is another's, or another key, by the audit log: {_REMEDY}")
    if said.revoked != (key.revoked is not None):
        state = "does not count" if key.revoked else "counts"
        raise AuditBroken(f"{name} {state}, and the audit log says otherwise: {_REMEDY}")
    if key.not_after > datetime.fromisoformat(said.until):
        raise AuditBroken(f"{name} counts for longer than the audit log says: {_REMEDY}")
