"""Runs: what was asked for, and which Flower runs executed it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit, leases
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import RunConflict, UnknownRun
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.run_tables import FlowerRunRow, RunRow
from fedaffect.server.registry.transactions import database_now, lock

# Folders and files are named by it.
RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One of our runs.

    Parameters
    ----------
    id, name : str
    state : str
        ``open``, ``finished``, ``failed`` or ``cancelled``.
    config : mapping
        All settings that decide its arrays.
    data_statement : str
        Whose data it learns from, under which terms.
    privacy : mapping
        ``unit``, ``epsilon``, ``delta`` and whatever else the run guarantees; empty where nothing was.
    reason : str
        Why it failed, or what it waits for while it is open; empty where it does neither.
    started : datetime
    finished : datetime, optional
    flower_runs : tuple of int
        Flower runs that executed it, in their order.
    """

    id: str
    name: str
    state: str
    config: Mapping[str, Any]
    data_statement: str
    privacy: Mapping[str, Any]
    reason: str
    started: datetime
    finished: datetime | None
    flower_runs: tuple[int, ...]


def create(
    registry: Registry,
    *,
    run_id: str,
    config: Mapping[str, Any],
    name: str = "",
    data_statement: str = "",
    privacy: Mapping[str, Any] | None = None,
    actor: str = "operator",
) -> Run:
    """Register a run; the same settings under the same id again give the run that is there, to be resumed.

    Raises
    ------
    ConfigError
        If the id is not of the characters that ids of runs have.
    RunConflict
        If the id is taken by a run with other settings.
    """
    if not RUN_ID.fullmatch(run_id):
        raise ConfigError("a run wants an id of 1 to 64 letters, digits, dots, dashes and underscores; rename it")
    with registry.writing() as session:
        lock(session, f"run {run_id}")
        row = session.get(RunRow, run_id)
        if row is not None:
            if row.config != dict(config) or row.privacy != dict(privacy or {}):
                raise RunConflict(
                    f"run {run_id!r} is registered with other settings; take those, or give this one another id"
                )
            return _record(session, row)
        row = RunRow(
            id=run_id,
            name=name or run_id,
            state="open",
            config=dict(config),
            data_statement=data_statement,
            privacy=dict(privacy or {}),
            reason="",
            started=database_now(session),
        )
        session.add(row)
        session.flush()
        audit.append(session, "run.created", subject=run_id, actor=actor, privacy=dict(privacy or {}))
        return _record(session, row)


def attach(registry: Registry, run_id: str, flower_run_id: int) -> Run:
    """Note that a Flower run carries this run on; again, and nothing changes.

    Raises
    ------
    UnknownRun
        If the run is not registered.
    RunConflict
        If that Flower run carries another one.
    """
    with registry.writing() as session:
        run = _row(session, run_id)
        lock(session, f"flower run {flower_run_id}")
        row = session.get(FlowerRunRow, flower_run_id)
        if row is not None and row.run_id != run_id:
            raise RunConflict(f"Flower's run {flower_run_id} carries run {row.run_id!r}, not {run_id!r}")
        if row is None:
            now = database_now(session)
            session.add(FlowerRunRow(flower_run_id=flower_run_id, run_id=run_id, started=now))
            session.flush()
            audit.append(session, "run.attached", subject=run_id, actor="aggregator", flower_run_id=str(flower_run_id))
        return _record(session, run)


def get(registry: Registry, run_id: str) -> Run:
    """One run.

    Raises
    ------
    UnknownRun
        If it is not registered.
    """
    with registry.reading() as session:
        return _record(session, _row(session, run_id))


def every(registry: Registry, state: str = "") -> list[Run]:
    """All runs, or those in a state, oldest first."""
    with registry.reading() as session:
        query = select(RunRow).order_by(RunRow.started, RunRow.id)
        rows = session.scalars(query.where(RunRow.state == state) if state else query)
        return [_record(session, row) for row in rows]


def known(registry: Registry, run_ids: Collection[str]) -> set[str]:
    """Those of some ids that are of registered runs."""
    with registry.reading() as session:
        return set(session.scalars(select(RunRow.id).where(RunRow.id.in_(run_ids))))


def finish(registry: Registry, lease: Lease, *, state: str = "finished", reason: str = "") -> Run:
    """Close a run; again in the same way, and nothing changes.

    Raises
    ------
    LeaseLost
        If another aggregator drives it now.
    RunConflict
        If it was closed in the other way.
    """
    if state not in {"finished", "failed"}:
        raise ConfigError(f"a run ends finished or failed, not {state!r}")
    with registry.writing() as session:
        leases.check(session, lease)
        row = _row(session, lease.run_id)
        if row.state == state:
            return _record(session, row)
        if row.state != "open":
            raise RunConflict(f"run {row.id!r} is {row.state}, so it cannot become {state}")
        row.state, row.reason, row.finished = state, reason[:500], database_now(session)
        session.flush()
        audit.append(session, f"run.{state}", subject=row.id, actor=lease.owner, reason=reason[:500])
        return _record(session, row)


def cancel(registry: Registry, run_id: str, *, reason: str, actor: str = "operator") -> Run:
    """End an open run whoever drives it: its lease counts no more. Again, and nothing changes.

    Raises
    ------
    UnknownRun
        If it is not registered.
    RunConflict
        If it is over already.
    """
    with registry.writing() as session:
        leases.withdraw(session, run_id)
        row = _row(session, run_id)
        if row.state == "cancelled":
            return _record(session, row)
        if row.state != "open":
            raise RunConflict(f"run {run_id!r} is {row.state} already; there is nothing to cancel")
        row.state, row.reason, row.finished = "cancelled", reason[:500], database_now(session)
        session.flush()
        audit.append(session, "run.cancelled", subject=run_id, actor=actor, reason=reason[:500])
        return _record(session, row)


def note(registry: Registry, lease: Lease, reason: str) -> None:
    """Say what an open run waits for; empty where it waits no more.

    Raises
    ------
    LeaseLost
        If another aggregator drives it now.
    """
    with registry.writing() as session:
        leases.check(session, lease)
        row = _row(session, lease.run_id)
        if row.state == "open":
            row.reason = reason[:500]


def require_open(session: Session, run_id: str) -> None:
    """Refuse what would go on with a run that is unknown or over.

    Raises
    ------
    UnknownRun, RunConflict
    """
    row = _row(session, run_id)
    if row.state != "open":
        raise RunConflict(f"run {run_id!r} is {row.state}; start another one")


def _row(session: Session, run_id: str) -> RunRow:
    row = session.get(RunRow, run_id)
    if row is None:
        raise UnknownRun(f"no run has the id {run_id!r}; see fedaffect fleet status")
    return row


def _record(session: Session, row: RunRow) -> Run:
    executed = select(FlowerRunRow).where(FlowerRunRow.run_id == row.id)
    flower = session.scalars(executed.order_by(FlowerRunRow.started, FlowerRunRow.flower_run_id))
    return Run(
        id=row.id,
        name=row.name,
        state=row.state,
        config=row.config,
        data_statement=row.data_statement,
        privacy=row.privacy,
        reason=row.reason,
        started=row.started,
        finished=row.finished,
        flower_runs=tuple(each.flower_run_id for each in flower),
    )
