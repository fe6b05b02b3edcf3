"""Sessions that people chose to keep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table; nobody has kept anything yet."""
    op.create_table(
        "kept_sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("caller", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("timeline", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_kept_sessions_caller", "kept_sessions", ["caller"])
    op.create_index("ix_kept_sessions_created", "kept_sessions", ["created"])


def downgrade() -> None:
    """What was kept is gone."""
    op.drop_index("ix_kept_sessions_created", "kept_sessions")
    op.drop_index("ix_kept_sessions_caller", "kept_sessions")
    op.drop_table("kept_sessions")
