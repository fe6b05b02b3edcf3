"""Devices: let in once by a token, known by their keys, asked only with consent, kept out when revoked."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit, keys, tokens
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import DeviceRefused, EnrolmentRefused, KeyRefused
from fedaffect.server.registry.fleet_tables import DeviceRow, EnrolmentTokenRow, KeyRow
from fedaffect.server.registry.transactions import database_now, lock

_KEY_VALID: Final = timedelta(days=365)
MODALITIES: Final = ("face", "voice", "text", "context")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a device says it can do.

    Parameters
    ----------
    modalities : tuple of str
        Streams that it records.
    memory_mb, cores : int
    """

    modalities: tuple[str, ...]
    memory_mb: int
    cores: int

    def __post_init__(self) -> None:
        if not self.modalities or not all(name and len(name) <= 50 for name in self.modalities):
            raise ConfigError("a device wants at least one modality, such as face, voice or text")
        if self.memory_mb < 1 or self.cores < 1 or max(self.memory_mb, self.cores) >= 2**31:
            raise ConfigError(f"a device with {self.memory_mb} MB and {self.cores} cores computes nothing; say both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as the registry knows it.

    Parameters
    ----------
    id, name : str
    status : str
        ``waiting`` for the operator's approval, ``enrolled`` or ``revoked``.
    capabilities : Capabilities
    partition : int
        Its number in every run, no other enrolled device's.
    consent : bool
        Whether it may be asked to learn.
    public_key : str
        Its newest key that counts now; empty if none does.
    node_id : int, optional
        Flower's number for that key.
    enrolled : datetime
    revoked, last_seen : datetime, optional
    reason : str
        Why it was revoked.
    group : str
        Which the operator put it into, for runs of a part of the fleet; empty for none.
    labels : tuple of str
        What else the operator noted.
    region : mapping, optional
        Of a region, which stands for devices of its own: how many those are, as it said last. None of a device.
    """

    id: str
    name: str
    status: str
    capabilities: Capabilities
    partition: int
    consent: bool
    public_key: str
    node_id: int | None
    enrolled: datetime
    revoked: datetime | None
    last_seen: datetime | None
    reason: str
    group: str
    labels: tuple[str, ...]
    region: Mapping[str, Any] | None = None


def enroll(
    registry: Registry,
    token: str,
    *,
    name: str,
    public_key: str,
    capabilities: Capabilities,
    consent: bool,
    partition: int | None = None,
    region: bool = False,
    refused: Callable[[str], None] | None = None,
) -> Device:
    """Let a device in. Its id follows from its first key, so that what it is called is not chosen by anybody.

    Where the token says so, it waits until the operator approves it. The same token with the same key again gives the
    same device: the first answer may have been lost. Without a ``partition`` it gets the next that no device ever had.

    Raises
    ------
    EnrolmentRefused
        If the token is unknown, used or expired, or not for what comes in, or the name, the key or the partition is
        taken; the audit log says so
        too, or whoever was given as ``refused`` is told instead.
    """
    if not name.strip() or len(name) > 200:
        raise ConfigError("a device wants a name of 1 to 200 characters")
    try:
        with registry.writing() as session:
            lock(session, tokens.ENROLMENT)
            row = tokens.of_secret(session, token)
            device_id = _device_id(public_key)
            known = session.get(DeviceRow, device_id)
            if known is not None and known.token_id == row.id:
                return record(session, known, database_now(session))
            return _enroll(session, row, device_id, name.strip(), public_key, capabilities, consent, partition, region)
    except EnrolmentRefused as error:
        if refused is None:
            audit.write(registry, "enrolment.refused", subject=name, actor="device", why=str(error))
        else:
            refused(str(error))
        raise


def _enroll(
    session: Session,
    token: EnrolmentTokenRow,
    device_id: str,
    name: str,
    public_key: str,
    capabilities: Capabilities,
    consent: bool,
    partition: int | None,
    region: bool,
) -> Device:
    now = database_now(session)
    tokens.require_usable(session, token, now)
    tokens.require_meant_for(token, region)
    if session.get(DeviceRow, device_id) is not None:
        raise EnrolmentRefused("a device with this key was enrolled before; make a new key on the device")
    named = select(DeviceRow).where(DeviceRow.name == name, DeviceRow.status != "revoked")
    if session.scalars(named).first() is not None:
        raise EnrolmentRefused(f"a device named {name!r} is enrolled; choose another name, or revoke that one")
    place = _free_partition(session, partition)
    row = DeviceRow(
        id=device_id,
        name=name,
        status="waiting" if token.approval else "enrolled",
        modalities=list(capabilities.modalities),
        memory_mb=capabilities.memory_mb,
        cores=capabilities.cores,
        partition=place,
        consent=consent,
        consent_changed=now,
        enrolled=now,
        reason="",
        token_id=token.id,
        group=token.group,
        labels=[],
        region={} if region else None,
    )
    session.add(row)
    session.flush()
    key = keys.insert(
        session, kind="device", owner=device_id, public=public_key, not_before=now, not_after=now + _KEY_VALID
    )
    audit.append(
        session,
        "device.enrolled",
        subject=device_id,
        actor=f"token:{token.id}",
        name=name,
        fingerprint=key.fingerprint,
        key_until=key.not_after.isoformat(),
        consent=consent,
        modalities=list(capabilities.modalities),
        memory_mb=capabilities.memory_mb,
        cores=capabilities.cores,
        partition=place,
        status=row.status,
        group=row.group,
        **({"region": True} if region else {}),
    )
    return record(session, row, now)


def _free_partition(session: Session, wanted: int | None) -> int:
    taken = {row.partition: row for row in session.scalars(select(DeviceRow).order_by(DeviceRow.enrolled))}
    if wanted is None:
        return next(number for number in itertools.count() if number not in taken)
    enrolled = select(DeviceRow).where(DeviceRow.partition == wanted, DeviceRow.status != "revoked")
    if (other := session.scalars(enrolled).first()) is not None:
        raise EnrolmentRefused(f"partition {wanted} is device {other.name!r}'s; choose another, or revoke that one")
    return wanted


def rotate_key(
    registry: Registry,
    device_id: str,
    public_key: str,
    *,
    overlap: timedelta = timedelta(days=1),
) -> Device:
    """Give a device a new key while the old one still counts, see :func:`fedaffect.server.registry.keys.rotate`.

    Flower knows the new key under another node: tell its number to :func:`fedaffect.server.registry.keys.set_node`.

    Raises
    ------
    DeviceRefused
        If the device is unknown or revoked.
    KeyRefused
        If the key is taken.
    """
    with registry.reading() as session:
        if row_of(session, device_id).status != "enrolled":
            raise DeviceRefused(f"device {device_id!r} is revoked; enroll it again")
        end = database_now(session) + _KEY_VALID
    keys.rotate(
        registry,
        kind="device",
        owner=device_id,
        public=public_key,
        not_after=end,
        overlap=overlap,
        actor=f"device:{device_id}",
    )
    return get(registry, device_id)


def retire_keys(registry: Registry, device_id: str, keep: str) -> list[keys.Key]:
    """Refuse every key of a device but one from now on; again, and nothing changes.

    Parameters
    ----------
    keep : str
        The public key that stays.

    Returns
    -------
    list of Key
        All others that the device ever had.

    Raises
    ------
    KeyRefused
        If the one to be kept is none of the device's that counts now.
    """
    counting = keys.of(registry, "device", device_id)
    if keys.fingerprint(keep) not in {key.fingerprint for key in counting}:
        raise KeyRefused("the key to be kept is none of this device's that counts; rotate first")
    others = [
        key
        for key in keys.of(registry, "device", device_id, valid_now=False)
        if key.fingerprint != keys.fingerprint(keep)
    ]
    for key in others:
        if key.revoked is None:
            keys.revoke(registry, key.id, reason="rotated", actor=f"device:{device_id}")
    return others


def revoke(registry: Registry, device_id: str, *, reason: str, actor: str = "operator") -> Device:
    """Keep a device and all its keys out from now on; one revoked before keeps its time.

    Raises
    ------
    DeviceRefused
        If there is none with that id or name.
    """
    with registry.writing() as session:
        row = row_of(session, device_id)
        now = database_now(session)
        if row.status != "revoked":
            row.status, row.revoked, row.reason = "revoked", now, reason[:500]
            query = select(KeyRow).where(KeyRow.kind == "device", KeyRow.owner == row.id).order_by(KeyRow.fingerprint)
            held = list(session.scalars(query))
            for key in held:
                key.revoked = key.revoked or now
            audit.append(
                session,
                "device.revoked",
                subject=row.id,
                actor=actor,
                reason=reason[:500],
                name=row.name,
                fingerprints=[key.fingerprint for key in held],
            )
        session.flush()
        return record(session, row, now)


def set_consent(registry: Registry, device_id: str, consent: bool) -> Device:
    """Note that a device's user gives or takes back consent to learn.

    Raises
    ------
    DeviceRefused
        If there is none with that id or name.
    """
    with registry.writing() as session:
        row = row_of(session, device_id)
        now = database_now(session)
        if row.consent != consent:
            row.consent, row.consent_changed = consent, now
            audit.append(session, "device.consent", subject=row.id, actor=f"device:{row.id}", consent=consent)
        session.flush()
        return record(session, row, now)


def set_node(registry: Registry, device_id: str, node_id: int) -> Device:
    """Note Flower's number for a device's newest key.

    Raises
    ------
    DeviceRefused
        If there is no such device, or none of its keys counts now.
    KeyRefused
        If the number belongs to another key.
    """
    with registry.reading() as session:
        row = row_of(session, device_id)
        key = keys.newest(session, "device", row.id, database_now(session))
    if key is None:
        raise DeviceRefused(f"device {device_id!r} has no key that counts now; enroll it again, or rotate its key")
    keys.set_node(registry, key.id, node_id)
    return get(registry, device_id)


def seen(registry: Registry, device_ids: Sequence[str]) -> None:
    """Note that these devices were heard of now; not audited, it happens every round."""
    with registry.writing() as session:
        now = database_now(session)
        for row in session.scalars(select(DeviceRow).where(DeviceRow.id.in_(device_ids))):
            row.last_seen = now


def report_region(registry: Registry, device_id: str, said: Mapping[str, Any]) -> None:
    """Note what a region says of its devices; not audited, it does so all the time.

    Raises
    ------
    DeviceRefused
        If there is no region with that id.
    """
    with registry.writing() as session:
        row = session.get(DeviceRow, device_id)
        if row is None or row.region is None:
            raise DeviceRefused(f"device {device_id!r} is no region; join as one: fedaffect fleet region join")
        row.region, row.last_seen = dict(said), database_now(session)


def get(registry: Registry, device_id: str) -> Device:
    """One device by its id, or the one of that name that is not revoked.

    Raises
    ------
    DeviceRefused
        If there is none.
    """
    with registry.reading() as session:
        return record(session, row_of(session, device_id), database_now(session))


def every(registry: Registry) -> list[Device]:
    """All devices in the order they came, revoked ones too."""
    with registry.reading() as session:
        now = database_now(session)
        current = _current_keys(session, now)
        rows = session.scalars(select(DeviceRow).order_by(DeviceRow.enrolled, DeviceRow.id))
        return [_described(row, current.get(row.id)) for row in rows]


def nodes(registry: Registry) -> dict[int, Device]:
    """Flower's numbers of enrolled devices: of every key that counts now, so of two while a device changes its key."""
    known = {device.id: device for device in every(registry) if device.status == "enrolled"}
    with registry.reading() as session:
        now = database_now(session)
        query = select(KeyRow).where(
            KeyRow.kind == "device", KeyRow.node_id.is_not(None), KeyRow.revoked.is_(None), KeyRow.not_before <= now,
            KeyRow.not_after > now,
        )  # fmt: skip
        rows = session.scalars(query.order_by(KeyRow.created, KeyRow.id.desc()))
        return {row.node_id: known[row.owner] for row in rows if row.node_id is not None and row.owner in known}


def _device_id(public_key: str) -> str:
    return hashlib.sha256(b"fedaffect device " + keys.canonical(public_key).encode()).hexdigest()[:16]


def row_of(session: Session, device_id: str) -> DeviceRow:
    """The row of a device by its id, or of the one of that name that is not revoked.

    Raises
    ------
    DeviceRefused
        If there is none.
    """
    row = session.get(DeviceRow, device_id)
    if row is None:
        named = select(DeviceRow).where(DeviceRow.name == device_id, DeviceRow.status != "revoked")
        row = session.scalars(named).first()
    if row is None:
        raise DeviceRefused(f"no device has the id or name {device_id!r}; see fedaffect fleet devices list")
    return row


def _current_keys(session: Session, now: datetime) -> dict[str, KeyRow]:
    query = select(KeyRow).where(
        KeyRow.kind == "device", KeyRow.revoked.is_(None), KeyRow.not_before <= now, KeyRow.not_after > now
    )
    return {row.owner: row for row in session.scalars(query.order_by(KeyRow.created, KeyRow.id.desc()))}


def record(session: Session, row: DeviceRow, now: datetime) -> Device:
    """A row and its newest key."""
    return _described(row, keys.newest(session, "device", row.id, now))


def _described(row: DeviceRow, key: keys.Key | KeyRow | None) -> Device:
    return Device(
        id=row.id,
        name=row.name,
        status=row.status,
        capabilities=Capabilities(modalities=tuple(row.modalities), memory_mb=row.memory_mb, cores=row.cores),
        partition=row.partition,
        consent=row.consent,
        public_key=key.public if key else "",
        node_id=key.node_id if key else None,
        enrolled=row.enrolled,
        revoked=row.revoked,
        last_seen=row.last_seen,
        reason=row.reason,
        group=row.group,
        labels=tuple(row.labels),
        region=row.region,
    )
