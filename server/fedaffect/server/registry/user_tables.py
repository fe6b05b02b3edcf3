"""Tables of people: who may look at the server's page and act there, and their logins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from fedaffect.server.registry.base import Table, UtcDateTime


class UserRow(Table):
    """An account, without its password."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    password_hash: Mapped[str] = mapped_column(String(256))
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    password_changed: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginRow(Table):
    """One browser that is logged in; deleted where it is ended, or its account is removed or changed."""

    __tablename__ = "logins"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(256))
    user_id: Mapped[str] = mapped_column(String(32), ForeignKey("users.id", name="fk_logins_user_id"), index=True)
    address: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    seen: Mapped[datetime] = mapped_column(UtcDateTime)
    expires: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
