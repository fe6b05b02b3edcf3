"""What the cloud logs of requests: never what a caller sent."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Mapping
from typing import Final

from fedaffect.server.json_log import FACTS, described

LOG: Final = logging.getLogger("fedaffect.serving")
# What may stand in a line as it is; other ids are the caller's own words, of which only a hash is written.
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9._:\-]{0,128}")


def log_facts(level: int, event: str, facts: Mapping[str, object]) -> None:
    """Write one event with its facts: numbers and names, never media or words."""
    LOG.log(level, event, extra={FACTS: dict(facts)})


def log_unforeseen(error: BaseException, transport: str, method: str) -> str:
    """Write where an error came from, and give the number that its line carries."""
    number = secrets.token_hex(8)
    facts = {"error": number, "transport": transport, "method": method, **described(type(error), error.__traceback__)}
    log_facts(logging.ERROR, "failed", facts)
    return number


def loggable_id(request_id: str) -> str:
    """An id as it may stand in the log."""
    if _PLAIN_ID.fullmatch(request_id):
        return request_id
    return f"sha256:{hashlib.sha256(request_id.encode(errors='replace')).hexdigest()[:32]}"
