"""What is kept for how long: participations and feedback are deleted, the audit log is archived and then shortened.

The log stays verifiable when it is shortened: what is taken out goes to a file first, an anchor keeps the hash that
the rest goes on from, and an entry of the log itself says so: it has the digests of all archives up to now, and what
their entries told of devices and keys. Runs, rounds and the privacy ledger are never pruned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError, at
from fedaffect.edge.system.files import replacing
from fedaffect.server.registry import audit
from fedaffect.server.registry.attested import TELLING, Told, told_before
from fedaffect.server.registry.audit import Entry, Head
from fedaffect.server.registry.audit_tables import AuditAnchorRow, AuditHeadRow, AuditRow
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import AuditBroken
from fedaffect.server.registry.fleet_tables import EnrolmentTokenRow
from fedaffect.server.registry.run_tables import ParticipationRow, RoundRow
from fedaffect.server.registry.tables import FeedbackRow
from fedaffect.server.registry.transactions import database_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows were deleted.

    Parameters
    ----------
    participations, feedback, enrolment_tokens : int
    """

    participations: int
    feedback: int
    enrolment_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What went from the audit log into a file.

    Parameters
    ----------
    path : Path
    sha256 : str
        Of the file.
    entries : int
    last : Head
        The newest of them.
    """

    path: Path
    sha256: str
    entries: int
    last: Head


def prune(registry: Registry, older_than: timedelta) -> Pruned:
    """Delete participations in closed attempts, feedback, and enrolment tokens that ran out, all older than that.

    A pruned participation does not let a duplicate in: its attempt is closed, so nothing more is taken for it.

    Raises
    ------
    ConfigError
        If the time is negative.
    """
    if older_than < timedelta(0):
        raise ConfigError("what is older than a negative time lies in the future; give days of at least 0")
    with registry.writing() as session:
        before = database_now(session) - older_than
        closed = select(RoundRow.run_id, RoundRow.round, RoundRow.attempt).where(RoundRow.state != "open")
        slot = tuple_(ParticipationRow.run_id, ParticipationRow.round, ParticipationRow.attempt)
        pruned = Pruned(
            participations=_delete(session, ParticipationRow, ParticipationRow.asked < before, slot.in_(closed)),
            feedback=_delete(session, FeedbackRow, FeedbackRow.received < before),
            enrolment_tokens=_delete(session, EnrolmentTokenRow, EnrolmentTokenRow.expires < before),
        )
        audit.append(
            session,
            "registry.pruned",
            subject="registry",
            actor="operator",
            before=before.isoformat(),
            **asdict(pruned),
        )
        return pruned


def archive(registry: Registry, path: Path, *, before: datetime) -> Archived:
    """Move entries of the audit log that are older than a moment into a new file of JSON lines.

    Parameters
    ----------
    registry : Registry
    path : Path
        Must not exist yet. Keep it: without it nobody can read those entries again.
    before : datetime

    Raises
    ------
    ConfigError
        If the file exists, cannot be written, or there is nothing that old.
    AuditBroken
        If the entries are not what was written; nothing is archived then.
    """
    if path.exists():
        raise ConfigError(f"{path} exists; archives are never overwritten, choose another name")
    with registry.writing() as session:
        # Nobody appends meanwhile.
        session.scalars(select(AuditHeadRow).with_for_update()).one()
        newer = session.scalar(select(func.min(AuditRow.id)).where(AuditRow.at >= before))
        query = select(AuditRow).order_by(AuditRow.id)
        found = [
            audit.entry_of(row) for row in session.scalars(query if newer is None else query.where(AuditRow.id < newer))
        ]
        if not found:
            raise ConfigError(
                f"no entry of the audit log is older than {before:%Y-%m-%d %H:%M} UTC; nothing is archived"
            )
        start = _start(session, found[0].id)
        last = _chain(found, start)
        now = database_now(session)
        telling = select(AuditRow).where(AuditRow.action.in_(TELLING), AuditRow.id <= last.id).order_by(AuditRow.id)
        told = Told.of(session.scalars(telling), told_before(session, start.id)).written(now)
        archives = _archives(session)
        digest = _write_lines(path, found)
        session.add(
            AuditAnchorRow(
                last_id=last.id,
                last_hash=last.hash,
                entries=len(found),
                archive=str(path.absolute()),
                archive_sha256=digest,
                created=now,
            )
        )
        session.flush()
        audit.append(
            session,
            audit.ARCHIVED,
            subject=f"{found[0].id}-{last.id}",
            actor="operator",
            last_id=last.id,
            last_hash=last.hash,
            archive=path.name,
            archives=[*archives, {"last_id": last.id, "last_hash": last.hash, "sha256": digest}],
            told=told,
        )
        session.execute(delete(AuditRow).where(AuditRow.id <= last.id))
        return Archived(path=path, sha256=digest, entries=len(found), last=last)


def verify_archive(registry: Registry, path: Path) -> Archived:
    """Recompute the chain in an archive and hold it against what the log says of it; verify the log first.

    Raises
    ------
    AuditBroken
        If it is not what was archived, or the log knows nothing of it.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); name an archive of the audit log") from error
    found = list(_read_lines(path, raw))
    if not found:
        raise AuditBroken(f"{path} has no entries; restore it from a copy")
    with registry.reading() as session:
        archives = _archives(session)
    before = Head(0, audit.GENESIS)
    for archived in archives:
        last = Head(archived["last_id"], archived["last_hash"])
        if found[0].id == before.id + 1:
            digest = hashlib.sha256(raw).hexdigest()
            if _chain(found, before) == last and digest == archived["sha256"]:
                return Archived(path=path, sha256=digest, entries=len(found), last=last)
            break
        before = last
    raise AuditBroken(
        f"{path} is not what was archived from entry {found[0].id} of {registry.name} on; restore it from a copy"
    )


