"""The server's record of what privacy each device has spent; it only grows.

The device's own ledger decides whether it trains (``client``); this one is what an auditor reads. A charge is
recorded before the update that it paid for is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import func, insert, select, tuple_
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import LedgerConflict, UnknownRun
from fedaffect.server.registry.run_tables import PrivacyRow, RunRow
from fedaffect.server.registry.transactions import database_now, lock

_SLOTS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a device had spent after one round.

    Parameters
    ----------
    run_id : str
    round, attempt : int
    device_id : str
        Empty for what a run cost every client alike (central DP).
    unit : str
        What is protected: ``example`` or ``client``.
    epsilon : float
        Over the device's lifetime so far, this round included; for central DP over the run so far.
    delta : float
        In [0, 1).
    accountant : str
        ``rdp``, ``prv``, …
    noise_multiplier : float
        Of this round.
    """

    run_id: str
    round: int
    attempt: int
    device_id: str
    unit: str
    epsilon: float
    delta: float
    accountant: str
    noise_multiplier: float

    def __post_init__(self) -> None:
        if self.unit not in {"example", "client"}:
            raise ConfigError(f"privacy protects an example or a client, not {self.unit!r}")
        if math.isnan(self.epsilon) or self.epsilon < 0 or not 0 <= self.delta < 1:
            raise ConfigError(f"({self.epsilon:g}, {self.delta:g}) is no privacy; ε is at least 0 and δ in [0, 1)")
        if not self.noise_multiplier >= 0:
            raise ConfigError(f"a noise multiplier of {self.noise_multiplier:g} is none; give at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What is spent in all.

    Parameters
    ----------
    unit : str
    epsilon, delta : float
    charged : datetime
        When last.
    """

    unit: str
    epsilon: float
    delta: float
    charged: datetime


def charge(registry: Registry, paid: Charge) -> Spent:
    """Record a charge; the same one again changes nothing.

    Raises
    ------
    LedgerConflict
        If another charge is recorded for that slot, or a later round would have spent less than an earlier one.
        The audit log says so.
    UnknownRun
        If the run is not registered.
    """
    done = charge_all(registry, [paid])[0]
    if isinstance(done, LedgerConflict):
        raise done
    return done


def charge_all(registry: Registry, charges: Sequence[Charge]) -> list[Spent | LedgerConflict]:
    """Like `charge` for many at once, in one transaction.

    Returns
    -------
    list of Spent or LedgerConflict
        In the order given.

    Raises
    ------
    UnknownRun
        If a run is not registered; then nothing is recorded.
    """
    done: list[Spent | LedgerConflict] = []
    with registry.writing() as session:
        # In one order whoever asks, or two servers could wait for each other for ever.
        for name in sorted({paid.device_id or paid.run_id for paid in charges}):
            lock(session, f"privacy {name}")
        wanted = {paid.run_id for paid in charges}
        known = set(session.scalars(select(RunRow.id).where(RunRow.id.in_(wanted))))
        if unknown := sorted(wanted - known):
            raise UnknownRun(f"no run has the id {unknown[0]!r}; see fedaffect fleet status")
        book = _Book(session, charges)
        for paid in charges:
            try:
                done.append(book.charge(paid))
            except LedgerConflict as error:
                done.append(error)
        if book.new:
            session.execute(insert(PrivacyRow), book.new)
        _audit_refused(session, charges, done)
    return done


def _audit_refused(session: Session, charges: Sequence[Charge], done: Sequence[Spent | LedgerConflict]) -> None:
    """One entry a device, whatever number of its charges conflict: a device writes the log no faster than it asks."""
    refused: dict[str, list[tuple[Charge, LedgerConflict]]] = {}
    for paid, answer in zip(charges, done, strict=True):
        if isinstance(answer, LedgerConflict):
            refused.setdefault(paid.device_id, []).append((paid, answer))
    for device_id, each in refused.items():
        paid, why = each[0]
        audit.append(
            session,
            "privacy.refused",
            subject=f"{paid.run_id}/{paid.round}/{paid.attempt}/{device_id}",
            actor=f"device:{device_id}" if device_id else "aggregator",
            why=str(why),
            **({"count": len(each)} if len(each) > 1 else {}),
        )


class _Book:
    """What is recorded already of the slots and devices of some charges, and what they add to it.

    A few questions for all of them: others wait for SQLite's one writer meanwhile.
    """

    def __init__(self, session: Session, charges: Sequence[Charge]) -> None:
        self._now = database_now(session)
        self._recorded: dict[tuple[str, int, int, str], tuple[Charge, datetime]] = {}
        self._greatest: dict[tuple[str, str, str, float], Charge] = {}
        self.new: list[dict[str, Any]] = []
        for slots in _batches({_slot(paid) for paid in charges}):
            columns = tuple_(PrivacyRow.run_id, PrivacyRow.round, PrivacyRow.attempt, PrivacyRow.device_id)
            for row in session.scalars(select(PrivacyRow).where(columns.in_(slots))):
                self._recorded[_slot(_charge_of(row))] = _charge_of(row), row.charged
        for account in {_account(paid) for paid in charges}:
            device_id, run_id, unit, delta = account
            query = select(PrivacyRow).where(
                PrivacyRow.device_id == device_id, PrivacyRow.unit == unit, PrivacyRow.delta == delta
            )
            if run_id:
                query = query.where(PrivacyRow.run_id == run_id)
            for row in session.scalars(query.order_by(PrivacyRow.epsilon.desc(), PrivacyRow.id.desc()).limit(1)):
                self._greatest[account] = _charge_of(row)

    def charge(self, paid: Charge) -> Spent:
        """Take one more.

        Raises
        ------
        LedgerConflict
        """
        same, charged = self._recorded.get(_slot(paid), (None, self._now))
        if same is not None:
            if same != paid:
                raise LedgerConflict(
                    f"{'/'.join(map(str, _slot(paid)))} is recorded with ε = {same.epsilon:g}, not {paid.epsilon:g}; "
                    "what was spent is never rewritten, charge a new attempt"
                )
            return Spent(unit=same.unit, epsilon=same.epsilon, delta=same.delta, charged=charged)
        greatest = self._greatest.get(_account(paid))
        # Answers may arrive out of order: only a later slot may not have spent less.
        if greatest is not None and greatest.epsilon > paid.epsilon:
            earlier = greatest.run_id != paid.run_id or (greatest.round, greatest.attempt) < (paid.round, paid.attempt)
            if earlier:
                raise LedgerConflict(
                    f"{paid.device_id or paid.run_id!r} had spent ε = {greatest.epsilon:g} by round {greatest.round} "
                    f"of {greatest.run_id!r} and now says {paid.epsilon:g}: its ledger was reset; enroll it as a new "
                    "device"
                )
        else:
            self._greatest[_account(paid)] = paid
        self._recorded[_slot(paid)] = paid, self._now
        self.new.append({**asdict(paid), "charged": self._now})
        total = max(paid.epsilon, greatest.epsilon if greatest else 0.0)
        return Spent(unit=paid.unit, epsilon=total, delta=paid.delta, charged=self._now)


def _batches(slots: Iterable[tuple[str, int, int, str]]) -> Iterator[list[tuple[str, int, int, str]]]:
    """As many at a time as one statement takes."""
    left = iter(slots)
    while some := list(islice(left, _SLOTS)):
        yield some


def _slot(paid: Charge) -> tuple[str, int, int, str]:
    return paid.run_id, paid.round, paid.attempt, paid.device_id


def _account(paid: Charge) -> tuple[str, str, str, float]:
    """Whose spending it adds to: a device's over its lifetime, or a run's."""
    return paid.device_id, "" if paid.device_id else paid.run_id, paid.unit, paid.delta


def spent(registry: Registry, device_id: str, run_id: str = "") -> list[Spent]:
    """What a device has spent in all, for each unit and δ; with an empty device, what a run cost every client."""
    query = select(PrivacyRow).where(PrivacyRow.device_id == device_id)
    if run_id:
        query = query.where(PrivacyRow.run_id == run_id)
    totals: dict[tuple[str, float], Spent] = {}
    with registry.reading() as session:
        for row in session.scalars(query.order_by(PrivacyRow.epsilon, PrivacyRow.id)):
            totals[row.unit, row.delta] = Spent(
                unit=row.unit, epsilon=row.epsilon, delta=row.delta, charged=row.charged
            )
    return [totals[key] for key in sorted(totals)]


def spent_by_devices(registry: Registry) -> dict[str, float]:
    """The largest ε of each device that spent any."""
    query = select(PrivacyRow.device_id, func.max(PrivacyRow.epsilon)).group_by(PrivacyRow.device_id)
    with registry.reading() as session:
        return {device: epsilon for device, epsilon in session.execute(query) if device}


def charges(registry: Registry, *, run_id: str = "", device_id: str | None = None) -> list[Charge]:
    """Recorded charges in the order they came, of a run, of a device, or all."""
    query = select(PrivacyRow).order_by(PrivacyRow.id)
    if run_id:
        query = query.where(PrivacyRow.run_id == run_id)
    if device_id is not None:
        query = query.where(PrivacyRow.device_id == device_id)
    with registry.reading() as session:
        return [_charge_of(row) for row in session.scalars(query)]


def _charge_of(row: PrivacyRow) -> Charge:
    return Charge(
        run_id=row.run_id,
        round=row.round,
        attempt=row.attempt,
        device_id=row.device_id,
        unit=row.unit,
        epsilon=row.epsilon,
        delta=row.delta,
        accountant=row.accountant,
        noise_multiplier=row.noise_multiplier,
    )
