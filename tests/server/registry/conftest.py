"""A fresh registry on each of the two databases; PostgreSQL in a schema of its own, where a server answers."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from fedaffect.server.registry import Registry

POSTGRESQL = os.environ.get("FEDAFFECT_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    engine = create_engine(POSTGRESQL, connect_args={"connect_timeout": 3})
    schema = f"fedaffect_{secrets.token_hex(6)}"
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
    except OperationalError as error:
        engine.dispose()
        pytest.skip(f"no PostgreSQL answers at {POSTGRESQL} ({error.orig}); set FEDAFFECT_TEST_POSTGRESQL")
    url = make_url(POSTGRESQL).update_query_dict({"options": f"-csearch_path={schema}"})
    yield url.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.fleet)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'server.db'}"
    found: str = request.getfixturevalue("postgresql_url")
    return found


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "server.db"
    Registry.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def registry(url: str, migrated: Path) -> Iterator[Registry]:
    database = make_url(url).database
    if url.startswith("sqlite") and database:
        shutil.copyfile(migrated, database)
    with Registry.open(url) as opened:
        yield opened
