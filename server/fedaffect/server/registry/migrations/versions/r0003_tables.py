"""All tables, and what keeps some of them append-only."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

# Databases of revisions before this one are refused: nobody depends on them.
revision = "0003"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
# In the order in which they can be dropped.
_TABLES = (
    "rollout_reports",
    "rollouts",
    "participations",
    "rounds",
    "privacy_ledger",
    "flower_runs",
    "runs",
    "leases",
    "keys",
    "enrolment_tokens",
    "devices",
    "audit_log",
    "audit_head",
    "audit_anchors",
    "feedback",
    "deployments",
    "bundles",
    "models",
    "api_keys",
)

_GENESIS = "0" * 64
_SQLITE_GUARDS = (
    """CREATE TRIGGER audit_log_update BEFORE UPDATE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END""",
    """CREATE TRIGGER audit_log_delete BEFORE DELETE ON audit_log
    WHEN NOT EXISTS (SELECT 1 FROM audit_anchors WHERE last_id >= OLD.id)
    BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END""",
    # An empty log's head may be set anywhere, once: a restored log may begin behind an anchor.
    """CREATE TRIGGER audit_head_update BEFORE UPDATE ON audit_head
    WHEN NEW.last_id <> OLD.last_id + 1 AND OLD.last_id <> 0
    BEGIN SELECT RAISE(ABORT, 'audit_head only goes forward'); END""",
    """CREATE TRIGGER audit_head_delete BEFORE DELETE ON audit_head
    BEGIN SELECT RAISE(ABORT, 'audit_head only goes forward'); END""",
    """CREATE TRIGGER audit_anchors_update BEFORE UPDATE ON audit_anchors
    BEGIN SELECT RAISE(ABORT, 'audit_anchors is append-only'); END""",
    """CREATE TRIGGER audit_anchors_delete BEFORE DELETE ON audit_anchors
    BEGIN SELECT RAISE(ABORT, 'audit_anchors is append-only'); END""",
    """CREATE TRIGGER privacy_ledger_update BEFORE UPDATE ON privacy_ledger
    BEGIN SELECT RAISE(ABORT, 'privacy_ledger is append-only'); END""",
    """CREATE TRIGGER privacy_ledger_delete BEFORE DELETE ON privacy_ledger
    BEGIN SELECT RAISE(ABORT, 'privacy_ledger is append-only'); END""",
    # INSERT OR REPLACE takes rows out past the triggers above.
    """CREATE TRIGGER privacy_ledger_replace BEFORE INSERT ON privacy_ledger
    WHEN EXISTS (
        SELECT 1 FROM privacy_ledger AS old WHERE old.id = NEW.id OR (
            old.run_id = NEW.run_id AND old.round = NEW.round AND old.attempt = NEW.attempt
            AND old.device_id = NEW.device_id
        )
    )
    BEGIN SELECT RAISE(ABORT, 'privacy_ledger is append-only'); END""",
    """CREATE TRIGGER audit_anchors_replace BEFORE INSERT ON audit_anchors
    WHEN EXISTS (SELECT 1 FROM audit_anchors AS old WHERE old.last_id = NEW.last_id)
    BEGIN SELECT RAISE(ABORT, 'audit_anchors is append-only'); END""",
)
_POSTGRESQL_FUNCTIONS = (
    """CREATE FUNCTION fedaffect_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$""",
    """CREATE FUNCTION fedaffect_refuse_unarchived() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT 1 FROM audit_anchors WHERE last_id >= OLD.id) THEN RETURN OLD; END IF;
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
    END $$""",
    """CREATE FUNCTION fedaffect_refuse_backwards() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.last_id = OLD.last_id + 1 OR OLD.last_id = 0 THEN RETURN NEW; END IF;
        RAISE EXCEPTION '% only goes forward', TG_TABLE_NAME;
    END $$""",
)
_POSTGRESQL_GUARDS = (
    ("audit_log", "UPDATE", "fedaffect_refuse"),
    ("audit_log", "DELETE", "fedaffect_refuse_unarchived"),
    ("audit_log", "TRUNCATE", "fedaffect_refuse"),
    ("audit_head", "UPDATE", "fedaffect_refuse_backwards"),
    ("audit_head", "DELETE", "fedaffect_refuse"),
    ("audit_head", "TRUNCATE", "fedaffect_refuse"),
    ("audit_anchors", "UPDATE", "fedaffect_refuse"),
    ("audit_anchors", "DELETE", "fedaffect_refuse"),
    ("audit_anchors", "TRUNCATE", "fedaffect_refuse"),
    ("privacy_ledger", "UPDATE", "fedaffect_refuse"),
    ("privacy_ledger", "DELETE", "fedaffect_refuse"),
    ("privacy_ledger", "TRUNCATE", "fedaffect_refuse"),
)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("secret_hash", sa.String(256), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("expires", _MOMENT),
        sa.Column("revoked", _MOMENT),
        sa.Column("requests_per_minute", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_table(
        "models",
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("profile", sa.String(100), nullable=False),
        sa.Column("path", sa.String(4096), nullable=False),
        sa.Column("label_set", sa.String(100), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("lineage", sa.JSON(), nullable=False),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("round", sa.Integer()),
        sa.Column("data_statement", sa.String(4000), server_default="", nullable=False),
        sa.Column("epsilon", sa.Float(53)),
        sa.Column("delta", sa.Float(53)),
        sa.PrimaryKeyConstraint("version", name="pk_models"),
    )
    op.create_index("ix_models_run_id", "models", ["run_id"])
    op.create_table(
        "bundles",
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("path", sa.String(4096), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("offered", _MOMENT),
        sa.PrimaryKeyConstraint("version", name="pk_bundles"),
    )
    op.create_index("ix_bundles_offered", "bundles", ["offered"])
    op.create_table(
        "deployments",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("restores", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
    )
    op.create_table(
        "feedback",
        sa.Column("idempotency_key", sa.String(200), nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False),
        sa.Column("label", sa.String(100), nullable=False),
        sa.Column("consent", sa.Boolean(), nullable=False),
        sa.Column("model_version", sa.String(200), nullable=False),
        sa.Column("features", sa.LargeBinary()),
        sa.Column("received", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("idempotency_key", name="pk_feedback"),
    )
    op.create_index("ix_feedback_request_id", "feedback", ["request_id"])
    op.create_table(
        "audit_anchors",
        sa.Column("last_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_hash", sa.String(64), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("archive", sa.String(4096), nullable=False),
        sa.Column("archive_sha256", sa.String(64), nullable=False),
        sa.Column("created", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("last_id", name="pk_audit_anchors"),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("last_hash", sa.String(64), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_audit_head_id"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(100), nullable=False),
        sa.Column("subject", sa.String(300), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_action", "audit_log", ["action"])
    op.create_index("ix_audit_log_at", "audit_log", ["at"])
    op.create_index("ix_audit_log_subject", "audit_log", ["subject"])
    op.create_table(
        "devices",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("modalities", sa.JSON(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("consent", sa.Boolean(), nullable=False),
        sa.Column("consent_changed", _MOMENT, nullable=False),
        sa.Column("enrolled", _MOMENT, nullable=False),
        sa.Column("revoked", _MOMENT),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("last_seen", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_devices"),
    )
    op.create_index("ix_devices_status", "devices", ["status"])
    op.create_index("uq_devices_name", "devices", ["name"], unique=True, **_where("status = 'enrolled'"))
    op.create_index("uq_devices_partition", "devices", ["partition"], unique=True, **_where("status = 'enrolled'"))
    op.create_table(
        "enrolment_tokens",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("secret_hash", sa.String(256), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("expires", _MOMENT, nullable=False),
        sa.Column("used", _MOMENT),
        sa.Column("device_id", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_enrolment_tokens"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("node_id", sa.String(20)),
        sa.Column("not_before", _MOMENT, nullable=False),
        sa.Column("not_after", _MOMENT, nullable=False),
        sa.Column("revoked", _MOMENT),
        sa.Column("replaces", sa.String(32)),
        sa.Column("created", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("fingerprint", name="uq_keys_fingerprint"),
        sa.UniqueConstraint("node_id", name="uq_keys_node_id"),
    )
    op.create_index("ix_keys_owner", "keys", ["owner"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("expires", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("data_statement", sa.Text(), nullable=False),
        sa.Column("privacy", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("started", _MOMENT, nullable=False),
        sa.Column("finished", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_state", "runs", ["state"])
    op.create_table(
        "flower_runs",
        sa.Column("flower_run_id", sa.String(20), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("started", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_flower_runs_run_id"),
        sa.PrimaryKeyConstraint("flower_run_id", name="pk_flower_runs"),
    )
    op.create_index("ix_flower_runs_run_id", "flower_runs", ["run_id"])
    op.create_table(
        "privacy_ledger",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("device_id", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("unit", sa.String(20), nullable=False),
        sa.Column("epsilon", sa.Float(53), nullable=False),
        sa.Column("delta", sa.Float(53), nullable=False),
        sa.Column("accountant", sa.String(50), nullable=False),
        sa.Column("noise_multiplier", sa.Float(53), nullable=False),
        sa.Column("charged", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_privacy_ledger_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_privacy_ledger"),
        sa.UniqueConstraint("run_id", "round", "attempt", "device_id", name="uq_privacy_ledger_charge"),
    )
    op.create_index("ix_privacy_ledger_device_id", "privacy_ledger", ["device_id"])
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("bundle_version", sa.String(200), nullable=False),
        sa.Column("percent", sa.Float(53), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("tolerance", sa.Float(53), nullable=False),
        sa.Column("min_examples", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("changed", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["bundle_version"], ["bundles.version"], name="fk_rollouts_bundle_version"),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_index("uq_rollouts_staged", "rollouts", ["state"], unique=True, **_where("state = 'staged'"))
    op.create_table(
        "rounds",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("selected", sa.JSON(), nullable=False),
        sa.Column("base_sha256", sa.String(64), nullable=False),
        sa.Column("unmasked", sa.JSON(none_as_null=True)),
        sa.Column("arrays_sha256", sa.String(64)),
        sa.Column("checkpoint", sa.String(4096)),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("started", _MOMENT, nullable=False),
        sa.Column("finished", _MOMENT),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_rounds_run_id"),
        sa.PrimaryKeyConstraint("run_id", "round", "attempt", name="pk_rounds"),
    )
    op.create_index("uq_rounds_committed", "rounds", ["run_id", "round"], unique=True, **_where("state = 'committed'"))
    op.create_index("uq_rounds_open", "rounds", ["run_id"], unique=True, **_where("state = 'open'"))
    op.create_table(
        "participations",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("device_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("receipt", sa.String(64)),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("seconds", sa.Float(53)),
        sa.Column("bytes_up", sa.BigInteger(), nullable=False),
        sa.Column("bytes_down", sa.BigInteger(), nullable=False),
        sa.Column("asked", _MOMENT, nullable=False),
        sa.Column("answered", _MOMENT),
        sa.ForeignKeyConstraint(
            ["run_id", "round", "attempt"],
            ["rounds.run_id", "rounds.round", "rounds.attempt"],
            name="fk_participations_round",
        ),
        sa.PrimaryKeyConstraint("run_id", "round", "attempt", "device_id", name="pk_participations"),
    )
    op.create_index("ix_participations_asked", "participations", ["asked"])
    op.create_index("ix_participations_device_id", "participations", ["device_id"])
    op.create_table(
        "rollout_reports",
        sa.Column("rollout_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.String(64), nullable=False),
        sa.Column("metric", sa.String(50), nullable=False),
        sa.Column("before", sa.Float(53), nullable=False),
        sa.Column("after", sa.Float(53), nullable=False),
        sa.Column("examples", sa.Integer(), nullable=False),
        sa.Column("reported", _MOMENT, nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name="fk_rollout_reports_device_id"),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name="fk_rollout_reports_rollout_id"),
        sa.PrimaryKeyConstraint("rollout_id", "device_id", name="pk_rollout_reports"),
    )
    head = sa.table("audit_head", sa.column("id"), sa.column("last_id"), sa.column("last_hash"))
    op.execute(head.insert().values(id=1, last_id=0, last_hash=_GENESIS))
    if op.get_bind().dialect.name == "sqlite":
        for statement in _SQLITE_GUARDS:
            op.execute(statement)
        return
    for statement in _POSTGRESQL_FUNCTIONS:
        op.execute(statement)
    for table, verb, function in _POSTGRESQL_GUARDS:
        each = "STATEMENT" if verb == "TRUNCATE" else "ROW"
        op.execute(
            f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} "
            f"FOR EACH {each} EXECUTE FUNCTION {function}()"
        )


def downgrade() -> None:
    """Drop them; triggers go with their tables."""
    for table in _TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        for function in ("fedaffect_refuse", "fedaffect_refuse_unarchived", "fedaffect_refuse_backwards"):
            op.execute(f"DROP FUNCTION {function}()")


def _where(condition: str) -> dict[str, Any]:
    """A partial index, said to both databases."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
