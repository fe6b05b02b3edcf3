"""Alembic's scripts; they ship with the package, so that a server brings its own database to head."""
