"""Public keys and certificates of devices, servers and the CA: from when until when each counts, and what replaces it.

Rotation without a gap: the new key is registered while the old one still counts (:func:`rotate`), both are accepted
for as long as they overlap, and the old one runs out by itself. Private keys never come here.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    load_pem_public_key,
    load_ssh_public_identity,
)
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import KeyRefused
from fedaffect.server.registry.fleet_tables import DeviceRow, KeyRow
from fedaffect.server.registry.transactions import database_now, lock

KINDS: Final = ("device", "server", "ca", "operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key or certificate.

    Parameters
    ----------
    id, kind : str
        The kind is one of ``KINDS``.
    owner : str
        A device's id, or a server's name.
    public : str
        As :func:`canonical` writes it.
    fingerprint : str
        See :func:`fingerprint`.
    node_id : int, optional
        Flower's number for a device that signs with this key.
    not_before, not_after : datetime
    revoked : datetime, optional
    replaces : str, optional
        The id of the key before.
    """

    id: str
    kind: str
    owner: str
    public: str
    fingerprint: str
    node_id: int | None
    not_before: datetime
    not_after: datetime
    revoked: datetime | None
    replaces: str | None

    def valid(self, now: datetime) -> bool:
        """Whether it counts at that moment."""
        return self.revoked is None and self.not_before <= now < self.not_after


