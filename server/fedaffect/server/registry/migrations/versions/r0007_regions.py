"""Devices that are regions: they stand for devices of their own, and come in by tokens for regions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column each; who is enrolled already is no region, and tokens that were made let devices in."""
    op.add_column("devices", sa.Column("region", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("enrolment_tokens", sa.Column("region", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """What regions said is gone."""
    op.drop_column("enrolment_tokens", "region")
    op.drop_column("devices", "region")
