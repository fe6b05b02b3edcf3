"""Rounds: opened under a lease, then committed once or abandoned, and never both.

A round may take several attempts, each with devices, keys and messages of its own. Everything that changes a round
checks the lease in the same transaction, so that an aggregator that lost its run can write nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit, leases, runs
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import RunConflict, UnknownRun
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.run_tables import ParticipationRow, RoundRow
from fedaffect.server.registry.transactions import database_now

# The reason of a device that was asked and never answered.
NO_ANSWER: Final = "no answer before the round was over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One attempt at a round.

    Parameters
    ----------
    run_id : str
    round, attempt : int
        Both count from 1.
    state : str
        ``open``, ``committed`` or ``abandoned``.
    selected : tuple of str
        Devices chosen to be asked.
    base_sha256 : str
        Of the arrays that it starts from.
    unmasked : tuple of str, optional
        The devices whose masked sum is opened; no other sum of this attempt may ever be.
    arrays_sha256, checkpoint : str, optional
        Of the arrays it gave, and where they lie.
    metrics : mapping
    reason : str
        Why it was abandoned.
    started : datetime
    finished : datetime, optional
    """

    run_id: str
    round: int
    attempt: int
    state: str
    selected: tuple[str, ...]
    base_sha256: str
    unmasked: tuple[str, ...] | None
    arrays_sha256: str | None
    checkpoint: str | None
    metrics: Mapping[str, Any]
    reason: str
    started: datetime
    finished: datetime | None


def open_round(
    registry: Registry,
    lease: Lease,
    round: int,
    *,
    selected: Sequence[str],
    base_sha256: str,
    skipping: bool = False,
) -> Round:
    """Begin the next attempt at a round; an attempt that an earlier owner left open is abandoned.

    The same call again by the same owner gives the attempt that it opened: the first answer may have been lost. An
    owner that wants a fresh attempt abandons its own first.

    Parameters
    ----------
    skipping : bool
        Whether rounds may be left out: a region has no part in those that ask none of its devices.

    Raises
    ------
    LeaseLost
        If another aggregator drives the run now.
    RunConflict
        If the round is committed already, is not the next one, or this owner has another attempt open.
    """
    with registry.writing() as session:
        leases.check(session, lease)
        runs.require_open(session, lease.run_id)
        done = _last_committed(session, lease.run_id)
        if round <= done or (round != done + 1 and not skipping):
            raise RunConflict(f"run {lease.run_id!r} has committed {done} rounds; open round {done + 1}, not {round}")
        now = database_now(session)
        standing = session.scalars(
            select(RoundRow).where(RoundRow.run_id == lease.run_id, RoundRow.state == "open").with_for_update()
        ).first()
        if standing is not None and standing.fencing_token == lease.fencing_token:
            if standing.round == round and standing.selected == list(selected) and standing.base_sha256 == base_sha256:
                return _record(standing)
            raise RunConflict(
                f"attempt {standing.attempt} of round {standing.round} is open; commit it or abandon it first"
            )
        if standing is not None:
            _abandon(session, standing, lease, f"left open by an aggregator that {lease.owner} took over from", now)
        attempts = session.scalar(
            select(func.max(RoundRow.attempt)).where(RoundRow.run_id == lease.run_id, RoundRow.round == round)
        )
        row = RoundRow(
            run_id=lease.run_id,
            round=round,
            attempt=(attempts or 0) + 1,
            state="open",
            fencing_token=lease.fencing_token,
            selected=list(selected),
            base_sha256=base_sha256,
            unmasked=None,
            metrics={},
            reason="",
            started=now,
        )
        session.add(row)
        session.flush()
        audit.append(
            session,
            "round.opened",
            subject=_name(row),
            actor=lease.owner,
            base_sha256=base_sha256,
            selected=len(row.selected),
            fencing_token=lease.fencing_token,
        )
        return _record(row)


def begin_unmasking(registry: Registry, lease: Lease, round: int, attempt: int, *, devices: Sequence[str]) -> Round:
    """Fix, before any mask is lifted, whose sum this attempt opens: it then commits with that sum or is abandoned.

    Again for the same devices, and nothing changes, so that a crash in between can be got over. It holds for the round:
    whatever aggregator makes another attempt at it, no sum over other devices is ever opened.

    Raises
    ------
    LeaseLost
        If another aggregator drives the run now.
    RunConflict
        If the attempt is not open, or another set of devices was fixed, in this attempt or an earlier one: two sums
        over different sets would show the difference between them.
    """
    wanted = sorted(set(devices))
    with registry.writing() as session:
        leases.check(session, lease)
        row = _open_row(session, lease.run_id, round, attempt)
        for begun in _unmasking(session, lease.run_id, round):
            if begun.unmasked != wanted:
                raise RunConflict(
                    f"{_name(begun)} began to unmask the sum of {len(begun.unmasked or ())} devices, and not of these; "
                    f"end round {round} without a sum and go on with the next"
                )
        if row.unmasked is None:
            row.unmasked = wanted
            session.flush()
            audit.append(session, "round.unmasking", subject=_name(row), actor=lease.owner, devices=wanted)
        return _record(row)


def unmasking_began(registry: Registry, run_id: str, round: int) -> bool:
    """Whether any attempt at a round began to open a sum: the round then ends with that one or with none."""
    with registry.reading() as session:
        return bool(_unmasking(session, run_id, round))


