"""Where fedaffect keeps what it keeps for a person: an environment variable of its own first, then the XDG one."""

from __future__ import annotations

import os
from pathlib import Path

from fedaffect.edge.errors import ConfigError


def cache_folder() -> Path:
    """What can be made again: ``$FEDAFFECT_CACHE``, ``$XDG_CACHE_HOME/fedaffect`` or ``~/.cache/fedaffect``."""
    return _folder("FEDAFFECT_CACHE", "XDG_CACHE_HOME", ".cache")


def config_folder() -> Path:
    """Keys: ``$FEDAFFECT_CONFIG``, ``$XDG_CONFIG_HOME/fedaffect`` or ``~/.config/fedaffect``."""
    return _folder("FEDAFFECT_CONFIG", "XDG_CONFIG_HOME", ".config")


def data_folder() -> Path:
    """What cannot be made again: ``$FEDAFFECT_DATA``, ``$XDG_DATA_HOME/fedaffect`` or ``~/.local/share/fedaffect``."""
    return _folder("FEDAFFECT_DATA", "XDG_DATA_HOME", ".local/share")


def _folder(own: str, shared: str, fallback: str) -> Path:
    if given := os.environ.get(own):
        return Path(given)
    base = Path(os.environ.get(shared) or "")
    # The XDG specification: a relative path is invalid and is ignored.
    return (base if base.is_absolute() else _home(own) / fallback) / "fedaffect"


def _home(own: str) -> Path:
    try:
        return Path.home()
    except RuntimeError:
        # A container's user may have neither $HOME nor an entry in the list of users.
        raise ConfigError(f"this user has no home folder; set HOME, or {own} to a folder to keep it in") from None
