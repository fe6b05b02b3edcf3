"""The server's log: one JSON object a line, and never what a caller sent.

Libraries put what they were given into the messages of their exceptions, so of an exception only its type and the
places it passed are written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

LOG: Final = logging.getLogger("fedaffect.serving")
_FACTS: Final = "facts"
# What may stand in a line as it is; other ids are the caller's own words, of which only a hash is written.
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9._:\-]{0,128}")


def log_facts(level: int, event: str, facts: Mapping[str, object]) -> None:
    """Write one event with its facts: numbers and names, never media or words."""
    LOG.log(level, event, extra={_FACTS: dict(facts)})


def log_unforeseen(error: BaseException, transport: str, method: str) -> str:
    """Write where an error came from, and give the number that its line carries."""
    number = secrets.token_hex(8)
    facts = {"error": number, "transport": transport, "method": method, **_described(type(error), error.__traceback__)}
    log_facts(logging.ERROR, "failed", facts)
    return number


def loggable_id(request_id: str) -> str:
    """An id as it may stand in the log."""
    if _PLAIN_ID.fullmatch(request_id):
        return request_id
    return f"sha256:{hashlib.sha256(request_id.encode(errors='replace')).hexdigest()[:32]}"


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, event, and the facts that came with it."""
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.name != LOG.name:
            line["logger"] = record.name
        line |= getattr(record, _FACTS, {})
        if record.exc_info and record.exc_info[0] is not None:
            line |= _described(record.exc_info[0], record.exc_info[2])
        return json.dumps(line)


def log_to_stderr() -> None:
    """Send everything that is logged in this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # They say that they were loaded, and of each call that it was made.
    for name in ("alembic", "httpx", "ray"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _described(kind: type[BaseException], trace: TracebackType | None) -> dict[str, object]:
    places = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)]
    return {"type": kind.__name__, "at": places}
