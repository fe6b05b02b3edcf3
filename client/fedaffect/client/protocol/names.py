"""What devices and fleets may be called: in tables, log lines, URLs, certificates and files."""

from __future__ import annotations

import unicodedata
from typing import Final

from fedaffect.edge.errors import ConfigError

LONGEST_NAME: Final = 200
_RULE: Final = f"use 1 to {LONGEST_NAME} visible characters, no slash, and no dot or dash in front"


def checked_name(name: str, what: str) -> str:
    """A name without spaces around it.

    Letters of any script, digits, emoji, spaces and punctuation are allowed. Control characters, line breaks and
    invisible marks (those that turn the direction of writing, for instance) are not: one name could pass for another.

    Parameters
    ----------
    name : str
    what : str
        Of what, for the error message: ``device``.

    Raises
    ------
    ConfigError
        If it cannot be a name.
    """
    stripped = name.strip(" ")
    hidden = any(unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") for c in stripped)
    if not stripped or len(stripped) > LONGEST_NAME or hidden or stripped[0] in ".-" or set(stripped) & {"/", "\\"}:
        shown = ascii(name[:40]) + ("..." if len(name) > 40 else "")
        raise ConfigError(f"{shown} cannot name a {what}; {_RULE}")
    return stripped
