"""The registry's table of sessions that people chose to keep."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fedaffect.server.registry.base import Table, UtcDateTime


class KeptSessionRow(Table):
    """A session, its summary beside its timeline, so that a list reads no timelines."""

    __tablename__ = "kept_sessions"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    caller: Mapped[str] = mapped_column(String(200), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(200))
    notes: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    summary: Mapped[dict[str, Any]] = mapped_column(JSON)
    timeline: Mapped[bytes] = mapped_column(LargeBinary)
