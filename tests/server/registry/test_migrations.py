from __future__ import annotations

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect, make_url, text
from tests.support.public_keys import public_key

from fedaffect.edge.errors import ConfigError
from fedaffect.server.cli.registry import registry as commands
from fedaffect.server.registry import Registry, api_keys, audit, devices, keys, retention, tokens
from fedaffect.server.registry.errors import EnrolmentRefused
from fedaffect.server.registry.key_hash import hash_secret
from fedaffect.server.registry.tables import Table


def _tables(registry: Registry) -> set[str]:
    with registry.reading() as session:
        return set(inspect(session.connection()).get_table_names())


def test_up_down_up(registry: Registry) -> None:
    wanted = set(Table.metadata.tables)
    assert wanted <= _tables(registry)
    registry.migrate("base")
    assert not wanted & _tables(registry)
    registry.migrate("head")
    assert wanted <= _tables(registry)
    api_keys.create(registry, "works again", ["predict"])


def test_migrations_make_what_the_classes_say(registry: Registry) -> None:
    with registry.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def test_what_was_written_is_there_when_opened_again(url: str) -> None:
    with Registry.open(url) as first:
        key, _ = api_keys.create(first, "kept", ["predict"])
    with Registry.open(url) as second:
        assert api_keys.find(second, key.id) == key


def test_servers_that_start_together_migrate_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(Registry.open, [url] * 4))
    for registry in opened:
        assert set(Table.metadata.tables) <= _tables(registry)
        registry.close()


@pytest.mark.parametrize("revision", ["0002", "9999"])
def test_a_database_of_another_program_is_refused(registry: Registry, url: str, revision: str) -> None:
    with registry.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    with pytest.raises(ConfigError, match=r"another version of fedaffect.*install that one"):
        Registry.open(url)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("mysql://root@localhost/x", "does not run on mysql"),
        ("what is this", "is no database URL"),
        ("sqlite://", "would be forgotten"),
        ("sqlite:///:memory:", "would be forgotten"),
    ],
)
def test_urls_of_no_use_are_refused(wrong: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Registry.open(wrong)


def test_without_a_url_it_lies_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDAFFECT_DATA", str(tmp_path / "deep" / "data"))
    Registry.open().close()
    assert (tmp_path / "deep" / "data" / "server.db").is_file()


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FEDAFFECT_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(ConfigError, match="FEDAFFECT_DATA"):
        Registry.open()


@pytest.mark.slow
def test_threads_of_one_process_open_their_registries_at_once(tmp_path: Path) -> None:
    def opened(number: int) -> None:
        for attempt in range(3):
            with Registry.open(f"sqlite:///{tmp_path / f'{number}-{attempt}.db'}"):
                pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(opened, range(8)))


def _as_revision_0003_left_it(registry: Registry, device_id: str, public: str, token: str) -> None:
    """A device that came in by a token, another token, and what the log said of them then."""
    _, unused, secret = token.split("_")
    now = datetime.now(UTC)
    moments = {"now": now.isoformat(sep=" "), "later": (now + timedelta(days=1)).isoformat(sep=" ")}
    if registry.dialect == "sqlite":
        moments = {name: said.removesuffix("+00:00") for name, said in moments.items()}
    columns = "id, secret_hash, note, created, expires, used, device_id"
    never = "2999-01-01T00:00:00+00:00"
    for made in ("aaaaaaaaaaaa", unused):
        audit.write(
            registry, "token.made", subject=made, actor="operator", note="", expires="2999-01-01T00:00:00+00:00"
        )
    with registry.writing() as session:
        for made, used, device in (("aaaaaaaaaaaa", moments["now"], device_id), (unused, None, None)):
            session.execute(
                text(f"INSERT INTO enrolment_tokens ({columns}) VALUES (:id, :hash, '', :now, :later, :used, :device)"),
                {"id": made, "hash": hash_secret(secret), "used": used, "device": device, **moments},
            )
        session.execute(
            text(
                "INSERT INTO devices (id, name, status, modalities, memory_mb, cores, partition, consent, "
                "consent_changed, enrolled, reason) VALUES (:id, 'phone', 'enrolled', '[\"text\"]', 100, 1, 0, :true, "
                ":now, :now, '')"
            ),
            {"id": device_id, "true": True, **moments},
        )
        session.execute(
            text(
                "INSERT INTO keys (id, kind, owner, public, fingerprint, not_before, not_after, created) VALUES "
                "('k', 'device', :id, :public, :fingerprint, :now, :later, :now)"
            ),
            {"id": device_id, "public": public, "fingerprint": keys.fingerprint(public), **moments},
        )
        session.execute(
            text(
                "INSERT INTO bundles (version, path, sha256, size_bytes, created) VALUES ('b', '/b', 'x', 1, :now)",
            ),
            moments,
        )
        session.execute(
            text(
                "INSERT INTO rollouts (bundle_version, percent, state, tolerance, min_examples, reason, created, "
                "changed) VALUES ('b', 100, 'staged', 0, 1, '', :now, :now)"
            ),
            moments,
        )
        session.execute(
            text(
                "INSERT INTO rollout_reports (rollout_id, device_id, metric, before, after, examples, reported, "
                "details) VALUES (1, :id, 'uar', 0.5, 0.6, 9, :now, '{}')"
            ),
            {"id": device_id, **moments},
        )
    audit.write(
        registry,
        "device.enrolled",
        subject=device_id,
        actor="token:aaaaaaaaaaaa",
        name="phone",
        fingerprint=keys.fingerprint(public),
        key_until=never,
        consent=True,
        partition=0,
    )


