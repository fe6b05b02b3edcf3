"""Tables of the device's file, as the steps that lead there. A step that was released never changes."""

from __future__ import annotations

from typing import Final

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE clock (
            id INTEGER PRIMARY KEY CHECK (id = 0),
            seen_s REAL NOT NULL,
            steady_s REAL NOT NULL
        )
        """,
        """
        CREATE TABLE queue (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            idempotency_key TEXT NOT NULL UNIQUE,
            request_id TEXT NOT NULL,
            payload BLOB NOT NULL,
            put_s REAL NOT NULL,
            due_s REAL NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            refused INTEGER NOT NULL DEFAULT 0,
            last_error TEXT NOT NULL DEFAULT ''
        )
        """,
        "CREATE INDEX queue_due ON queue (refused, due_s)",
        "CREATE INDEX queue_request ON queue (request_id)",
        "CREATE TABLE dropped (reason TEXT PRIMARY KEY, entries INTEGER NOT NULL)",
        """
        CREATE TABLE answers (
            request_id TEXT PRIMARY KEY,
            prediction TEXT NOT NULL,
            answered_s REAL NOT NULL
        )
        """,
        """
        CREATE TABLE examples (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            request_id TEXT NOT NULL UNIQUE,
            added_s REAL NOT NULL,
            predicted TEXT NOT NULL,
            confidence REAL NOT NULL,
            model_version TEXT NOT NULL,
            label TEXT,
            consent INTEGER NOT NULL DEFAULT 0
        )
        """,
        "CREATE INDEX examples_added ON examples (added_s)",
        """
        CREATE TABLE features (
            example INTEGER NOT NULL REFERENCES examples (id) ON DELETE CASCADE,
            modality TEXT NOT NULL,
            encoder_key TEXT NOT NULL,
            rows INTEGER NOT NULL,
            width INTEGER NOT NULL,
            float16 BLOB NOT NULL,
            PRIMARY KEY (example, modality)
        )
        """,
        """
        CREATE TABLE media (
            example INTEGER NOT NULL REFERENCES examples (id) ON DELETE CASCADE,
            modality TEXT NOT NULL,
            content BLOB NOT NULL,
            PRIMARY KEY (example, modality)
        )
        """,
    ),
    (
        """
        CREATE TABLE opinions (
            request_id TEXT PRIMARY KEY,
            label TEXT NOT NULL,
            consent INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            said_s REAL NOT NULL
        )
        """,
    ),
    (
        # Of the steady clock; what was there before counts from now on.
        "ALTER TABLE examples ADD COLUMN kept_s REAL NOT NULL DEFAULT 0",
        "UPDATE examples SET kept_s = COALESCE((SELECT steady_s FROM clock), 0)",
        "CREATE INDEX examples_kept ON examples (kept_s)",
        "DROP INDEX examples_added",
        "ALTER TABLE clock ADD COLUMN set_back_s REAL NOT NULL DEFAULT 0",
    ),
    (
        # Personal learning begins after this example.
        "CREATE TABLE personal (id INTEGER PRIMARY KEY CHECK (id = 0), newer_than INTEGER NOT NULL)",
    ),
    (
        """
        CREATE TABLE decisions (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            policy TEXT NOT NULL,
            state TEXT NOT NULL,
            response TEXT NOT NULL,
            propensities TEXT NOT NULL,
            context TEXT NOT NULL,
            decided_s REAL NOT NULL
        )
        """,
        """
        CREATE TABLE rewards (
            decision INTEGER NOT NULL REFERENCES decisions (id) ON DELETE CASCADE,
            kind TEXT NOT NULL,
            value REAL NOT NULL,
            PRIMARY KEY (decision, kind)
        )
        """,
    ),
)
