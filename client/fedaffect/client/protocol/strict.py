"""Values from outside, checked by pydantic: strict types, no unknown keys, and one line that says what is wrong.

Messages of the fleet's API are `StrictModel`. Settings of folders are dataclasses with a ``__pydantic_config__``, so
that only reading them imports pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, field_validator

from fedaffect.edge.errors import ConfigError, nearest

T = TypeVar("T")

_LONGEST_TEXT: Final = 2_000
_SHOWN: Final = 40
_LAYOUT: Final = "\n\t"


class StrictModel(BaseModel):
    """A message: a boolean is a boolean, a number is finite, a text is short and has no control characters."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, str_max_length=_LONGEST_TEXT
    )

    @field_validator("*", mode="after")
    @classmethod
    def _no_control_characters(cls, value: Any) -> Any:
        for text in _texts(value):
            # PostgreSQL stores no NUL; nothing that is shown to an operator may move the cursor.
            if any(ord(c) < 32 and c not in _LAYOUT for c in text) or any("\ud800" <= c <= "\udfff" for c in text):
                raise ValueError("should have no control characters")
        return value


def read_json(kind: type[T], data: bytes, what: str) -> T:
    """A message from JSON.

    Parameters
    ----------
    kind : type
    data : bytes
        Empty stands for an object without keys.
    what : str
        For the error message, such as ``the check-in``.

    Raises
    ------
    ConfigError
        If it is not JSON, or does not fit; the message names the key.
    """
    try:
        return TypeAdapter(kind).validate_json(data or b"{}")
    except ValidationError as error:
        raise ConfigError(_one_line(kind, error, what)) from None


def read_values(kind: type[T], values: Mapping[str, Any], what: str) -> T:
    """Settings from a mapping, such as one from TOML.

    Raises
    ------
    ConfigError
        If they do not fit; the message names the key.
    """

    def refuse(value: object) -> None:
        raise ConfigError(f"{what} has the date or time {value}; no setting is one, put it in quotes")

    # As JSON, of which pydantic in strict mode takes lists for tuples and objects for dataclasses.
    try:
        data = json.dumps(values, default=refuse).encode()
    except ValueError as error:
        # An integer with more digits than Python writes.
        raise ConfigError(f"{what} has a value that no setting takes ({error})") from None
    return read_json(kind, data, what)


def _one_line(kind: type, error: ValidationError, what: str) -> str:
    """The first thing that is wrong; an unknown key before others, as a missing one is often a misspelt one."""
    found = error.errors(include_url=False, include_context=False)
    unknown = [each for each in found if each["type"] in ("extra_forbidden", "unexpected_keyword_argument")]
    wrong = (unknown or found)[0]
    place, shown = wrong["loc"], _short(wrong["input"])
    if unknown:
        known = _keys(kind, place[:-1])
        close = nearest(str(place[-1]), known)
        hint = f"did you mean {close!r}?" if close else f"known: {', '.join(sorted(known))}; remove it"
        return f"unknown key {_short(place[-1])} in {what}; {hint}"
    name = ".".join(map(str, place))
    if wrong["type"] == "missing":
        return f"{what} lacks {name!r}; add it"
    if wrong["type"] == "json_invalid":
        return f"{what} is not valid JSON ({wrong['msg'].removeprefix('Invalid JSON: ')[:80]}); send a JSON object"
    expected = wrong["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    subject = f"{name!r} in {what}" if name else what
    return f"{subject} {expected[:100]}, not {shown}"


def _keys(kind: Any, place: tuple[int | str, ...]) -> list[str]:
    """Keys that may stand at a place."""
    for name in place:
        # A key that is no field is one of a mapping, whose values are meant.
        if isinstance(name, str) and name in (hints := get_type_hints(kind)):
            kind = next(_structures(hints[name]), kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.alias or name for name, field in kind.model_fields.items()]
    alias = getattr(kind, "__pydantic_config__", {}).get("alias_generator", str)
    return [alias(field.name) for field in fields(kind)]


def _structures(annotation: Any) -> Iterator[Any]:
    """Models and dataclasses within an annotation, such as the X of ``list[X]``."""
    if is_dataclass(annotation) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        yield annotation
    for inner in get_args(annotation):
        yield from _structures(inner)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
