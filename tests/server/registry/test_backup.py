"""Backups come back whole, in the same database or the other one; what was damaged does not."""

from __future__ import annotations

import json
import math
import secrets
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url, text
from tests.support.public_keys import public_key

from fedaffect.server.cli.registry import registry as command
from fedaffect.server.registry import (
    Registry,
    api_keys,
    audit,
    backup,
    bundles,
    deployments,
    devices,
    feedback,
    kept_sessions,
    leases,
    logins,
    models,
    participations,
    portable,
    privacy,
    retention,
    rollouts,
    rounds,
    runs,
    tokens,
    users,
)
from fedaffect.server.registry.errors import BackupError, LeaseLost
from fedaffect.server.registry.folder_hash import file_sha256
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.participations import Outcome, Slot


@pytest.fixture
def empty_database(postgresql_url: str) -> Iterator[str]:
    """Another database of the same server, with an empty schema of the same name."""
    url = make_url(postgresql_url)
    name = f"fedaffect_{secrets.token_hex(6)}"
    schema = str(url.query["options"]).partition("=")[2]
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(url.set(database=name))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    yield url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def _fill(registry: Registry, folder: Path) -> Lease:
    """A row in every table."""
    api_keys.create(registry, "kiosk", ["predict"])
    feedback.take(
        registry,
        feedback.Feedback(idempotency_key="1", request_id="r", label="joy", consent=True, features=b"\x00\xff"),
    )
    ada = users.add(registry, "ada", "operator", "a long enough password")
    logins.begin(registry, ada, "127.0.0.1", logins.Lifetime())
    kept_sessions.keep(
        registry,
        kept_sessions.KeptSession(caller="1", kind="film", name="w", summary={"joy": 0.5}, timeline=b"\x00\xff"),
    )
    bundles.add(registry, version="b", path=Path("b.tar"), sha256="b" * 64, size_bytes=3 << 40)
    models.add(registry, version="v", profile="cloud", path=Path("v"), label_set="shared7", sha256="0" * 64)
    deployments.share(registry, {"v": 1.0})
    device = devices.enroll(
        registry,
        tokens.make_token(registry),
        name="żółw ✓",
        public_key=public_key("A"),
        capabilities=devices.Capabilities(modalities=("text",), memory_mb=1, cores=1),
        consent=True,
    )
    devices.set_node(registry, device.id, 2**64 - 1)
    runs.create(registry, run_id="run", config={"lr": 0.1, "nested": {"a": [1, None, "x"]}})
    runs.attach(registry, "run", 2**63)
    lease = leases.acquire(registry, "run", "me", seconds=3600)
    rounds.open_round(registry, lease, 1, selected=[device.id], base_sha256="a" * 64)
    participations.ask(registry, lease, 1, 1, [device.id])
    participations.record_outcome(registry, lease, Slot("run", 1, 1, device.id), Outcome(state="answered", seconds=0.1))
    paid = privacy.Charge(
        run_id="run",
        round=1,
        attempt=1,
        device_id=device.id,
        unit="example",
        epsilon=math.inf,
        delta=1e-5,
        accountant="rdp",
        noise_multiplier=0.0,
    )
    privacy.charge(registry, paid)
    rounds.commit(registry, lease, 1, 1, arrays_sha256="b" * 64, checkpoint="x", metrics={"uar": 1 / 3})
    rollouts.stage(registry, "b", 99.999, min_examples=10**6)
    rollouts.report(registry, device.id, "b", metric="uar", before=0.5, after=0.6, examples=10)
    retention.archive(registry, folder / "archive.jsonl", before=datetime.now(UTC) + timedelta(hours=1))
    with registry.reading() as session:
        assert all(portable.count(session).values())
    return lease


def _dump(registry: Registry) -> dict[str, list[str]]:
    """Everything, but for what a restore itself writes."""
    with registry.reading() as session:
        return {
            table.name: [str(row) for row in session.execute(table.select().order_by(*table.primary_key.columns))]
            for table in portable.tables()
            if table.name not in {"audit_log", "audit_head", "leases", "logins"}
        }


