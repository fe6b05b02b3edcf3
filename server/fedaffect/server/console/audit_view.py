"""The audit log as the page shows it, and the check of its chain."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from fedaffect.server.console.schemas import AuditReply, ChainReply, EntryReply
from fedaffect.server.errors import NotFound
from fedaffect.server.registry import Registry, audit
from fedaffect.server.registry.audit import Entry, Head
from fedaffect.server.registry.errors import AuditBroken

# What an entry says of thousands of devices is for the command.
_LONGEST: Final = 2_000


class AuditView:
    """Audit logs of the registries that a server watches.

    Parameters
    ----------
    registries : mapping of str to Registry
        By the log's name; the first is shown unless another is asked for.
    """

    def __init__(self, registries: Mapping[str, Registry]) -> None:
        self._registries = dict(registries)
        self._checking = {name: threading.Lock() for name in registries}

    def entries(self, log: str, action: str, subject: str, before: int | None, limit: int) -> AuditReply:
        """Entries that begin so, newest first.

        Raises
        ------
        NotFound
            If there is no such log.
        """
        registry = self._registry(log)
        found = list(audit.entries(registry, action=action, subject=subject, before=before, limit=limit))
        return AuditReply(
            entries=[entry_reply(entry) for entry in reversed(found)],
            head=str(audit.head(registry)),
            logs=list(self._registries),
        )

    def check(self, log: str, expected: str) -> ChainReply:
        """Recompute the chain; one at a time, as it reads the whole log.

        Raises
        ------
        NotFound
            If there is no such log.
        ConfigError
            If what is expected is no head.
        """
        registry = self._registry(log)
        wanted = Head.parse(expected) if expected.strip() else None
        with self._checking[log or next(iter(self._registries))]:
            now = datetime.now(UTC)
            try:
                found = audit.verify(registry, wanted)
            except AuditBroken as error:
                return ChainReply(
                    unchanged=False,
                    problem=str(error),
                    entries=0,
                    archived=0,
                    head=str(audit.head(registry)),
                    checked=now,
                )
            return ChainReply(
                unchanged=True,
                problem="",
                entries=found.entries,
                archived=found.archived,
                head=str(found.head),
                checked=now,
            )

    def _registry(self, log: str) -> Registry:
        name = log or next(iter(self._registries))
        if name not in self._registries:
            raise NotFound(f"there is no log of that name; there are {', '.join(self._registries)}")
        return self._registries[name]


def entry_reply(entry: Entry) -> EntryReply:
    """An entry, its details shortened where they are long."""
    details = json.loads(entry.details)
    if len(entry.details) > _LONGEST:
        details = {
            name: value if len(said := json.dumps(value)) <= _LONGEST // 10 else f"{said[: _LONGEST // 10]}…"
            for name, value in details.items()
        }
    return EntryReply(
        id=entry.id,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        details=details,
        hash=entry.hash,
    )
