"""What people choose to keep of what was judged: for how long, and what a list shows of it."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fedaffect.server.errors import Forbidden, InvalidRequest, Unavailable
from fedaffect.server.registry import kept_sessions
from fedaffect.server.registry.kept_sessions import KeptSession
from fedaffect.server.serving.films.timeline import FUSED, SURE
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.request_log import log_facts

KEPT_DAYS: Final = 30.0
_PRUNE_S: Final = 3600.0
_MOST_BYTES: Final = 4 * 2**20


class Keeping:
    """Keeps sessions in the registry, and deletes them when their time is over.

    Parameters
    ----------
    gateway : Gateway
        Its registry is used.
    days : float
        For how long a session is kept; with 0, none is.
    """

    def __init__(self, gateway: Gateway, days: float = KEPT_DAYS) -> None:
        self.days = days
        self._gateway = gateway
        self._pruning: asyncio.Task[None] | None = None

    async def keep(self, caller: str, kind: str, name: str, notes: str, timeline: Mapping[str, Any]) -> KeptSession:
        """Keep a session.

        Parameters
        ----------
        caller : str
        kind : str
        name, notes : str
        timeline : mapping
            JSON values with ``labels``, ``windows`` and more; see `fedaffect.server.serving.http.session_schemas`.

        Raises
        ------
        Forbidden
            If this server keeps none.
        InvalidRequest
            If it is too large.
        Unavailable
            If the server has no registry.
        Overloaded
            If too many are kept.
        """
        if not self.days:
            raise Forbidden("this server keeps no sessions; its operator decides by --keep-sessions DAYS")
        packed = await asyncio.to_thread(lambda: zlib.compress(json.dumps(timeline).encode()))
        if len(packed) > _MOST_BYTES:
            raise InvalidRequest("the session is too long to be kept; keep a part of it, or windows farther apart")
        session = KeptSession(
            caller=caller, kind=kind, name=name, notes=notes, summary=summary_of(timeline), timeline=packed
        )
        await asyncio.to_thread(kept_sessions.keep, self._gateway.open_registry(), session)
        return session

    async def every(self, caller: str) -> list[KeptSession]:
        """A caller's sessions, without timelines."""
        return await asyncio.to_thread(kept_sessions.every, self._gateway.open_registry(), caller, self._since())

    async def find(self, caller: str, session_id: str) -> tuple[KeptSession, Any]:
        """A caller's session, and its timeline as it was given.

        Raises
        ------
        NotFound
        """
        registry = self._gateway.open_registry()
        session = await asyncio.to_thread(kept_sessions.find, registry, caller, session_id, self._since())
        return session, await asyncio.to_thread(lambda: json.loads(zlib.decompress(session.timeline)))

    async def describe(self, caller: str, session_id: str, name: str | None, notes: str | None) -> None:
        """Change name or notes; NotFound where there is none."""
        await asyncio.to_thread(kept_sessions.describe, self._gateway.open_registry(), caller, session_id, name, notes)

    async def erase(self, caller: str, session_id: str) -> None:
        """Delete for good; NotFound where there is none."""
        await asyncio.to_thread(kept_sessions.erase, self._gateway.open_registry(), caller, session_id)

    def until(self, session: KeptSession) -> datetime:
        """When it will be deleted."""
        return session.created + timedelta(days=self.days)

    def start(self) -> None:
        """Delete what is over now, and again each hour."""
        self._pruning = asyncio.create_task(self._prune())

    async def close(self) -> None:
        """Stop that."""
        if self._pruning is not None:
            self._pruning.cancel()
            with suppress(asyncio.CancelledError):
                await self._pruning

    def _since(self) -> datetime:
        return datetime.now(UTC) - timedelta(days=self.days)

    async def _prune(self) -> None:
        while True:
            with suppress(Unavailable):
                registry = self._gateway.open_registry()
                count = await asyncio.to_thread(kept_sessions.prune, registry, timedelta(days=self.days))
                if count:
                    log_facts(logging.INFO, "kept sessions deleted, their time was over", {"count": count})
            await asyncio.sleep(_PRUNE_S)


def summary_of(timeline: Mapping[str, Any]) -> dict[str, Any]:
    """Length, share of each emotion, changes, mean confidence, and who answered how often."""
    windows: Sequence[Mapping[str, Any]] = timeline["windows"]
    judged = [(window, window["lanes"][FUSED]) for window in windows if FUSED in window["lanes"]]
    labels = Counter(one["label"] if one["confidence"] >= SURE else "not sure" for _, one in judged)
    sources = Counter(str(window.get("source") or "cloud") for window, _ in judged)
    count = max(len(judged), 1)
    return {
        "duration_s": max((float(window["end_s"]) for window in windows), default=0.0),
        "windows": len(judged),
        "shares": {label: round(number / count, 4) for label, number in labels.most_common()},
        "changes": len(timeline["changes"]),
        "confidence": round(sum(float(one["confidence"]) for _, one in judged) / count, 4),
        "answered_by": {source: round(number / count, 4) for source, number in sources.most_common()},
        "model_version": timeline["model_version"],
    }