def canonical(public: str) -> str:
    """One text for one key or certificate, however it was written: OpenSSH's form without a comment, or PEM.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    try:
        data = public.strip().encode()
        if data.startswith(b"-----BEGIN CERTIFICATE-----"):
            return x509.load_pem_x509_certificate(data).public_bytes(Encoding.PEM).decode().strip()
        key = load_pem_public_key(data) if data.startswith(b"-----") else load_ssh_public_identity(data)
        if isinstance(key, SSHCertificate):
            key = key.public_key()
        return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError("this is no public key or certificate; give its text in OpenSSH's form or as PEM") from error


def fingerprint(public: str) -> str:
    """SHA-256 of the :func:`canonical` text, in hexadecimal: two texts of one key have one fingerprint."""
    return hashlib.sha256(canonical(public).encode()).hexdigest()


def insert(
    session: Session,
    *,
    kind: str,
    owner: str,
    public: str,
    not_before: datetime | None,
    not_after: datetime,
    replaces: str | None = None,
) -> Key:
    """Register a key or certificate in the caller's transaction; the same one for the same owner changes nothing.

    Parameters
    ----------
    not_before : datetime, optional
        Now if not given.

    Raises
    ------
    ConfigError
        If the kind is unknown or the validity is empty.
    KeyRefused
        If somebody else has that key.
    """
    if kind not in KINDS:
        raise ConfigError(f"no key is of the kind {kind!r}; known: {', '.join(KINDS)}")
    now = database_now(session)
    begins = not_before or now
    if not_after <= begins or not_after <= now:
        raise ConfigError(
            f"a key that counts from {begins:%Y-%m-%d %H:%M} until {not_after:%Y-%m-%d %H:%M} UTC never would; "
            "check both clocks and give a later end"
        )
    lock(session, f"key {kind} {owner}")
    digest = fingerprint(public)
    row = session.scalars(select(KeyRow).where(KeyRow.fingerprint == digest)).first()
    if row is not None:
        known = _record(row)
        if known.kind == kind and known.owner == owner and known.valid(now) and replaces is None:
            return known
        raise KeyRefused(
            f"the key {digest[:16]}… is registered for {known.kind} {known.owner!r} already"
            f"{'' if known.valid(now) else ' and no longer counts'}; make a new key"
        )
    row = KeyRow(
        id=secrets.token_hex(8),
        kind=kind,
        owner=owner,
        public=canonical(public),
        fingerprint=digest,
        not_before=begins,
        not_after=not_after,
        replaces=replaces,
        created=now,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise KeyRefused(f"the key {digest[:16]}… was registered just now by another; make a new key") from error
    return _record(row)


def rotate(
    registry: Registry,
    *,
    kind: str,
    owner: str,
    public: str,
    not_after: datetime,
    overlap: timedelta = timedelta(days=1),
    actor: str = "operator",
) -> Key:
    """Register the key that replaces the owner's newest one, which counts for ``overlap`` more and then runs out.

    Again with the same key, and nothing changes, so that a call whose answer was lost can be repeated.

    Raises
    ------
    KeyRefused
        If the owner has no key that counts now, or somebody else has this one.
    ConfigError
        If the overlap is negative or the new key would be over by the end of it.
    """
    if overlap < timedelta(0):
        raise ConfigError("an overlap cannot be negative; 0 replaces the key at once")
    with registry.writing() as session:
        lock(session, f"key {kind} {owner}")
        now = database_now(session)
        old = newest(session, kind, owner, now)
        if old is None:
            raise KeyRefused(f"{kind} {owner!r} has no key that counts now, so none can be replaced; register one")
        if old.fingerprint == fingerprint(public):
            return old
        if not_after <= now + overlap:
            raise ConfigError(
                f"the new key of {kind} {owner!r} would be over before the old one; give it a later end "
                f"than {now + overlap:%Y-%m-%d %H:%M} UTC"
            )
        key = insert(
            session, kind=kind, owner=owner, public=public, not_before=None, not_after=not_after, replaces=old.id
        )
        row = session.get_one(KeyRow, old.id)
        row.not_after = min(row.not_after, now + overlap)
        # Those before end now: each key that counts is one more to hold a signature against.
        ended: list[str] = []
        before = select(KeyRow).where(KeyRow.kind == kind, KeyRow.owner == owner, KeyRow.not_after > now)
        for earlier in session.scalars(before.where(KeyRow.id.not_in((old.id, key.id)))):
            earlier.not_after = now
            ended.append(earlier.fingerprint)
        audit.append(
            session,
            "key.rotated",
            subject=f"{kind}/{owner}",
            actor=actor,
            old=old.fingerprint,
            new=key.fingerprint,
            old_until=row.not_after.isoformat(),
            new_until=key.not_after.isoformat(),
            ended=sorted(ended),
        )
        return key


def revoke(registry: Registry, key_id: str, *, reason: str, actor: str = "operator") -> Key:
    """Refuse one key from now on; one revoked before keeps its time.

    Raises
    ------
    KeyRefused
        If there is none with that id.
    """
    with registry.writing() as session:
        row = session.get(KeyRow, key_id, with_for_update=True)
        if row is None:
            raise KeyRefused(f"no key has the id {key_id!r}; see fedaffect fleet status")
        if row.revoked is None:
            row.revoked = database_now(session)
            audit.append(
                session,
                "key.revoked",
                subject=f"{row.kind}/{row.owner}",
                actor=actor,
                fingerprint=row.fingerprint,
                reason=reason,
            )
        return _record(row)


def set_node(registry: Registry, key_id: str, node_id: int) -> Key:
    """Note Flower's number for a device's key, known once the SuperLink has registered it.

    Raises
    ------
    KeyRefused
        If there is no such key, or the number belongs to another one.
    """
    try:
        with registry.writing() as session:
            row = session.get(KeyRow, key_id, with_for_update=True)
            if row is None:
                raise KeyRefused(f"no key has the id {key_id!r}; see fedaffect fleet status")
            row.node_id = node_id
            session.flush()
            return _record(row)
    except IntegrityError as error:
        raise KeyRefused(f"node {node_id} is known under another key; register the device's own") from error


def of(registry: Registry, kind: str, owner: str, *, valid_now: bool = True) -> list[Key]:
    """An owner's keys, newest first; only those that count by the database's clock unless told otherwise."""
    with registry.reading() as session:
        now = database_now(session)
        query = select(KeyRow).where(KeyRow.kind == kind, KeyRow.owner == owner)
        found = [_record(row) for row in session.scalars(query.order_by(KeyRow.created.desc(), KeyRow.id))]
        return [key for key in found if key.valid(now) or not valid_now]


def counts_now(registry: Registry, kind: str, public: str) -> bool:
    """Whether a public key is registered for that kind of owner, not revoked, and valid by the database's clock.

    That of a device that waits for the operator's approval does not count yet.
    """
    with registry.reading() as session:
        key = by_fingerprint(session, fingerprint(public))
        if key is None or key.kind != kind or not key.valid(database_now(session)):
            return False
        device = session.get(DeviceRow, key.owner) if kind == "device" else None
        return device is None or device.status == "enrolled"


def by_fingerprint(session: Session, digest: str) -> Key | None:
    """The key with that fingerprint, whether it counts or not."""
    row = session.scalars(select(KeyRow).where(KeyRow.fingerprint == digest)).first()
    return _record(row) if row else None


def by_node(session: Session, node_id: int) -> Key | None:
    """The key that Flower knows under that number, whether it counts or not."""
    row = session.scalars(select(KeyRow).where(KeyRow.node_id == node_id)).first()
    return _record(row) if row else None


def newest(session: Session, kind: str, owner: str, now: datetime) -> Key | None:
    """The owner's newest key that counts at that moment."""
    query = select(KeyRow).where(KeyRow.kind == kind, KeyRow.owner == owner, KeyRow.revoked.is_(None))
    rows = session.scalars(query.order_by(KeyRow.created.desc(), KeyRow.id))
    return next((key for row in rows if (key := _record(row)).valid(now)), None)


def _record(row: KeyRow) -> Key:
    return Key(
        id=row.id,
        kind=row.kind,
        owner=row.owner,
        public=row.public,
        fingerprint=row.fingerprint,
        node_id=row.node_id,
        not_before=row.not_before,
        not_after=row.not_after,
        revoked=row.revoked,
        replaces=row.replaces,
    )