def commit(
    registry: Registry,
    lease: Lease,
    round: int,
    attempt: int,
    *,
    arrays_sha256: str,
    checkpoint: str,
    metrics: Mapping[str, Any] | None = None,
) -> Round:
    """Finish a round for good, in one transaction with the check of the lease. Write the checkpoint before.

    Again with the same arrays, and nothing changes: the first answer may have been lost.

    Parameters
    ----------
    arrays_sha256, checkpoint : str
        Of the arrays, and the path where they lie.
    metrics : mapping, optional

    Raises
    ------
    LeaseLost
        If another aggregator drives the run now; nothing was written.
    RunConflict
        If the attempt was abandoned, or committed with other arrays.
    UnknownRun
        If there is no such attempt.
    """
    if len(arrays_sha256) != 64:
        raise ConfigError(f"{arrays_sha256!r} is no SHA-256; give 64 hexadecimal digits")
    with registry.writing() as session:
        leases.check(session, lease)
        row = _attempt(session, lease.run_id, round, attempt)
        if row.state == "committed" and row.arrays_sha256 == arrays_sha256:
            return _record(row)
        if row.state != "open":
            raise RunConflict(f"{_name(row)} is {row.state}, so it cannot be committed with other arrays")
        now = database_now(session)
        row.state, row.finished = "committed", now
        row.arrays_sha256, row.checkpoint, row.metrics = arrays_sha256, checkpoint, dict(metrics or {})
        session.flush()
        _give_up(session, row, NO_ANSWER, now)
        audit.append(
            session,
            "round.committed",
            subject=_name(row),
            actor=lease.owner,
            arrays_sha256=arrays_sha256,
            fencing_token=lease.fencing_token,
        )
        return _record(row)


def abandon(registry: Registry, lease: Lease, round: int, attempt: int, *, reason: str) -> Round:
    """Give an attempt up; its updates are never counted. Again, and nothing changes.

    Raises
    ------
    LeaseLost
        If another aggregator drives the run now.
    RunConflict
        If it is committed.
    UnknownRun
        If there is no such attempt.
    """
    with registry.writing() as session:
        leases.check(session, lease)
        row = _attempt(session, lease.run_id, round, attempt)
        if row.state == "committed":
            raise RunConflict(f"{_name(row)} is committed; a finished round is never undone")
        if row.state == "open":
            _abandon(session, row, lease, reason, database_now(session))
        return _record(row)


def last_committed(registry: Registry, run_id: str) -> Round | None:
    """The newest finished round, from which a run goes on; None before the first."""
    with registry.reading() as session:
        query = select(RoundRow).where(RoundRow.run_id == run_id, RoundRow.state == "committed")
        row = session.scalars(query.order_by(RoundRow.round.desc()).limit(1)).first()
        return _record(row) if row else None


def of_run(registry: Registry, run_id: str) -> list[Round]:
    """All attempts at all rounds, in their order."""
    with registry.reading() as session:
        query = select(RoundRow).where(RoundRow.run_id == run_id).order_by(RoundRow.round, RoundRow.attempt)
        return [_record(row) for row in session.scalars(query)]


def find(registry: Registry, run_id: str, round: int, attempt: int) -> Round | None:
    """One attempt at a round; None where there is none."""
    with registry.reading() as session:
        row = session.get(RoundRow, (run_id, round, attempt))
        return _record(row) if row else None


def under_way(registry: Registry) -> list[Round]:
    """Open attempts of all runs."""
    with registry.reading() as session:
        query = select(RoundRow).where(RoundRow.state == "open").order_by(RoundRow.run_id)
        return [_record(row) for row in session.scalars(query)]


def _unmasking(session: Session, run_id: str, round: int) -> list[RoundRow]:
    query = select(RoundRow).where(RoundRow.run_id == run_id, RoundRow.round == round).order_by(RoundRow.attempt)
    # A JSON null is not SQL's on every database, so it is looked for here.
    return [row for row in session.scalars(query) if row.unmasked is not None]


def _last_committed(session: Session, run_id: str) -> int:
    query = select(func.max(RoundRow.round)).where(RoundRow.run_id == run_id, RoundRow.state == "committed")
    return session.scalar(query) or 0


def _attempt(session: Session, run_id: str, round: int, attempt: int) -> RoundRow:
    row = session.get(RoundRow, (run_id, round, attempt), with_for_update=True)
    if row is None:
        raise UnknownRun(f"run {run_id!r} has no attempt {attempt} at round {round}; open one first")
    return row


def _open_row(session: Session, run_id: str, round: int, attempt: int) -> RoundRow:
    row = _attempt(session, run_id, round, attempt)
    if row.state != "open":
        raise RunConflict(f"{_name(row)} is {row.state}; open a new attempt")
    return row


def _abandon(session: Session, row: RoundRow, lease: Lease, reason: str, now: datetime) -> None:
    row.state, row.reason, row.finished = "abandoned", reason[:500], now
    session.flush()
    _give_up(session, row, "the attempt was abandoned", now)
    audit.append(session, "round.abandoned", subject=_name(row), actor=lease.owner, reason=reason[:500])


def _give_up(session: Session, row: RoundRow, reason: str, now: datetime) -> None:
    session.execute(
        update(ParticipationRow)
        .where(
            ParticipationRow.run_id == row.run_id,
            ParticipationRow.round == row.round,
            ParticipationRow.attempt == row.attempt,
            ParticipationRow.state == "asked",
        )
        .values(state="failed", reason=reason, answered=now)
    )


def _name(row: RoundRow) -> str:
    return f"{row.run_id}/{row.round}/{row.attempt}"


def _record(row: RoundRow) -> Round:
    return Round(
        run_id=row.run_id,
        round=row.round,
        attempt=row.attempt,
        state=row.state,
        selected=tuple(row.selected),
        base_sha256=row.base_sha256,
        unmasked=None if row.unmasked is None else tuple(row.unmasked),
        arrays_sha256=row.arrays_sha256,
        checkpoint=row.checkpoint,
        metrics=row.metrics,
        reason=row.reason,
        started=row.started,
        finished=row.finished,
    )
