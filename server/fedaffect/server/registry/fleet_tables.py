"""Tables of the fleet: devices, the keys they and servers are known by, and how bundles reach them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, Float, ForeignKey, Index, Integer, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from fedaffect.server.registry.base import Table, Uint64, UtcDateTime


class EnrolmentTokenRow(Table):
    """Lets devices in until it runs out; kept without its secret."""

    __tablename__ = "enrolment_tokens"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(256))
    note: Mapped[str] = mapped_column(String(200))
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)
    uses: Mapped[int] = mapped_column(Integer, server_default="1")
    approval: Mapped[bool] = mapped_column(Boolean, server_default=false())
    group: Mapped[str] = mapped_column("group_name", String(100), server_default="")
    region: Mapped[bool] = mapped_column(Boolean, server_default=false())


class DeviceRow(Table):
    """A device; its keys stand in ``keys``."""

    __tablename__ = "devices"
    __table_args__ = (
        # A name is free again once its device is revoked.
        Index(
            "uq_devices_name",
            "name",
            unique=True,
            sqlite_where=text("status <> 'revoked'"),
            postgresql_where=text("status <> 'revoked'"),
        ),
        # So is its partition.
        Index(
            "uq_devices_partition",
            "partition",
            unique=True,
            sqlite_where=text("status <> 'revoked'"),
            postgresql_where=text("status <> 'revoked'"),
        ),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20), index=True)
    modalities: Mapped[list[str]] = mapped_column(JSON)
    memory_mb: Mapped[int] = mapped_column(Integer)
    cores: Mapped[int] = mapped_column(Integer)
    partition: Mapped[int] = mapped_column(Integer)
    consent: Mapped[bool] = mapped_column(Boolean)
    consent_changed: Mapped[datetime] = mapped_column(UtcDateTime)
    enrolled: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(String(500))
    last_seen: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Of a token that may have been pruned.
    token_id: Mapped[str | None] = mapped_column(String(32), index=True)
    group: Mapped[str] = mapped_column("group_name", String(100), server_default="")
    labels: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    # What a region said of its devices; null of a device that is none.
    region: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class KeyRow(Table):
    """A public key or certificate of a device, a server or the CA, and from when until when it counts."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(30))
    owner: Mapped[str] = mapped_column(String(200), index=True)
    public: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    node_id: Mapped[int | None] = mapped_column(Uint64, unique=True)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime)
    not_after: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked: Mapped[datetime | None] = mapped_column(UtcDateTime)
    replaces: Mapped[str | None] = mapped_column(String(32))
    created: Mapped[datetime] = mapped_column(UtcDateTime)


class RolloutRow(Table):
    """A bundle on its way to devices, first to a part of them."""

    __tablename__ = "rollouts"
    __table_args__ = (
        # One at a time: what a device reports must be owed to one change.
        Index(
            "uq_rollouts_staged",
            "state",
            unique=True,
            sqlite_where=text("state = 'staged'"),
            postgresql_where=text("state = 'staged'"),
        ),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    bundle_version: Mapped[str] = mapped_column(
        String(200), ForeignKey("bundles.version", name="fk_rollouts_bundle_version")
    )
    percent: Mapped[float] = mapped_column(Float(53))
    state: Mapped[str] = mapped_column(String(20))
    tolerance: Mapped[float] = mapped_column(Float(53))
    min_examples: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(String(500))
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    changed: Mapped[datetime] = mapped_column(UtcDateTime)


class RolloutReportRow(Table):
    """What a device found: the bundle before and the new one on its own labelled examples."""

    __tablename__ = "rollout_reports"

    rollout_id: Mapped[int] = mapped_column(
        Integer, ForeignKey("rollouts.id", name="fk_rollout_reports_rollout_id"), primary_key=True
    )
    device_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("devices.id", name="fk_rollout_reports_device_id"), primary_key=True
    )
    metric: Mapped[str] = mapped_column(String(50))
    before: Mapped[float] = mapped_column(Float(53))
    after: Mapped[float] = mapped_column(Float(53))
    examples: Mapped[int] = mapped_column(Integer)
    reported: Mapped[datetime] = mapped_column(UtcDateTime)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
