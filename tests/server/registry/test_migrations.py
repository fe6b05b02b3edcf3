from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import Registry, api_keys
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
