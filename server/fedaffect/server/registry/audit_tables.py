"""Tables of the audit log; triggers of the migration refuse to change or to delete what stands in them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fedaffect.server.registry.base import Table, UtcDateTime


class AuditRow(Table):
    """One thing that happened. Numbers have no gaps; ``hash`` covers the entry and the hash before it."""

    __tablename__ = "audit_log"

    # BIGINT would lose SQLite's row id, and nothing here needs the database to count: the log does it itself.
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(100), index=True)
    subject: Mapped[str] = mapped_column(String(300), index=True)
    # The canonical JSON that was hashed, as text: a JSON column may come back written otherwise.
    details: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditHeadRow(Table):
    """The newest entry's number and hash: the row that writers queue for, and what shows that the end was cut off."""

    __tablename__ = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="ck_audit_head_id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    last_id: Mapped[int] = mapped_column(BigInteger)
    last_hash: Mapped[str] = mapped_column(String(64))


class AuditAnchorRow(Table):
    """Up to where entries were archived and may be deleted, and the hash that the rest goes on from."""

    __tablename__ = "audit_anchors"

    last_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last_hash: Mapped[str] = mapped_column(String(64))
    entries: Mapped[int] = mapped_column(Integer)
    archive: Mapped[str] = mapped_column(String(4096))
    archive_sha256: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(UtcDateTime)
