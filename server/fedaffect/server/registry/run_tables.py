"""Tables of learning: runs, their rounds, who took part, what privacy it cost, and who may drive a run now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedaffect.server.registry.base import Table, Uint64, UtcDateTime


class RunRow(Table):
    """One of our runs, which outlives the Flower runs that execute it."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(20), index=True)
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    data_statement: Mapped[str] = mapped_column(Text)
    privacy: Mapped[dict[str, Any]] = mapped_column(JSON)
    reason: Mapped[str] = mapped_column(String(500))
    started: Mapped[datetime] = mapped_column(UtcDateTime)
    finished: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FlowerRunRow(Table):
    """A Flower run and the run of ours that it carries on."""

    __tablename__ = "flower_runs"

    flower_run_id: Mapped[int] = mapped_column(Uint64, primary_key=True)
    run_id: Mapped[str] = mapped_column(String(64), ForeignKey("runs.id", name="fk_flower_runs_run_id"), index=True)
    started: Mapped[datetime] = mapped_column(UtcDateTime)


class RoundRow(Table):
    """One attempt at a round; of a round's attempts at most one is committed, of a run's at most one is open."""

    __tablename__ = "rounds"
    __table_args__ = (
        Index(
            "uq_rounds_committed",
            "run_id",
            "round",
            unique=True,
            sqlite_where=text("state = 'committed'"),
            postgresql_where=text("state = 'committed'"),
        ),
        Index(
            "uq_rounds_open",
            "run_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )

    run_id: Mapped[str] = mapped_column(String(64), ForeignKey("runs.id", name="fk_rounds_run_id"), primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(String(20))
    fencing_token: Mapped[int] = mapped_column(BigInteger)
    selected: Mapped[list[str]] = mapped_column(JSON)
    base_sha256: Mapped[str] = mapped_column(String(64))
    unmasked: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    arrays_sha256: Mapped[str | None] = mapped_column(String(64))
    checkpoint: Mapped[str | None] = mapped_column(String(4096))
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    reason: Mapped[str] = mapped_column(String(500))
    started: Mapped[datetime] = mapped_column(UtcDateTime)
    finished: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ParticipationRow(Table):
    """What one device did in one attempt. Its key is why an update is never counted twice."""

    __tablename__ = "participations"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "round", "attempt"],
            ["rounds.run_id", "rounds.round", "rounds.attempt"],
            name="fk_participations_round",
        ),
        Index("ix_participations_device_id", "device_id"),
        Index("ix_participations_asked", "asked"),
    )

    run_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    receipt: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(500))
    seconds: Mapped[float | None] = mapped_column(Float(53))
    bytes_up: Mapped[int] = mapped_column(BigInteger)
    bytes_down: Mapped[int] = mapped_column(BigInteger)
    asked: Mapped[datetime] = mapped_column(UtcDateTime)
    answered: Mapped[datetime | None] = mapped_column(UtcDateTime)


class PrivacyRow(Table):
    """What a device had spent in its lifetime after one charge; never changed, never deleted."""

    __tablename__ = "privacy_ledger"
    __table_args__ = (
        UniqueConstraint("run_id", "round", "attempt", "device_id", name="uq_privacy_ledger_charge"),
        Index("ix_privacy_ledger_device_id", "device_id"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    device_id: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str] = mapped_column(String(64), ForeignKey("runs.id", name="fk_privacy_ledger_run_id"))
    round: Mapped[int] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer)
    unit: Mapped[str] = mapped_column(String(20))
    epsilon: Mapped[float] = mapped_column(Float(53))
    delta: Mapped[float] = mapped_column(Float(53))
    accountant: Mapped[str] = mapped_column(String(50))
    noise_multiplier: Mapped[float] = mapped_column(Float(53))
    charged: Mapped[datetime] = mapped_column(UtcDateTime)


class LeaseRow(Table):
    """Who drives a run, until when. The token grows with every change of hands, and is never reset."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    fencing_token: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)
