"""Where in a person's own code an error was raised: theirs is what is neither fedaffect's nor a library's."""

from __future__ import annotations

import sysconfig
from importlib.metadata import entry_points
from pathlib import Path
from traceback import walk_tb
from typing import Final

_GROUPS: Final = "fedaffect."
_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED: Final = {"site-packages", "dist-packages"}
_LONGEST: Final = 80


def raised_in(error: BaseException) -> str:
    """``file:line`` of the innermost call in a person's own code, plug-ins of installed packages too; or empty."""
    plugins = _plugins()
    for frame, line in reversed(list(walk_tb(error.__traceback__))):
        file, package = Path(frame.f_code.co_filename), str(frame.f_globals.get("__name__")).partition(".")[0]
        if package == "fedaffect" or not file.is_absolute():
            continue
        installed = str(file).startswith(_LIBRARIES) or _INSTALLED & set(file.parts)
        if installed and package not in plugins:
            continue
        here = Path.cwd()
        return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{line}"
    return ""


def said_of(error: BaseException) -> str:
    """An error in one line: its type, what it says, and where in a person's own code it was raised."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"{text} ({place})" if (place := raised_in(error)) else text


def _plugins() -> set[str]:
    """Packages that add something to fedaffect."""
    found = entry_points()
    points = [point for group in found.groups if group.startswith(_GROUPS) for point in found.select(group=group)]
    return {point.module.partition(".")[0] for point in points} - {"fedaffect"}
