"""Standard output and error that take every character, whatever the terminal's encoding."""

from __future__ import annotations

import codecs
import sys
from io import TextIOWrapper
from typing import Final

_HANDLER: Final = "fedaffect-ascii"
_IN_ASCII: Final = str.maketrans({
    "█": "#", "▏": "|", "━": "-", "╸": "-", "╺": "-", "─": "-", "│": "|", "✓": "ok", "✗": "!=", "→": "->", "←": "<-",
    "–": "-", "—": "-", "…": "...", "×": "x", "≤": "<=", "≥": ">=", "ε": "eps", "δ": "delta", "±": "+-", "·": "|",
    "‘": "'", "’": "'", "“": '"', "”": '"', "⠋": "|", "⠙": "/", "⠹": "-", "⠸": "\\", "⠼": "|", "⠴": "/", "⠦": "-",
    "⠧": "\\", "⠇": "|", "⠏": "/",
})  # fmt: skip


def use_ascii_where_needed() -> None:
    r"""Have a character that the terminal's encoding lacks written in ASCII instead of an error being raised.

    Windows pipes in cp1252, ISO-8859-1 locales and the C locale lack bars and arrows; UTF-8 lacks the lone surrogates
    of file names that are not UTF-8. What has no likeness in ASCII is written as ``\uXXXX``, which JSON reads back.
    """
    codecs.register_error(_HANDLER, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_likeness, error.object[error.start : error.end])), error.end


def _likeness(character: str) -> str:
    likeness = character.translate(_IN_ASCII)
    if likeness.isascii():
        return likeness
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
