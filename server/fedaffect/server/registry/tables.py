"""The registry's tables. A change here wants a migration in ``migrations/versions``; a test compares the two.

Those of the cloud's face stand here; ``fleet_tables``, ``run_tables`` and ``audit_tables`` have the fleet's,
``user_tables`` has people's accounts, ``session_tables`` what they chose to keep.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from fedaffect.server.registry import audit_tables, fleet_tables, run_tables, session_tables, user_tables
from fedaffect.server.registry.base import Table, UtcDateTime

# Imported so that ``Table.metadata`` knows every table, whoever asks for it.
__all__ = [
    "ApiKeyRow",
    "BundleRow",
    "DeploymentRow",
    "FeedbackRow",
    "ModelRow",
    "Table",
    "UtcDateTime",
    "audit_tables",
    "fleet_tables",
    "run_tables",
    "session_tables",
    "user_tables",
]


class ApiKeyRow(Table):
    """A key without its secret."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(256))
    name: Mapped[str] = mapped_column(String(200))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    expires: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked: Mapped[datetime | None] = mapped_column(UtcDateTime)
    requests_per_minute: Mapped[int] = mapped_column(Integer)


class ModelRow(Table):
    """A model version and the folder it lies in."""

    __tablename__ = "models"

    version: Mapped[str] = mapped_column(String(200), primary_key=True)
    profile: Mapped[str] = mapped_column(String(100))
    path: Mapped[str] = mapped_column(String(4096))
    label_set: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64))
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    lineage: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    run_id: Mapped[str | None] = mapped_column(String(64), index=True)
    round: Mapped[int | None] = mapped_column(Integer)
    data_statement: Mapped[str] = mapped_column(String(4000), default="", server_default="")
    epsilon: Mapped[float | None] = mapped_column(Float(53))
    delta: Mapped[float | None] = mapped_column(Float(53))


class BundleRow(Table):
    """A bundle's tar, and since when devices may have it."""

    __tablename__ = "bundles"

    version: Mapped[str] = mapped_column(String(200), primary_key=True)
    path: Mapped[str] = mapped_column(String(4096))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    offered: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class DeploymentRow(Table):
    """Who got which version from then on; the newest row holds."""

    __tablename__ = "deployments"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    shares: Mapped[dict[str, float]] = mapped_column(JSON)
    restores: Mapped[int | None] = mapped_column(Integer)


class FeedbackRow(Table):
    """What a user said it really was."""

    __tablename__ = "feedback"

    idempotency_key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(200), index=True)
    label: Mapped[str] = mapped_column(String(100))
    consent: Mapped[bool] = mapped_column(Boolean)
    model_version: Mapped[str] = mapped_column(String(200))
    features: Mapped[bytes | None] = mapped_column(LargeBinary)
    received: Mapped[datetime] = mapped_column(UtcDateTime)
    caller: Mapped[str] = mapped_column(String(200), server_default="", index=True)
