"""The audit log: nobody changes, moves or takes out an entry without `verify` finding it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from tests.support.public_keys import public_key

from fedaffect.edge.errors import ConfigError
from fedaffect.server.cli.audit import audit as command
from fedaffect.server.registry import Registry, audit, devices, groups, privacy, retention, runs, tokens
from fedaffect.server.registry.audit import Entry, Head
from fedaffect.server.registry.audit_tables import AuditAnchorRow, AuditHeadRow, AuditRow
from fedaffect.server.registry.errors import AuditBroken

ENTRIES = 5


@pytest.fixture
def written(registry: Registry) -> Registry:
    for number in range(1, ENTRIES + 1):
        audit.write(registry, "round.committed", subject=f"run/{number}/1", actor="me", metrics={"uar": 0.1 * number})
    return registry


@contextmanager
def unguarded(registry: Registry) -> Iterator[Session]:
    """As somebody who owns the database: the triggers out of the way, and back again."""
    tables = ("audit_log", "audit_head", "audit_anchors")
    with registry.writing() as session:
        if registry.dialect == "postgresql":
            before = [f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in tables]
            after = [f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in tables]
        else:
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'audit%'"
            found = session.execute(text(query)).all()
            before = [f"DROP TRIGGER {name}" for name, _ in found]
            after = [sql for _, sql in found]
        for statement in before:
            session.execute(text(statement))
        yield session
        session.flush()
        session.expire_all()
        for statement in after:
            session.execute(text(statement))


def _rows(registry: Registry) -> list[Entry]:
    return list(audit.entries(registry))


def _put(registry: Registry, wanted: list[Entry], head: Head) -> None:
    """Make the log consist of these entries, whatever they are."""
    with unguarded(registry) as session:
        session.execute(delete(AuditRow))
        session.execute(update(AuditHeadRow).values(last_id=head.id, last_hash=head.hash))
        for entry in wanted:
            session.add(AuditRow(**{name: getattr(entry, name) for name in Entry.__slots__}))


def _rechained(entries: list[Entry]) -> list[Entry]:
    before, chained = Head(0, audit.GENESIS), []
    for entry in entries:
        linked = replace(entry, id=before.id + 1, previous_hash=before.hash)
        linked = replace(linked, hash=audit.chained(linked))
        chained.append(linked)
        before = Head(linked.id, linked.hash)
    return chained


def test_what_was_written_verifies(written: Registry) -> None:
    head = audit.head(written)
    assert audit.verify(written) == audit.Verified(ENTRIES, 0, head)
    assert audit.verify(written, head) == audit.verify(written, Head(0, audit.GENESIS))
    assert Head.parse(str(head)) == head
    audit.write(written, "device.refused", subject="✓ żółw", actor="ö", reason='"quoted"\n[bold]', none=None)
    assert audit.verify(written, head).entries == ENTRIES + 1
    last = list(audit.entries(written, action="device"))[-1]
    assert json.loads(last.details) == {"reason": '"quoted"\n[bold]', "none": None}
    assert [entry.id for entry in audit.entries(written, limit=2)] == [5, 6]
    assert [entry.id for entry in audit.entries(written, subject="run/3")] == [3]


CHANGES: dict[str, Any] = {
    "at": lambda value: value + timedelta(microseconds=1000),
    "actor": lambda value: value + "!",
    "action": lambda value: value.replace("committed", "abandoned"),
    "subject": lambda value: value[:-1] + "2",
    "details": lambda value: value.replace("0.", "1."),
    "previous_hash": lambda value: value[::-1] if value != value[::-1] else "f" * 64,
    "hash": lambda value: value[::-1],
}


def test_a_change_of_any_field_of_any_entry_is_found(written: Registry) -> None:
    entries, head = _rows(written), audit.head(written)
    for (field, change), (number, entry) in product(CHANGES.items(), enumerate(entries)):
        changed = replace(entry, **{field: change(getattr(entry, field))})
        assert changed != entry
        _put(written, [*entries[:number], changed, *entries[number + 1 :]], head)
        with pytest.raises(AuditBroken, match=f"entry {entry.id} "):
            audit.verify(written)
        # The forger makes that entry's own hash right: the next one, or the head, gives it away.
        if field != "hash":
            forged = replace(changed, hash=audit.chained(changed))
            _put(written, [*entries[:number], forged, *entries[number + 1 :]], head)
            with pytest.raises(AuditBroken):
                audit.verify(written)
    _put(written, entries, head)
    assert audit.verify(written).head == head


def test_entries_that_are_missing_or_moved_are_found(written: Registry) -> None:
    entries, head = _rows(written), audit.head(written)
    for number in range(ENTRIES):
        _put(written, entries[:number] + entries[number + 1 :], head)
        with pytest.raises(AuditBroken, match=r"is missing|nothing was archived|taken off the end"):
            audit.verify(written)
        other = (number + 1) % ENTRIES
        swapped = list(entries)
        swapped[number] = replace(entries[other], id=number + 1)
        swapped[other] = replace(entries[number], id=other + 1)
        _put(written, swapped, head)
        with pytest.raises(AuditBroken, match="is not what was written"):
            audit.verify(written)
    _put(written, [*entries, replace(entries[-1], id=ENTRIES + 1)], head)
    with pytest.raises(AuditBroken):
        audit.verify(written)


def test_a_whole_forged_log_is_found_by_a_head_kept_elsewhere(written: Registry) -> None:
    entries, kept = _rows(written), audit.head(written)
    early = Head(entries[1].id, entries[1].hash)
    for forged in (entries[:-1], _rechained([*entries[:2], replace(entries[2], actor="nobody"), *entries[3:]])):
        _put(written, forged, Head(forged[-1].id, forged[-1].hash))
        assert audit.verify(written).entries == len(forged)
        assert audit.verify(written, early).entries == len(forged)
        with pytest.raises(AuditBroken, match="rewritten or cut off"):
            audit.verify(written, kept)


def test_the_database_refuses_changes(written: Registry) -> None:
    for statement in (
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log WHERE id = 1",
        "DELETE FROM audit_log",
        "UPDATE audit_head SET last_id = last_id - 1",
        "DELETE FROM audit_head",
    ):
        with pytest.raises(DBAPIError, match=r"append-only|only goes forward"), written.writing() as session:
            session.execute(text(statement))
    assert audit.verify(written).entries == ENTRIES


def test_postgresql_refuses_to_empty_it(postgresql_url: str) -> None:
    with Registry.open(postgresql_url) as registry:
        audit.write(registry, "run.created", subject="run", actor="me")
        for table in ("audit_log", "audit_head", "audit_anchors", "privacy_ledger"):
            with pytest.raises(DBAPIError, match="append-only"), registry.writing() as session:
                session.execute(text(f"TRUNCATE {table}"))
        assert audit.verify(registry).entries == 1


def test_guards_that_are_gone_are_found(written: Registry) -> None:
    on = " ON audit_log" if written.dialect == "postgresql" else ""
    with written.writing() as session:
        session.execute(text(f"DROP TRIGGER audit_log_update{on}"))
    with pytest.raises(AuditBroken, match="guards of the audit log are gone"):
        audit.verify(written)


def test_writers_of_two_servers_make_one_chain(registry: Registry, url: str) -> None:
    with Registry.open(url) as other, ThreadPoolExecutor(6) as pool:
        numbers = range(36)
        list(pool.map(lambda n: audit.write((registry, other)[n % 2], "a.b", subject=str(n), actor="me"), numbers))
    assert audit.verify(registry).entries == len(numbers)
    assert {entry.subject for entry in audit.entries(registry)} == {str(n) for n in numbers}


def test_what_was_not_done_leaves_no_entry(written: Registry) -> None:
    with pytest.raises(RuntimeError):
        _append_and_fail(written)
    with pytest.raises(ConfigError, match="as JSON"):
        audit.write(written, "a.b", subject="c", actor="me", value=float("nan"))
    assert audit.verify(written).entries == ENTRIES


def _append_and_fail(registry: Registry) -> None:
    with registry.writing() as session:
        audit.append(session, "a.b", subject="c", actor="me")
        raise RuntimeError


def test_an_archived_log_goes_on_verifiably(written: Registry, tmp_path: Path) -> None:
    kept = audit.head(written)
    middle = _rows(written)[2]
    with pytest.raises(ConfigError, match="is older than"):
        retention.archive(written, tmp_path / "none", before=datetime(2000, 1, 1, tzinfo=UTC))
    done = retention.archive(written, tmp_path / "old.jsonl", before=datetime.now(UTC) + timedelta(hours=1))
    assert (done.entries, done.last) == (ENTRIES, kept)
    audit.write(written, "a.b", subject="c", actor="me")
    found = audit.verify(written, kept)
    assert (found.entries, found.archived) == (2, ENTRIES)
    with pytest.raises(AuditBroken, match="verify the archive"):
        audit.verify(written, Head(middle.id, middle.hash))
    assert retention.verify_archive(written, tmp_path / "old.jsonl") == done
    with pytest.raises(ConfigError, match="never overwritten"):
        retention.archive(written, tmp_path / "old.jsonl", before=datetime.now(UTC))
    # What came after is as guarded as before.
    with pytest.raises(DBAPIError, match="append-only"), written.writing() as session:
        session.execute(text("DELETE FROM audit_log"))
    again = retention.archive(written, tmp_path / "next.jsonl", before=datetime.now(UTC) + timedelta(hours=1))
    assert (again.entries, again.last.id) == (2, ENTRIES + 2)
    assert retention.verify_archive(written, tmp_path / "old.jsonl") == done
    assert audit.verify(written).entries == 1


def test_a_changed_archive_is_found(written: Registry, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    retention.archive(written, path, before=datetime.now(UTC) + timedelta(hours=1))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for changed in (
        whole.replace(b"0.2", b"0.9", 1),
        whole.replace(b"\n", b"\n\n", 1),
        b"".join(lines[:-1]),
        b"".join(lines[1:]),
        b"".join(reversed(lines)),
        b"",
        whole[:-10],
        whole + lines[-1],
    ):
        assert changed != whole
        path.write_bytes(changed)
        with pytest.raises(AuditBroken):
            retention.verify_archive(written, path)


def test_deleting_under_a_forged_anchor_is_found(written: Registry) -> None:
    third = _rows(written)[2]
    with written.writing() as session:
        session.add(
            AuditAnchorRow(
                last_id=third.id,
                last_hash=third.hash,
                entries=3,
                archive="",
                archive_sha256="0" * 64,
                created=datetime.now(UTC),
            )
        )
        session.flush()
        session.execute(delete(AuditRow).where(AuditRow.id <= third.id))
    with pytest.raises(AuditBroken, match="they were deleted"):
        audit.verify(written)


def test_an_operator_verifies(registry: Registry, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDAFFECT_REGISTRY", url)
    audit.write(registry, "device.refused", subject="phone", actor="device:\x1b[31mred", why="[red]markup[/red]")
    run = CliRunner()
    listed = run.invoke(command, ["list"], catch_exceptions=False).output
    assert "[red]markup[/red]" in listed
    assert "\x1b" not in listed
    head = run.invoke(command, ["head"], catch_exceptions=False).output
    archived = run.invoke(command, ["archive", str(tmp_path / "a.jsonl"), "--older-than", "0"], catch_exceptions=False)
    assert "keep it" in archived.output
    said = run.invoke(
        command, ["verify", "--expect", head, "--archive", str(tmp_path / "a.jsonl")], catch_exceptions=False
    )
    assert said.exit_code == 0
    assert "still contains the head" in said.output
    line = json.loads(run.invoke(command, ["list", "--json"], catch_exceptions=False).output)
    assert line["action"] == "audit.archived"
    with pytest.raises(AuditBroken):
        run.invoke(command, ["verify", "--expect", "1:" + "0" * 64], catch_exceptions=False)
    with pytest.raises(ConfigError, match="no head of an audit log"):
        run.invoke(command, ["verify", "--expect", "1"], catch_exceptions=False)
    with registry.reading() as session:
        assert session.scalars(select(AuditRow)).one().action == "audit.archived"


_OWNER = "(SELECT id FROM devices WHERE name = '{}')"
FORGERIES = [
    "UPDATE devices SET status = 'enrolled', revoked = NULL WHERE name = 'lost'",
    "UPDATE keys SET revoked = NULL",
    "UPDATE devices SET consent = {true} WHERE name = 'silent'",
    "UPDATE devices SET consent = {false} WHERE name = 'phone'",
    "UPDATE devices SET status = 'revoked' WHERE name = 'phone'",
    "UPDATE devices SET id = 'f00' WHERE name = 'bare'",
    "UPDATE devices SET partition = 7 WHERE name = 'phone'",
    "DELETE FROM devices WHERE name = 'lost'",
    # A revoked key given to another device that is enrolled.
    f"UPDATE keys SET owner = {_OWNER.format('phone')}, revoked = NULL WHERE owner = {_OWNER.format('lost')}",
    # A key that the log never saw: a row of its own, or another key in a row that it knows.
    "INSERT INTO keys (id, kind, owner, public, fingerprint, not_before, not_after, created) SELECT 'k', kind, owner, "
    f"'another', 'f00', not_before, not_after, created FROM keys WHERE owner = {_OWNER.format('phone')}",
    f"UPDATE keys SET public = 'another' WHERE owner = {_OWNER.format('phone')}",
    f"UPDATE keys SET revoked = not_before WHERE owner = {_OWNER.format('phone')}",
    # What the operator says of devices: who waits, in which group, with which labels.
    "UPDATE devices SET status = 'enrolled' WHERE name = 'waits'",
    "UPDATE devices SET status = 'waiting' WHERE name = 'phone'",
    "UPDATE devices SET group_name = 'ward 4' WHERE name = 'phone'",
    # A region's sum is believed.
    "UPDATE devices SET region = '{{}}' WHERE name = 'phone'",
    "UPDATE devices SET labels = '[\"known\"]' WHERE name = 'phone'",
    f"UPDATE keys SET not_after = '2999-01-01 00:00:00.000000' WHERE owner = {_OWNER.format('phone')}",
]


def enroll(registry: Registry, name: str, consent: bool = True, approval: bool = False) -> devices.Device:
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    token, key = tokens.make_token(registry, approval=approval), public_key(name)
    return devices.enroll(registry, token, name=name, public_key=key, capabilities=able, consent=consent)


def archive(registry: Registry, path: Path) -> retention.Archived:
    return retention.archive(registry, path, before=datetime.now(UTC) + timedelta(hours=1))


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_plain_sql_that_changes_who_may_take_part_is_found(
    registry: Registry, forgery: str, archived: bool, tmp_path: Path
) -> None:
    phone, lost, silent = enroll(registry, "phone"), enroll(registry, "lost"), enroll(registry, "silent", consent=False)
    devices.set_consent(registry, phone.id, False)
    devices.set_consent(registry, phone.id, True)
    devices.revoke(registry, lost.id, reason="in a train")
    enroll(registry, "waits", approval=True)
    groups.set_group(registry, ["phone"], "ward 3")
    groups.set_labels(registry, ["phone"], add=["pi 4"])
    assert silent.consent is False
    if archived:
        archive(registry, tmp_path / "old.jsonl")
    audit.verify(registry)
    if "bare" in forgery:
        with registry.writing() as session:
            session.execute(
                text(
                    "INSERT INTO devices (id, name, status, modalities, memory_mb, cores, partition, consent, "
                    "consent_changed, enrolled, reason) SELECT 'f00', 'bare', status, modalities, memory_mb, cores, "
                    "99, consent, consent_changed, enrolled, reason FROM devices WHERE name = 'phone'"
                )
            )
    else:
        true, false = ("true", "false") if registry.dialect == "postgresql" else ("1", "0")
        with registry.writing() as session:
            session.execute(text(forgery.format(true=true, false=false)))
    with pytest.raises(AuditBroken, match="behind the log"):
        audit.verify(registry)


def test_what_honestly_happens_to_keys_and_devices_verifies(registry: Registry, tmp_path: Path) -> None:
    phone = enroll(registry, "phone")
    for number in range(3):
        devices.rotate_key(registry, phone.id, public_key(f"phone {number}"))
        archive(registry, tmp_path / f"{number}.jsonl")
        audit.verify(registry)
    devices.retire_keys(registry, phone.id, public_key("phone 2"))
    devices.set_consent(registry, phone.id, False)
    devices.revoke(registry, enroll(registry, "lost").id, reason="in a train")
    enroll(registry, "lost again")
    audit.verify(registry)
    done = archive(registry, tmp_path / "last.jsonl")
    audit.verify(registry)
    assert retention.verify_archive(registry, tmp_path / "last.jsonl") == done
    for number in range(3):
        assert retention.verify_archive(registry, tmp_path / f"{number}.jsonl").entries > 0


@pytest.mark.parametrize("archived", [False, True])
def test_a_device_that_was_shut_out_does_not_come_in_again_as_a_new_one(
    registry: Registry, archived: bool, tmp_path: Path
) -> None:
    lost = enroll(registry, "lost")
    devices.revoke(registry, lost.id, reason="in a train")
    if archived:
        archive(registry, tmp_path / "old.jsonl")
    audit.verify(registry)
    with registry.writing() as session:
        session.execute(text("DELETE FROM keys"))
        session.execute(text("DELETE FROM devices"))
    # A token of the operator's own, and the registry lets it in: it knows nothing of it any more.
    enroll(registry, "lost")
    with pytest.raises(AuditBroken, match="enrolled twice"):
        audit.verify(registry)


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("forgery", ["UPDATE enrolment_tokens SET uses = 2", None])
def test_a_token_that_the_log_did_not_make_or_used_lets_nobody_in_unseen(
    registry: Registry, forgery: str | None, archived: bool, tmp_path: Path
) -> None:
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    token = tokens.make_token(registry)
    key, other = public_key("phone"), public_key("other")
    devices.enroll(registry, token, name="phone", public_key=key, capabilities=able, consent=True)
    if archived:
        archive(registry, tmp_path / "old.jsonl")
    with registry.writing() as session:
        if forgery is not None:
            session.execute(text(forgery))
        else:
            session.execute(text("UPDATE enrolment_tokens SET id = 'forged'"))
            token = token.replace(token.split("_")[1], "forged")
    devices.enroll(registry, token, name="other", public_key=other, capabilities=able, consent=True)
    with pytest.raises(AuditBroken, match="token that let nobody in"):
        audit.verify(registry)


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize(
    ("forgery", "says"),
    [
        ("UPDATE enrolment_tokens SET approval = {false}", "otherwise than its token says"),
        ("UPDATE enrolment_tokens SET group_name = 'trusted'", "otherwise than its token says"),
        ("UPDATE enrolment_tokens SET uses = 5", "token that let nobody in"),
        ("UPDATE enrolment_tokens SET expires = '2999-01-01 00:00:00.000000'", "token that let nobody in"),
    ],
)
def test_an_enrolment_key_that_was_changed_lets_nobody_in_unseen(
    registry: Registry, forgery: str, says: str, archived: bool, tmp_path: Path
) -> None:
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    token = tokens.make_token(registry, uses=2, approval=True)

    def enter(name: str) -> devices.Device:
        return devices.enroll(registry, token, name=name, public_key=public_key(name), capabilities=able, consent=True)

    enter("phone")
    if "expires" in forgery:
        tokens.end_token(registry, token)
    if "uses" in forgery:
        enter("watch")
    if archived:
        archive(registry, tmp_path / "old.jsonl")
    audit.verify(registry)
    with registry.writing() as session:
        session.execute(text(forgery.format(false="false" if registry.dialect == "postgresql" else "0")))
    enter("other")
    with pytest.raises(AuditBroken, match=says):
        audit.verify(registry)


def test_a_forged_archive_is_found_although_its_anchor_fits(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    enroll(registry, "phone")
    archive(registry, path)
    enroll(registry, "watch")
    archive(registry, tmp_path / "next.jsonl")
    entries = [Entry(**(json.loads(line) | {"at": datetime.fromisoformat(json.loads(line)["at"])}))
               for line in path.read_text().splitlines()]  # fmt: skip
    forged = _rechained([replace(entry, actor="nobody") for entry in entries])
    digest = retention._write_lines(path, forged)
    with unguarded(registry) as session:
        values = {"last_hash": forged[-1].hash, "archive_sha256": digest}
        session.execute(update(AuditAnchorRow).where(AuditAnchorRow.last_id == forged[-1].id).values(**values))
    audit.verify(registry)
    with pytest.raises(AuditBroken, match="not what was archived"):
        retention.verify_archive(registry, path)
    assert retention.verify_archive(registry, tmp_path / "next.jsonl").entries > 0


def test_what_was_spent_is_not_replaced(registry: Registry) -> None:
    runs.create(registry, run_id="run", config={})
    paid = privacy.Charge(
        run_id="run", round=1, attempt=1, device_id="phone", unit="example", epsilon=3.0, delta=1e-5,
        accountant="rdp", noise_multiplier=1.0,
    )  # fmt: skip
    privacy.charge(registry, paid)
    columns = "device_id, run_id, round, attempt, unit, epsilon, delta, accountant, noise_multiplier, charged"
    said = columns.replace("epsilon", "0.1")
    for statement in (
        f"REPLACE INTO privacy_ledger (id, {columns}) SELECT id, {said} FROM privacy_ledger",
        f"INSERT OR REPLACE INTO privacy_ledger ({columns}) SELECT {said} FROM privacy_ledger",
        f"INSERT INTO privacy_ledger (id, {columns}) SELECT id, {said} FROM privacy_ledger WHERE true "
        "ON CONFLICT (id) DO UPDATE SET epsilon = 0.1",
    ):
        with pytest.raises(DBAPIError), registry.writing() as session:
            session.execute(text(statement))
    assert privacy.spent(registry, "phone")[0].epsilon == 3.0
    trigger = "privacy_ledger_update"
    with registry.writing() as session:
        on = " ON privacy_ledger" if registry.dialect == "postgresql" else ""
        session.execute(text(f"DROP TRIGGER {trigger}{on}"))
    with pytest.raises(AuditBroken, match=trigger):
        audit.verify(registry)


def test_a_head_may_be_given_in_a_file(written: Registry, tmp_path: Path) -> None:
    noted = tmp_path / "head"
    noted.write_text(f"{audit.head(written)}\n", encoding="utf-8")
    audit.write(written, "more", subject="x", actor="me")
    url = written.url.render_as_string(hide_password=False)
    said = CliRunner().invoke(command, ["verify", "--head", str(noted), "--registry", url])
    assert said.exit_code == 0, said.output
    noted.write_text(f"{ENTRIES}:{'0' * 64}", encoding="utf-8")
    wrong = CliRunner().invoke(command, ["verify", "--head", str(noted), "--registry", url])
    assert wrong.exit_code != 0
    assert "has no entry" in str(wrong.exception)