def test_a_registry_of_the_revision_before_goes_on(registry: Registry, tmp_path: Path) -> None:
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    public, token = keys.canonical(public_key("phone")), "fe_bbbbbbbbbbbb_" + 64 * "0"
    device_id = hashlib.sha256(b"fedaffect device " + public.encode()).hexdigest()[:16]
    registry.migrate("base")
    registry.migrate("0003")
    _as_revision_0003_left_it(registry, device_id, public, token)
    registry.migrate("head")

    audit.verify(registry)
    (phone,) = devices.every(registry)
    assert (phone.status, phone.group, phone.labels) == ("enrolled", "", ())
    assert [(one.id, one.uses, one.used) for one in tokens.every(registry)] == [
        ("aaaaaaaaaaaa", 1, 1),
        ("bbbbbbbbbbbb", 1, 0),
    ]

    def enroll(name: str, made: str) -> devices.Device:
        return devices.enroll(registry, made, name=name, public_key=public_key(name), capabilities=able, consent=True)

    # The used token still knows its device, and lets nobody else in; the other lets one in.
    assert enroll("phone", token.replace("b" * 12, "a" * 12)) == phone
    with pytest.raises(EnrolmentRefused, match="its device came in"):
        enroll("watch", token.replace("b" * 12, "a" * 12))
    enroll("watch", token)
    with pytest.raises(EnrolmentRefused, match="its device came in"):
        enroll("tablet", token)
    retention.archive(registry, tmp_path / "old.jsonl", before=datetime.now(UTC) + timedelta(hours=1))
    audit.verify(registry)

    registry.migrate("0003")
    registry.migrate("head")
    assert [(one.id, one.used) for one in tokens.every(registry)] == [("aaaaaaaaaaaa", 1), ("bbbbbbbbbbbb", 1)]
    audit.verify(registry)


def test_the_command_brings_the_tables_to_this_version(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'server.db'}"
    with Registry.connect(url) as registry:
        registry.migrate("0003")
    for _ in range(2):
        said = CliRunner().invoke(commands, ["migrate", "--registry", url])
        assert said.exit_code == 0, said.output
        assert "are those of this version" in said.output
    with Registry.connect(url) as registry:
        assert set(Table.metadata.tables) <= _tables(registry)


@pytest.mark.fleet
def test_a_database_without_an_encoding_of_its_own_holds_text(postgresql_url: str) -> None:
    """As PostgreSQL makes one where the locale is C; its driver gives bytes there unless it is told."""
    name = f"fedaffect_{secrets.token_hex(6)}"
    server = create_engine(make_url(postgresql_url).set(query={}), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        how = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        connection.execute(text(f"CREATE DATABASE {name} {how}"))
    try:
        url = make_url(postgresql_url).set(query={}, database=name).render_as_string(hide_password=False)
        with Registry.open(url) as registry:
            audit.write(registry, "tried", subject="Zoë", actor="operator")
            assert [entry.subject for entry in audit.entries(registry, action="tried")] == ["Zoë"]
            audit.verify(registry)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()
