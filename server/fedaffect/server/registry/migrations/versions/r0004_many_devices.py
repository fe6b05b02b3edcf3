"""Tokens for many devices, approval, groups and labels; and whose feedback it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_UNIQUE = ("name", "partition")


def upgrade() -> None:
    """A token counts the devices that came in by it, where it knew one."""
    # Columns are added and dropped one by one: SQLite would otherwise copy a table that others refer to.
    op.add_column("enrolment_tokens", sa.Column("uses", sa.Integer(), server_default="1", nullable=False))
    op.add_column("enrolment_tokens", sa.Column("approval", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("enrolment_tokens", sa.Column("group_name", sa.String(100), server_default="", nullable=False))
    op.add_column("devices", sa.Column("token_id", sa.String(32)))
    op.add_column("devices", sa.Column("group_name", sa.String(100), server_default="", nullable=False))
    op.add_column("devices", sa.Column("labels", sa.JSON(), server_default="[]", nullable=False))
    op.execute(
        "UPDATE devices SET token_id = (SELECT id FROM enrolment_tokens WHERE enrolment_tokens.device_id = devices.id)"
    )
    op.create_index("ix_devices_token_id", "devices", ["token_id"])
    op.drop_column("enrolment_tokens", "used")
    op.drop_column("enrolment_tokens", "device_id")
    _index("status <> 'revoked'")
    op.add_column("feedback", sa.Column("caller", sa.String(200), server_default="", nullable=False))
    op.create_index("ix_feedback_caller", "feedback", ["caller"])


def downgrade() -> None:
    """As before; of a token that let several in, one of them is remembered. Devices that wait are revoked."""
    op.add_column("enrolment_tokens", sa.Column("used", _MOMENT))
    op.add_column("enrolment_tokens", sa.Column("device_id", sa.String(64)))
    op.execute(
        "UPDATE enrolment_tokens SET device_id = (SELECT min(id) FROM devices WHERE token_id = enrolment_tokens.id), "
        "used = (SELECT min(enrolled) FROM devices WHERE token_id = enrolment_tokens.id)"
    )
    op.execute("UPDATE devices SET status = 'revoked', revoked = enrolled WHERE status = 'waiting'")
    op.drop_index("ix_feedback_caller", "feedback")
    op.drop_column("feedback", "caller")
    op.drop_index("ix_devices_token_id", "devices")
    for table, columns in (
        ("devices", ("token_id", "group_name", "labels")),
        ("enrolment_tokens", ("uses", "approval", "group_name")),
    ):
        for column in columns:
            op.drop_column(table, column)
    _index("status = 'enrolled'")


def _index(condition: str) -> None:
    """Names and partitions are one device's, as long as it is what the condition says."""
    for column in _UNIQUE:
        op.drop_index(f"uq_devices_{column}", "devices")
        op.create_index(
            f"uq_devices_{column}",
            "devices",
            [column],
            unique=True,
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
