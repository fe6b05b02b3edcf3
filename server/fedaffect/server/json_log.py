"""Logs of the server's processes: one JSON object a line, without what anybody sent.

Libraries put what they were given into the messages of their exceptions, so of an exception only its type and the
places it passed are written.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final

# Attribute of a record that holds its facts, a mapping: numbers and names, never media or words.
FACTS: Final = "facts"


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, event, logger, and the facts that came with it."""
        moment = datetime.fromtimestamp(record.created).astimezone()
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        line |= getattr(record, FACTS, {})
        if record.exc_info and record.exc_info[0] is not None:
            line |= described(record.exc_info[0], record.exc_info[2])
        # As it is written, so that a search for a name in a log finds it.
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr() -> None:
    """Send everything that is logged in this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # They say that they were loaded, and of each call that it was made.
    for name in ("alembic", "httpx", "ray"):
        logging.getLogger(name).setLevel(logging.WARNING)


def described(kind: type[BaseException], trace: TracebackType | None) -> dict[str, object]:
    """An exception's type, and where it passed."""
    places = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)]
    return {"type": kind.__name__, "at": places}


def readable(line: str) -> str:
    """A line as people read it: time, level unless it is of the usual kind, event, facts.

    What is no such line is given back as it is.
    """
    try:
        said = json.loads(line)
        moment, level, event = (str(said.pop(key)) for key in ("time", "level", "event"))
    except (ValueError, KeyError, AttributeError, TypeError):
        return line
    said.pop("logger", None)
    loud = "" if level == "info" else f" {level.upper()}"
    facts = "".join(f" {key}={value}" for key, value in said.items())
    shown = f"{moment[:23].replace('T', ' ')}{loud} {event}{facts}"
    # A line is a line, and what a terminal would obey stays letters.
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown)
