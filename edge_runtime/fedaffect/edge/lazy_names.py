"""Public names of a package, each imported when it is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose public names need imports that not everybody wants.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to tuple of str
        Module, and the names that it defines.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(home_of[name]), name)
        except ModuleNotFoundError as error:
            room = home_of[name].split(".")[1]
            # One of our own modules that is not there is a mistake of ours; a device's room has no extra.
            if room == "edge" or (error.name or "").startswith("fedaffect"):
                raise
            what = f"{package}.{name} needs {error.name}: pip install 'fedaffect[{room}]'"
            raise ModuleNotFoundError(what, name=error.name) from error

    def names() -> list[str]:
        return sorted({*home_of, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return get, names