def _require_same(original: Registry, copy: Registry, lease: Lease, head: audit.Head) -> None:
    assert _dump(copy) == _dump(original)
    # The chain goes on behind what was restored, and its guards stand.
    assert audit.verify(copy, head).head.id == head.id + 1
    with pytest.raises(Exception, match="append-only"), copy.writing() as session:
        session.execute(text("UPDATE audit_log SET actor = ''"))
    # Who was logged in when the backup was made no longer is, and who drove a run no longer does.
    assert not [login for user in users.every(copy) for login in logins.of_user(copy, user)]
    with pytest.raises(LeaseLost):
        rounds.open_round(copy, lease, 2, selected=[], base_sha256="b" * 64)
    taken = leases.acquire(copy, "run", "next")
    assert taken.fencing_token > lease.fencing_token
    rounds.open_round(copy, taken, 2, selected=[], base_sha256="b" * 64)
    # Numbers that the database gives out do not collide with those that came with the backup.
    assert deployments.share(copy, {"v": 1.0}).id == 2


def test_sqlite_there_and_back(tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as original:
        lease = _fill(original, tmp_path)
        head = audit.head(original)
        made = backup.make(original, tmp_path / "backup")
        assert (made.form, made.head) == (backup.SQLITE, str(head))
        with pytest.raises(BackupError, match="never overwritten"):
            backup.make(original, tmp_path / "backup")
        assert backup.check(tmp_path / "backup") == made
        url = f"sqlite:///{tmp_path / 'new' / 'server.db'}"
        assert backup.restore(tmp_path / "backup", url) == made
        with pytest.raises(BackupError, match="into a new file"):
            backup.restore(tmp_path / "backup", url)
        with Registry.open(url) as copy:
            _require_same(original, copy, lease, head)


def test_postgresql_there_and_back(postgresql_url: str, empty_database: str, tmp_path: Path) -> None:
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed; PostgreSQL's client programs have it")
    with Registry.open(postgresql_url) as original:
        lease = _fill(original, tmp_path)
        head = audit.head(original)
        made = backup.make(original, tmp_path / "backup")
        assert (made.form, made.head) == (backup.POSTGRESQL, str(head))
        with pytest.raises(BackupError, match="has tables already"):
            backup.restore(tmp_path / "backup", postgresql_url)
        with pytest.raises(BackupError, match="does not go into sqlite"):
            backup.restore(tmp_path / "backup", f"sqlite:///{tmp_path / 'other.db'}")
        with pytest.raises(BackupError, match="belongs into the schema"):
            backup.restore(
                tmp_path / "backup", make_url(empty_database).set(query={}).render_as_string(hide_password=False)
            )
        backup.restore(tmp_path / "backup", empty_database)
        with Registry.open(empty_database) as copy:
            _require_same(original, copy, lease, head)


def test_from_one_database_to_the_other(postgresql_url: str, tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as original, Registry.open(postgresql_url) as copy:
        lease = _fill(original, tmp_path)
        head = audit.head(original)
        made = backup.make(original, tmp_path / "there", as_portable=True)
        assert backup.restore(tmp_path / "there", postgresql_url) == made
        with pytest.raises(BackupError, match="is not empty"):
            backup.restore(tmp_path / "there", postgresql_url)
        _require_same(original, copy, lease, head)
        head = audit.head(copy)
        backup.make(copy, tmp_path / "back", as_portable=True)
        url = f"sqlite:///{tmp_path / 'again.db'}"
        backup.restore(tmp_path / "back", url)
        with Registry.open(url) as again:
            assert _dump(again) == _dump(copy)
            assert audit.verify(again, head).archived > 0


def _with_a_byte_changed(whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]


@pytest.mark.parametrize("as_portable", [False, True])
def test_a_damaged_backup_is_not_restored(tmp_path: Path, as_portable: bool) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as original:
        _fill(original, tmp_path)
        made = backup.make(original, tmp_path / "backup", as_portable=as_portable)
    url = f"sqlite:///{tmp_path / 'new.db'}"
    for name in (*list(made.sha256)[:4], backup.MANIFEST):
        path = tmp_path / "backup" / name
        whole = path.read_bytes()
        for damaged in (whole[:-5], _with_a_byte_changed(whole)):
            path.write_bytes(damaged)
            with pytest.raises(BackupError):
                backup.restore(tmp_path / "backup", url)
        path.unlink()
        with pytest.raises(BackupError):
            backup.restore(tmp_path / "backup", url)
        path.write_bytes(whole)
    assert not (tmp_path / "new.db").exists()
    # Who makes the hashes right as well is given away by the chain, or by the rows that are missing.
    if as_portable:
        manifest = tmp_path / "backup" / backup.MANIFEST
        path = tmp_path / "backup" / "tables" / "participations.jsonl"
        path.write_text("")
        said = json.loads(manifest.read_text())
        said["sha256"]["tables/participations.jsonl"] = file_sha256(path)
        manifest.write_text(json.dumps(said))
        with pytest.raises(BackupError, match="other rows than the backup in participations"):
            backup.check(tmp_path / "backup")


@pytest.mark.slow
def test_a_backup_is_one_state_while_others_write(registry: Registry, url: str, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with Registry.open(url) as other:
            number = 0
            # SQLite's lock goes to whoever asks at the right moment; a writer without a pause might have it always.
            while not stop.wait(0.002):
                number += 1
                audit.write(other, "a.b", subject=str(number), actor="me")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backup.make(registry, tmp_path / str(number), as_portable=number == 1) for number in range(2)]
    finally:
        stop.set()
        writer.join()
    for each in made:
        assert each.rows["audit_log"] == int(each.head.partition(":")[0])
    assert audit.verify(registry).entries > made[-1].rows["audit_log"]


def test_what_is_old_is_pruned_and_the_rest_is_not(registry: Registry, tmp_path: Path) -> None:
    lease = _fill(registry, tmp_path)
    rounds.open_round(registry, lease, 2, selected=["x"], base_sha256="b" * 64)
    participations.ask(registry, lease, 2, 1, ["x"])
    assert retention.prune(registry, timedelta(days=1)) == retention.Pruned(
        participations=0, feedback=0, enrolment_tokens=0
    )
    # What is still going on is never old; a token that is still valid is none either.
    assert retention.prune(registry, timedelta(0)) == retention.Pruned(participations=1, feedback=1, enrolment_tokens=0)
    assert participations.of_round(registry, "run", 1) == []
    assert len(participations.of_round(registry, "run", 2)) == 1
    assert len(rounds.of_run(registry, "run")) == 2
    assert len(privacy.charges(registry)) == 1
    with pytest.raises(Exception, match="is committed"):
        participations.record_outcome(registry, lease, Slot("run", 1, 1, "x"), Outcome(state="answered"))
    assert audit.verify(registry).head == audit.head(registry)


def test_an_operator_backs_up_and_exports(registry: Registry, url: str, tmp_path: Path) -> None:
    _fill(registry, tmp_path)

    def run(*arguments: str, to: str = url) -> str:
        return CliRunner().invoke(command, arguments, catch_exceptions=False, env={"FEDAFFECT_REGISTRY": to}).output

    assert "audit log up to" in run("backup", str(tmp_path / "monday"), "--portable")
    assert "as it was made" in run("check", str(tmp_path / "monday"))
    assert "everything is there" in run("restore", str(tmp_path / "monday"), to=f"sqlite:///{tmp_path / 'new.db'}")
    assert "tables lie in" in run("export", str(tmp_path / "read"))
    said = "".join(path.read_text() for path in (tmp_path / "read").iterdir())
    assert "sha256$" not in said
    assert json.loads((tmp_path / "read" / "privacy_ledger.jsonl").read_text())["epsilon"] == "inf"
    assert "features" not in json.loads((tmp_path / "read" / "feedback.jsonl").read_text())
    with pytest.raises(BackupError, match="is not empty"):
        run("export", str(tmp_path / "read"))
    assert "deleted 0 participations" in run("prune", "--older-than", "30")
