"""Devices that are regions: they stand for devices of their own, of which they say how many there are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column; who is enrolled already is no region."""
    op.add_column("devices", sa.Column("region", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """What regions said is gone."""
    op.drop_column("devices", "region")
