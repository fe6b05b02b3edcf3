"""How one setting is declared: its type, help, unit, bounds and default, from which every face of it is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from fedaffect.edge.errors import ConfigError

_UNSET: Any = ...


@dataclass(frozen=True, slots=True)
class Flag:
    """How a setting is written on the command line.

    Parameters
    ----------
    metavar : str
        What stands for the value in the help.
    unit : str
        Of the value, such as ``"s"`` or ``"rate"``; empty where it has none.
    common : bool
        Whether ``--help`` shows it, and not only ``--help-all``.
    off : str
        The flag that turns a switch off.
    default : str
        What is taken where the default is None or depends on the machine; empty where the default says it.
    usual : str
        A value that is often right, for errors.
    """

    metavar: str = ""
    unit: str = ""
    common: bool = False
    off: str = ""
    default: str = ""
    usual: str = ""


_LARGEST: Final = 2**31 - 1


class Section(BaseModel):
    """Settings of one concern: frozen, strict about types, and closed against unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @field_validator("*")
    @classmethod
    def _numbers_fit(cls, value: Any, info: ValidationInfo) -> Any:
        """No whole number is beyond what arrays, databases and messages hold."""
        if isinstance(value, int) and value > _LARGEST:
            flag = str(info.field_name).replace("_", "-")
            raise ConfigError(f"--{flag} must be {_LARGEST:,} or less")
        return value


def setting(
    text: str,
    default: Any = _UNSET,
    *,
    metavar: str = "",
    unit: str = "",
    common: bool = False,
    off: str = "",
    otherwise: str = "",
    usual: str = "",
    **bounds: Any,
) -> Any:
    """A setting. Without a default it takes what suits the corpus.

    Parameters
    ----------
    text : str
        One sentence of help.
    default
        Its default; left out where the corpus decides (``corpus_defaults``).
    metavar, unit, common, off, otherwise, usual
        As ``metavar``, ``unit``, ``common``, ``off``, ``default`` and ``usual`` of `Flag`.
    **bounds
        As pydantic's ``Field`` takes them: ``ge``, ``gt``, ``le``, ``lt``, ``allow_inf_nan``.
    """
    field: FieldInfo = Field(default, description=text, **bounds)
    field.metadata.append(Flag(metavar, unit, common, off, otherwise, usual))
    return field


def options(text: str) -> Any:
    """A table of options, ``--…-option name=value`` on the command line."""
    field: Any = Field(default_factory=dict, description=text)
    field.metadata.append(Flag("NAME=VALUE"))
    return field


def _path(value: Any) -> Any:
    return Path(value).expanduser() if isinstance(value, str | Path) else value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def parts(value: Any) -> Any:
    """``text,audio``, or a list of them, each once."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        return value
    return tuple(dict.fromkeys(str(part).strip() for part in given if str(part).strip()))


def _table(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{value!r} is not a table of options in JSON: {error}") from error
    if not isinstance(value, Mapping):
        raise ConfigError(f"a table of options is wanted, not {value!r}")
    return {str(key): option for key, option in value.items()}


def _dashes(value: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("_", "-"): option for key, option in value.items()}


def _underscores(value: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): option for key, option in value.items()}


Folder: TypeAlias = Annotated[Path, BeforeValidator(_path)]
Text: TypeAlias = Annotated[str, BeforeValidator(_text)]
Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(parts)]
Options: TypeAlias = Annotated[dict[str, Any], BeforeValidator(lambda value: _dashes(_table(value)))]
# A model's options become keyword arguments; all others stay as they are written everywhere else.
KeywordOptions: TypeAlias = Annotated[dict[str, Any], BeforeValidator(lambda value: _underscores(_table(value)))]
