"""Run by Alembic: in the connection that `registry.database` hands over, or in one made from the URL."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine, pool

from fedaffect.server.registry.tables import Table


def _migrate(connection: Connection) -> None:
    # SQLite cannot alter most of a table; Alembic then copies it.
    context.configure(
        connection=connection, target_metadata=Table.metadata, render_as_batch=connection.dialect.name == "sqlite"
    )
    with context.begin_transaction():
        context.run_migrations()


def _main() -> None:
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        _migrate(given)
        return
    url = context.get_x_argument(as_dictionary=True).get("url") or context.config.get_main_option("sqlalchemy.url")
    with create_engine(str(url), poolclass=pool.NullPool).connect() as connection:
        _migrate(connection)


_main()
