"""The audit log: what happened, in a chain that shows when an entry was changed, moved or taken out.

An entry is written in the transaction of what it tells, so that there is neither an act without its entry nor an
entry without its act::

    with registry.writing() as session:
        ...
        audit.append(session, "device.revoked", subject=device_id, actor="operator", reason=reason)

``hash = SHA-256(previous hash + newline + canonical JSON of the entry)``, as in Haber and Stornetta's linked
time-stamps (J. Cryptology 1991). The chain has no key: whoever may write the database could forge a whole new one.
Against that, keep the head (``fedaffect audit head``) elsewhere and verify against it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry.attested import check_devices
from fedaffect.server.registry.audit_tables import AuditAnchorRow, AuditHeadRow, AuditRow
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import AuditBroken
from fedaffect.server.registry.transactions import database_now

GENESIS: Final = "0" * 64
ARCHIVED: Final = "audit.archived"
_GUARDS: Final = {
    table: {"update", "delete"} for table in ("audit_log", "audit_head", "audit_anchors", "privacy_ledger")
}
_SQLITE_GUARDS: Final = {"privacy_ledger_replace", "audit_anchors_replace"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log.

    Parameters
    ----------
    id : int
        Counts from 1, without gaps.
    at : datetime
        By the database's clock.
    actor : str
        Who did it: ``operator``, ``aggregator``, ``device:ID``.
    action : str
        What, as ``thing.happened``.
    subject : str
        To what: a device, ``run/round``, a bundle version.
    details : str
        Canonical JSON of whatever else is worth knowing.
    previous_hash, hash : str
        Of the entry before and of this one, in hexadecimal.
    """

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: str
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends: as much as one must keep elsewhere to notice any later change of what came before.

    Parameters
    ----------
    id : int
        0 for an empty log.
    hash : str
    """

    id: int
    hash: str

    def __str__(self) -> str:
        return f"{self.id}:{self.hash}"

    @classmethod
    def parse(cls, said: str) -> Head:
        """Read ``ID:HASH``.

        Raises
        ------
        ConfigError
            If it is something else.
        """
        number, _, digest = said.strip().partition(":")
        if not number.isdigit() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ConfigError(f"{said!r} is no head of an audit log; write ID:HASH as fedaffect audit head prints it")
        return cls(int(number), digest)


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found in order.

    Parameters
    ----------
    entries : int
        That are in the log now.
    archived : int
        That were archived and pruned before those.
    head : Head
    """

    entries: int
    archived: int
    head: Head


def append(session: Session, action: str, *, subject: str, actor: str, **details: Any) -> Entry:
    """Write an entry in the caller's transaction; writers queue for the head until they commit.

    Parameters
    ----------
    session : Session
        Of ``Registry.writing``. Append last in it: others wait from here to its end.
    action, subject, actor : str
    **details
        Anything JSON can say.

    Raises
    ------
    ConfigError
        If the details cannot be written as JSON.
    """
    head = session.scalars(select(AuditHeadRow).with_for_update().execution_options(populate_existing=True)).one()
    try:
        said = _canonical(details)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"details of {action} cannot be written as JSON ({error}); give plain values") from error
    row = AuditRow(
        id=head.last_id + 1,
        at=database_now(session),
        actor=actor[:200],
        action=action,
        subject=subject[:300],
        details=said,
        previous_hash=head.last_hash,
        hash="",
    )
    row.hash = chained(entry_of(row))
    session.add(row)
    session.execute(update(AuditHeadRow).values(last_id=row.id, last_hash=row.hash))
    session.flush()
    return entry_of(row)


def write(registry: Registry, action: str, *, subject: str, actor: str, **details: Any) -> Entry:
    """Write an entry in a transaction of its own, for what the registry had no other part in."""
    with registry.writing() as session:
        return append(session, action, subject=subject, actor=actor, **details)


def chained(entry: Entry) -> str:
    """The hash that an entry must have."""
    said = {
        "id": entry.id,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "details": entry.details,
    }
    return hashlib.sha256(f"{entry.previous_hash}\n{_canonical(said)}".encode()).hexdigest()


def check(entry: Entry, before: Head) -> Head:
    """Hold an entry against the one before it, and return it as the head of what comes after.

    Raises
    ------
    AuditBroken
        If it is not what was written, or does not come next.
    """
    if entry.id != before.id + 1:
        raise AuditBroken(
            f"entry {before.id + 1} of the audit log is missing: {entry.id} follows {before.id}; "
            "restore a backup and compare"
        )
    if entry.previous_hash != before.hash or entry.hash != chained(entry):
        raise AuditBroken(
            f"entry {entry.id} of the audit log ({entry.action} of {entry.at:%Y-%m-%d %H:%M:%S} UTC) is not what was "
            "written, or what stood before it was changed; restore a backup and compare"
        )
    return Head(entry.id, entry.hash)


def entries(
    registry: Registry, *, subject: str = "", action: str = "", limit: int | None = None, before: int | None = None
) -> Iterator[Entry]:
    """Entries in their order.

    Parameters
    ----------
    registry : Registry
    subject, action : str
        Only those that begin so.
    limit : int, optional
        At most so many, the newest.
    before : int, optional
        Only those before the entry of that number.
    """
    query = select(AuditRow)
    if before is not None:
        query = query.where(AuditRow.id < before)
    if subject:
        query = query.where(AuditRow.subject.startswith(subject, autoescape=True))
    if action:
        query = query.where(AuditRow.action.startswith(action, autoescape=True))
    if limit is not None:
        newest = query.order_by(AuditRow.id.desc()).limit(limit)
        with registry.reading() as session:
            rows = [entry_of(row) for row in session.scalars(newest)]
        yield from reversed(rows)
        return
    streamed = query.order_by(AuditRow.id).execution_options(yield_per=500)
    with registry.reading() as session, session.execute(streamed) as result:
        for row in result.scalars():
            yield entry_of(row)


