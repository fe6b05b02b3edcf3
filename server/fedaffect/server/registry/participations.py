"""Who was asked in which attempt, and what came of it: an update is taken once, or refused and audited."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit, leases
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import (
    DeviceRefused,
    DuplicateUpdate,
    NotAsked,
    RegistryError,
    UpdateRefused,
    WrongModel,
    WrongRound,
)
from fedaffect.server.registry.fleet_tables import DeviceRow
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.run_tables import ParticipationRow, RoundRow
from fedaffect.server.registry.transactions import database_now


@dataclass(frozen=True, slots=True)
class Slot:
    """The place that one device's update has in a run.

    Parameters
    ----------
    run_id : str
    round, attempt : int
    device_id : str
    """

    run_id: str
    round: int
    attempt: int
    device_id: str

    def __str__(self) -> str:
        return f"{self.run_id}/{self.round}/{self.attempt}/{self.device_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a device that was asked did.

    Parameters
    ----------
    state : str
        ``answered`` with an update, ``refused`` (it said no, which is no failure) or ``failed``.
    base_sha256 : str, optional
        Of the arrays that an update started from, where it says so.
    reason : str
        Why not, in the device's or the server's words.
    seconds : float, optional
        From asking to the answer.
    bytes_up, bytes_down : int
        Measured on the wire.
    receipt : str
        Of this delivery, made once when it arrives: with it, a call whose answer was lost can be repeated, while
        the same update delivered twice is found out.
    """

    state: str
    base_sha256: str | None = None
    reason: str = ""
    seconds: float | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    receipt: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        if self.state not in {"answered", "refused", "failed"}:
            raise ConfigError(f"a device has answered, refused or failed, not {self.state!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """One device in one attempt.

    Parameters
    ----------
    slot : Slot
    state : str
        ``asked``, or an outcome's.
    reason : str
    seconds : float, optional
    bytes_up, bytes_down : int
    asked : datetime
    answered : datetime, optional
    """

    slot: Slot
    state: str
    reason: str
    seconds: float | None
    bytes_up: int
    bytes_down: int
    asked: datetime
    answered: datetime | None


def ask(registry: Registry, lease: Lease, round: int, attempt: int, device_ids: Sequence[str]) -> list[Participation]:
    """Note that these devices are asked, before they are. Those asked already stay as they are.

    Raises
    ------
    LeaseLost
        If another aggregator drives the run now.
    WrongRound
        If the attempt is not open.
    """
    with registry.writing() as session:
        leases.check(session, lease)
        row = session.get(RoundRow, (lease.run_id, round, attempt))
        _require_open(row, Slot(lease.run_id, round, attempt, ""))
        now = database_now(session)
        asked = {each.device_id: each for each in session.scalars(_of(lease.run_id, round, attempt))}
        for device_id in dict.fromkeys(device_ids):
            if device_id not in asked:
                new = ParticipationRow(
                    run_id=lease.run_id,
                    round=round,
                    attempt=attempt,
                    device_id=device_id,
                    state="asked",
                    reason="",
                    bytes_up=0,
                    bytes_down=0,
                    asked=now,
                )
                session.add(new)
                asked[device_id] = new
        session.flush()
        return [_record(asked[device_id]) for device_id in dict.fromkeys(device_ids)]


def record_outcome(registry: Registry, lease: Lease, slot: Slot, outcome: Outcome) -> Participation:
    """Take what a device did, once. Only an update that came back from here may be counted.

    Parameters
    ----------
    registry : Registry
    lease : Lease
        Of the slot's run.
    slot : Slot
    outcome : Outcome

    Raises
    ------
    DuplicateUpdate, WrongRound, WrongModel, NotAsked, DeviceRefused
        If the update must not be counted. Nothing changes, and the audit log says so.
    LeaseLost
        If another aggregator drives the run now.
    """
    done = settle_all(registry, lease, [(slot, outcome)])[0]
    if isinstance(done, RegistryError):
        raise done
    return done


def settle_all(
    registry: Registry, lease: Lease, outcomes: Sequence[tuple[Slot, Outcome]]
) -> list[Participation | UpdateRefused | DeviceRefused]:
    """Like `record_outcome` for many at once, in one transaction: a write that must reach the disk costs milliseconds.

    Returns
    -------
    list of Participation or error
        In the order given; an error where the update must not be counted.

    Raises
    ------
    LeaseLost
        If another aggregator drives the run now.
    """
    done: list[Participation | UpdateRefused | DeviceRefused] = []
    refused: list[tuple[Slot, UpdateRefused | DeviceRefused]] = []
    with registry.writing() as session:
        leases.check(session, lease)
        now = database_now(session)
        # Read together, and held, so that what follows asks the database for none of them again.
        held = _read(session, lease.run_id, [slot for slot, _ in outcomes])
        for slot, outcome in outcomes:
            try:
                done.append(_record_one(lease, slot, outcome, now, held))
            except (UpdateRefused, DeviceRefused) as error:
                done.append(error)
                refused.append((slot, error))
        for slot, why in refused:
            audit.append(
                session,
                "update.refused",
                subject=str(slot),
                actor=f"device:{slot.device_id}",
                rule=type(why).__name__,
                why=str(why),
            )
    return done


@dataclass(frozen=True, slots=True)
class _Held:
    rounds: Mapping[tuple[int, int], RoundRow]
    participations: Mapping[Slot, ParticipationRow]
    devices: Mapping[str, DeviceRow]


def _read(session: Session, run_id: str, slots: Sequence[Slot]) -> _Held:
    ids = {slot.device_id for slot in slots}
    attempts = {(slot.round, slot.attempt) for slot in slots}
    rounds = {each: row for each in attempts if (row := session.get(RoundRow, (run_id, *each))) is not None}
    rows = [
        row
        for round, attempt in rounds
        for row in session.scalars(_of(run_id, round, attempt).where(ParticipationRow.device_id.in_(ids)))
    ]
    return _Held(
        rounds=rounds,
        participations={Slot(row.run_id, row.round, row.attempt, row.device_id): row for row in rows},
        devices={row.id: row for row in session.scalars(select(DeviceRow).where(DeviceRow.id.in_(ids)))},
    )


def _record_one(lease: Lease, slot: Slot, outcome: Outcome, now: datetime, held: _Held) -> Participation:
    if slot.run_id != lease.run_id:
        raise WrongRound(f"the update {slot} is for run {slot.run_id!r}, and this is {lease.run_id!r}")
    row = held.participations.get(slot)
    if row is not None and row.receipt == outcome.receipt:
        return _record(row)
    attempt = _require_open(held.rounds.get((slot.round, slot.attempt)), slot)
    _require_wanted(held.devices.get(slot.device_id), slot, outcome, row, attempt)
    if row is None:
        raise NotAsked(f"device {slot.device_id!r} was not asked in {slot}; its update is not counted")
    row.state, row.reason, row.receipt = outcome.state, outcome.reason[:500], outcome.receipt
    row.seconds, row.bytes_up, row.bytes_down = outcome.seconds, outcome.bytes_up, outcome.bytes_down
    row.answered = now
    return _record(row)


def _require_wanted(
    device: DeviceRow | None, slot: Slot, outcome: Outcome, row: ParticipationRow | None, attempt: RoundRow
) -> None:
    if row is not None and row.state != "asked":
        raise DuplicateUpdate(f"device {slot.device_id!r} has {row.state} in {slot} before; this one is not counted")
    if outcome.state != "answered":
        return
    if device is not None and device.status != "enrolled":
        raise DeviceRefused(f"device {device.id} is revoked; its update for {slot} is not counted")
    if outcome.base_sha256 is not None and outcome.base_sha256 != attempt.base_sha256:
        raise WrongModel(
            f"the update {slot} started from arrays {outcome.base_sha256[:12]}…, and the round from "
            f"{attempt.base_sha256[:12]}…; it is not counted, the device gets the right ones when asked again"
        )


def _require_open(row: RoundRow | None, slot: Slot) -> RoundRow:
    if row is None:
        raise WrongRound(f"run {slot.run_id!r} has no attempt {slot.attempt} at round {slot.round}")
    if row.state != "open":
        raise WrongRound(
            f"attempt {slot.attempt} at round {slot.round} of run {slot.run_id!r} is {row.state}; "
            "the update came too late and is not counted"
        )
    return row


def measure(registry: Registry, lease: Lease, round: int, attempt: int, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Note the bytes that devices sent and were sent in an attempt, all its messages together; again changes nothing.

    Parameters
    ----------
    sizes : mapping of str to (int, int)
        Bytes up and down by device.

    Raises
    ------
    LeaseLost
        If another aggregator drives the run now.
    """
    with registry.writing() as session:
        leases.check(session, lease)
        for row in session.scalars(_of(lease.run_id, round, attempt)):
            row.bytes_up, row.bytes_down = sizes.get(row.device_id, (row.bytes_up, row.bytes_down))


def of_round(registry: Registry, run_id: str, round: int, attempt: int | None = None) -> list[Participation]:
    """Who took part, by device; of all attempts if none is named."""
    with registry.reading() as session:
        query = select(ParticipationRow).where(ParticipationRow.run_id == run_id, ParticipationRow.round == round)
        if attempt is not None:
            query = query.where(ParticipationRow.attempt == attempt)
        rows = session.scalars(query.order_by(ParticipationRow.attempt, ParticipationRow.device_id))
        return [_record(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Tally:
    """How devices did in one attempt, together.

    Parameters
    ----------
    states : mapping of str to int
        Devices by state.
    reasons : mapping of str to int
        Devices by why they refused or failed.
    bytes_up, bytes_down : int
    """

    states: Mapping[str, int]
    reasons: Mapping[str, int]
    bytes_up: int
    bytes_down: int


def tallies(registry: Registry, run_id: str, round: int | None = None) -> dict[tuple[int, int], Tally]:
    """How devices did in each round and attempt of a run, or of one of its rounds; counted by the database."""
    row = ParticipationRow
    sums = func.count(), func.sum(row.bytes_up), func.sum(row.bytes_down)
    query = select(row.round, row.attempt, row.state, row.reason, *sums).where(row.run_id == run_id)
    if round is not None:
        query = query.where(row.round == round)
    found: dict[tuple[int, int], Tally] = {}
    with registry.reading() as session:
        grouped = session.execute(query.group_by(row.round, row.attempt, row.state, row.reason))
        for number, attempt, state, reason, count, up, down in grouped:
            before = found.get((number, attempt), Tally({}, {}, 0, 0))
            found[number, attempt] = Tally(
                states=Counter(before.states) + Counter({state: count}),
                reasons=Counter(before.reasons) + Counter({reason: count} if reason else {}),
                bytes_up=before.bytes_up + int(up),
                bytes_down=before.bytes_down + int(down),
            )
    return found


def _of(run_id: str, round: int, attempt: int) -> Select[ParticipationRow]:
    return select(ParticipationRow).where(
        ParticipationRow.run_id == run_id, ParticipationRow.round == round, ParticipationRow.attempt == attempt
    )


def _record(row: ParticipationRow) -> Participation:
    return Participation(
        slot=Slot(row.run_id, row.round, row.attempt, row.device_id),
        state=row.state,
        reason=row.reason,
        seconds=row.seconds,
        bytes_up=row.bytes_up,
        bytes_down=row.bytes_down,
        asked=row.asked,
        answered=row.answered,
    )
