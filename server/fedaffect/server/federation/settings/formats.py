"""Settings as a TOML file and as Flower's run config, both ways."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.toml_files import read_toml, toml_text
from fedaffect.server.federation.settings.run_settings import RunSettings, section_of, snake_case


def to_toml(config: RunSettings) -> str:
    """All settings as TOML, a table each section, which `from_toml` reads back equal."""
    tables: dict[str, dict[str, Any]] = {}
    for name, value in config.to_dict().items():
        if value != {}:
            tables.setdefault(section_of(snake_case(name)), {})[name] = value
    return toml_text(tables)


def from_toml(path: Path) -> RunSettings:
    """Settings from a file, such as a run folder's ``config.toml``.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not TOML, or holds something else.
    """
    return RunSettings.of(settings_in(path))


def has_sections(path: Path) -> bool:
    """Whether every setting of a TOML file stands in its section, as `to_toml` writes it."""
    return all(
        snake_case(key) in RunSettings.model_fields and isinstance(v, dict) for key, v in read_toml(path).items()
    )


def settings_in(path: Path, also: Collection[str] = ()) -> dict[str, Any]:
    """Settings of a TOML file by flat name in snake_case, values unchecked, for merging with flags.

    Names stand at the top of the file, or in the table of their section.

    Parameters
    ----------
    path : Path
    also : collection of str
        Names in snake_case that are no settings, but that the caller takes from the top of the file as well.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not TOML, a name is unknown, or it stands in the table of another section.
    """
    settings: dict[str, Any] = {}
    for key, value in read_toml(path).items():
        top = snake_case(key)
        if top not in RunSettings.model_fields or not isinstance(value, dict):
            if top not in also:
                _section(path, key)
            settings[top] = value
            continue
        for name, own in value.items():
            if (where := _section(path, name)) != top:
                raise ConfigError(f"{path}: {name} stands in [{top}]; move it to [{where}]")
            settings[snake_case(name)] = own
    return settings


def _section(path: Path, name: str) -> str:
    try:
        return section_of(snake_case(name))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def to_flwr(config: RunSettings) -> dict[str, str | int | float | bool]:
    """All settings as a Flower run config: one flat level, options as ``strategy-options.<name>``."""
    flat: dict[str, str | int | float | bool] = {}
    for key, value in config.to_dict().items():
        if isinstance(value, dict):
            flat.update(
                {f"{key}.{k}": v if isinstance(v, str | int | float) else json.dumps(v) for k, v in value.items()}
            )
        else:
            flat[key] = ",".join(value) if isinstance(value, list) else value
    return flat


def from_flwr(run_config: Mapping[str, Any]) -> RunSettings:
    """Settings from what ``flwr run`` hands over; empty strings stand for settings left out."""
    settings: dict[str, Any] = {}
    for key, value in run_config.items():
        if value == "":
            continue
        table, dot, option = key.partition(".")
        if dot:
            settings.setdefault(table, {})[option] = _option(value)
        else:
            settings[key] = value
    return RunSettings.of(settings)


def _option(value: Any) -> Any:
    """An option as it was: `to_flwr` writes tables and lists as JSON."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value
