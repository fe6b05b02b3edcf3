"""Two aggregators never drive one run: a lease with a fencing token, by the database's clock.

An aggregator that was paused past its lease may wake up and still believe that it drives the run. The token keeps
what it then writes out: every change of hands takes the next number, and whatever changes a run checks the number in
its own transaction (Gray and Cheriton, SOSP 1989, for leases; Burrows' Chubby, OSDI 2006, for the numbers).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import LeaseHeld, LeaseLost
from fedaffect.server.registry.run_tables import LeaseRow
from fedaffect.server.registry.transactions import database_now, lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A run in one aggregator's hands.

    Parameters
    ----------
    run_id : str
    owner : str
        Of this process alone, as ``host:pid:random``: a restarted aggregator is another owner.
    fencing_token : int
        Greater than that of every owner before.
    expires : datetime
        By the database's clock.
    """

    run_id: str
    owner: str
    fencing_token: int
    expires: datetime


def acquire(registry: Registry, run_id: str, owner: str, *, seconds: float = 30.0) -> Lease:
    """Take a run that nobody drives, or whose lease has run out; the owner itself gets it again, prolonged.

    Raises
    ------
    LeaseHeld
        If another owner's lease holds, saying for how long.
    ConfigError
        If the owner has no name or the time is not positive.
    """
    if not owner or len(owner) > 200:
        raise ConfigError("a lease wants an owner of 1 to 200 characters; give host, process and some random ones")
    if not 0 < seconds <= 3600:
        raise ConfigError(f"a lease of {seconds:g} s is of no use; give more than 0 and at most 3600")
    with registry.writing() as session:
        # The row may not exist yet, and what does not exist cannot be locked.
        lock(session, f"lease {run_id}")
        row = _row(session, run_id)
        now = database_now(session)
        if row is not None and row.owner not in {"", owner} and row.expires > now:
            left = (row.expires - now).total_seconds()
            raise LeaseHeld(
                f"run {run_id!r} is driven by {row.owner} for another {left:.0f} s at least; "
                "stop that aggregator, or wait until its lease runs out"
            )
        if row is None:
            row = LeaseRow(name=run_id, owner="", fencing_token=0, expires=now)
            session.add(row)
        changed = row.owner != owner
        before = row.owner
        row.owner, row.expires = owner, now + timedelta(seconds=seconds)
        row.fencing_token += changed
        session.flush()
        lease = _record(row)
        if changed:
            audit.append(
                session,
                "lease.taken",
                subject=run_id,
                actor=owner,
                fencing_token=lease.fencing_token,
                before=before or None,
            )
        return lease


def renew(registry: Registry, lease: Lease, *, seconds: float = 30.0) -> Lease:
    """Keep a run; also just after the lease ran out, if nobody took it.

    Raises
    ------
    LeaseLost
        If somebody did.
    """
    with registry.writing() as session:
        row = check(session, lease)
        row.expires = database_now(session) + timedelta(seconds=seconds)
        session.flush()
        return _record(row)


def release(registry: Registry, lease: Lease) -> None:
    """Let go of a run, so that the next need not wait; nothing happens if it was lost already."""
    with registry.writing() as session:
        lock(session, f"lease {lease.run_id}")
        row = _row(session, lease.run_id)
        if row is not None and _holds(row, lease):
            row.owner, row.expires = "", database_now(session)


def withdraw(session: Session, run_id: str) -> None:
    """Take a run from its driver in a transaction of ``Registry.writing``: nothing that it writes counts any more."""
    lock(session, f"lease {run_id}")
    row = _row(session, run_id)
    if row is not None:
        row.owner, row.expires = "", database_now(session)
        row.fencing_token += 1
        session.flush()


def check(session: Session, lease: Lease) -> LeaseRow:
    """Refuse a writer whose run changed hands; if it did not, it cannot until this transaction ends.

    Call it first in the transaction that writes, with a session of ``Registry.writing``. A lease that ran out but
    was taken by nobody still counts: nobody else can have written.

    Raises
    ------
    LeaseLost
        If another owner took the run, or it was let go.
    """
    lock(session, f"lease {lease.run_id}")
    row = _row(session, lease.run_id)
    if row is None or not _holds(row, lease):
        owner = (row.owner if row else "") or "nobody"
        raise LeaseLost(
            f"run {lease.run_id!r} is no longer driven by {lease.owner} (token {lease.fencing_token}) but by {owner}; "
            "this aggregator must stop, the other goes on"
        )
    return row


def current(registry: Registry, run_id: str) -> Lease | None:
    """The lease that holds by the database's clock, or None."""
    with registry.reading() as session:
        row = session.get(LeaseRow, run_id)
        if row is None or not row.owner or row.expires <= database_now(session):
            return None
        return _record(row)


def _row(session: Session, run_id: str) -> LeaseRow | None:
    query = select(LeaseRow).where(LeaseRow.name == run_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).first()


def _holds(row: LeaseRow, lease: Lease) -> bool:
    # The owner too: after a backup is restored, a number may be given out again.
    return row.fencing_token == lease.fencing_token and row.owner == lease.owner


def _record(row: LeaseRow) -> Lease:
    return Lease(run_id=row.name, owner=row.owner, fencing_token=row.fencing_token, expires=row.expires)