def _archives(session: Session) -> list[dict[str, Any]]:
    """All archives up to now, as the newest entry that tells of one lists them."""
    query = select(AuditRow).where(AuditRow.action == audit.ARCHIVED).order_by(AuditRow.id.desc()).limit(1)
    row = session.scalars(query).first()
    return [] if row is None else list(json.loads(row.details)["archives"])


def _delete(session: Session, table: type, *conditions: object) -> int:
    # RETURNING would carry every row over; the cursor knows how many there were.
    result = session.connection().execute(delete(table).where(*conditions))  # type: ignore[arg-type]
    return result.rowcount


def _start(session: Session, first: int) -> Head:
    if first == 1:
        return Head(0, audit.GENESIS)
    anchor = session.get(AuditAnchorRow, first - 1)
    if anchor is None:
        raise AuditBroken(
            f"nothing was archived up to entry {first - 1}, so {first} cannot come next; restore a backup and compare"
        )
    return Head(anchor.last_id, anchor.last_hash)


def _chain(found: Iterable[Entry], before: Head) -> Head:
    for entry in found:
        before = audit.check(entry, before)
    return before


def _write_lines(path: Path, found: Iterable[Entry]) -> str:
    total = hashlib.sha256()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path, private=True, durable=True) as part, part.open("wb") as file:
            for entry in found:
                said = asdict(entry) | {"at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}
                line = json.dumps(said, ensure_ascii=False).encode() + b"\n"
                total.update(line)
                file.write(line)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); nothing was archived") from error
    return total.hexdigest()


def _read_lines(path: Path, raw: bytes) -> Iterator[Entry]:
    for number, line in enumerate(raw.decode(errors="replace").splitlines(), 1):
        try:
            values = json.loads(line)
            yield Entry(**(values | {"at": datetime.fromisoformat(values["at"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise AuditBroken(f"{at(path, number)} is no entry of an audit log; restore it from a copy") from error