def after(registry: Registry, last_id: int, limit: int) -> list[Entry]:
    """The next entries behind one, oldest first: what happened since."""
    query = select(AuditRow).where(AuditRow.id > last_id).order_by(AuditRow.id).limit(limit)
    with registry.reading() as session:
        return [entry_of(row) for row in session.scalars(query)]


def head(registry: Registry) -> Head:
    """Where the chain ends now."""
    with registry.reading() as session:
        row = session.scalars(select(AuditHeadRow)).one()
        return Head(row.last_id, row.last_hash)


def verify(registry: Registry, expected: Head | None = None) -> Verified:
    """Recompute the whole chain.

    Parameters
    ----------
    registry : Registry
    expected : Head, optional
        A head kept elsewhere, which the log must still contain: finds also what a forger who rewrote everything did.

    Raises
    ------
    AuditBroken
        At the first entry that is not what was written, naming it; or if entries are missing at the beginning or
        the end, the database's own guards are gone, or a device or key is not as the log tells it.
    """
    with registry.reading() as session:
        # One transaction sees one state, however long the log is and whoever goes on writing.
        if registry.dialect == "postgresql":
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        stands = session.scalars(select(AuditHeadRow)).one()
        end = Head(stands.last_id, stands.last_hash)
        anchors = {row.last_id: row.last_hash for row in session.scalars(select(AuditAnchorRow))}
        streamed = select(AuditRow).order_by(AuditRow.id).execution_options(yield_per=500)
        with session.execute(streamed) as result:
            found = _walk(map(entry_of, result.scalars()), anchors, expected)
        if found.head != end:
            raise AuditBroken(
                f"the audit log ends at entry {found.head.id}, and its head says {end.id}: entries were taken off the "
                "end or put there past the log; restore a backup and compare"
            )
        _check_guards(session, registry.dialect)
        check_devices(session, found.archived)
    return found


def _walk(found: Iterable[Entry], anchors: Mapping[int, str], expected: Head | None) -> Verified:
    """The chain from its beginning, or from the anchor that it goes on from."""
    count, archived, before = 0, 0, Head(0, GENESIS)
    attested: set[Head] = set()
    seen = {before}
    for entry in found:
        if count == 0 and entry.id > 1:
            before = _anchored(anchors, entry)
            archived = before.id
            seen.add(before)
        before = check(entry, before)
        if before == expected:
            seen.add(before)
        if entry.action == ARCHIVED:
            attested.add(_attested(entry))
        count += 1
    if archived and Head(archived, anchors[archived]) not in attested:
        raise AuditBroken(
            f"the audit log begins after entry {archived}, and no entry says that those before were archived: "
            "they were deleted; restore a backup and compare"
        )
    if expected is not None and expected not in seen:
        raise _unexpected(expected, archived)
    return Verified(count, archived, before)


def _unexpected(expected: Head, archived: int) -> AuditBroken:
    if expected.id < archived:
        return AuditBroken(
            f"entry {expected.id} was archived and pruned (up to {archived}); verify the archive, "
            "or expect a newer head"
        )
    return AuditBroken(
        f"the audit log has no entry {expected.id} with the hash {expected.hash[:12]}…: it was rewritten or cut off "
        "since that head was noted; restore a backup and compare"
    )


def _anchored(anchors: Mapping[int, str], first: Entry) -> Head:
    if first.id - 1 not in anchors:
        raise AuditBroken(
            f"the audit log begins at entry {first.id}, and nothing was archived up to there: "
            "entries were deleted; restore a backup and compare"
        )
    return Head(first.id - 1, anchors[first.id - 1])


def _attested(entry: Entry) -> Head:
    said = json.loads(entry.details)
    return Head(said.get("last_id", 0), said.get("last_hash", ""))


def _check_guards(session: Session, dialect: str) -> None:
    """The triggers that refuse changes: whoever took them out meant to change something."""
    query = (
        "SELECT tgname FROM pg_trigger WHERE tgrelid IN (to_regclass('audit_log'), to_regclass('audit_head'), "
        "to_regclass('audit_anchors'), to_regclass('privacy_ledger')) AND tgenabled = 'O'"
        if dialect == "postgresql"
        else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    )
    found = set(session.scalars(text(query)))
    wanted = {f"{table}_{verb}" for table, verbs in _GUARDS.items() for verb in verbs}
    wanted |= _SQLITE_GUARDS if dialect == "sqlite" else set()
    if wanted - found:
        raise AuditBroken(
            f"the database's guards of the audit log are gone ({', '.join(sorted(wanted - found))}): somebody could "
            "change it; restore a backup and compare"
        )


def _canonical(value: Any) -> str:
    """One text for one value: sorted names, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def entry_of(row: AuditRow) -> Entry:
    """A row as an entry."""
    return Entry(
        id=row.id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        details=row.details,
        previous_hash=row.previous_hash,
        hash=row.hash,
    )
