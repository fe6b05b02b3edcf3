"""TOML files: read with an error that says where and what, written by a library."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from fedaffect.edge.errors import ConfigError, at


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not TOML.
    """
    try:
        return parse_toml(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{at(path)} cannot be read ({error.strerror}); check its path") from error


def parse_toml(content: bytes | str, name: str) -> dict[str, Any]:
    """What TOML holds that was read by other means, such as `read_private`.

    Parameters
    ----------
    content : bytes or str
    name : str
        Of the file, for the error.

    Raises
    ------
    ConfigError
        If it is not TOML.
    """
    try:
        return tomllib.loads(content.decode("utf-8-sig") if isinstance(content, bytes) else content)
    except RecursionError:
        raise ConfigError(f"{name} nests its values too deep; no setting does") from None
    # Of TOML, of its encoding, or of an integer with more digits than Python reads.
    except ValueError as error:
        raise ConfigError(f"{name} is not TOML: {error}") from error


def toml_text(values: Mapping[str, Any]) -> str:
    """TOML that reads back equal; mappings become tables.

    Parameters
    ----------
    values : mapping
        Numbers, texts, truth values, lists and mappings; None cannot be written.
    """
    return tomli_w.dumps(values)
