"""What is wrong with a setting, in one line: its flag, its section, what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.server.federation.settings.fields import Flag

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list of names",
    "is_instance_of": "a path",
    "path_type": "a path",
}
_BOUNDS = {"ge": "{:g} or more", "gt": "above {:g}", "le": "at most {:g}", "lt": "below {:g}"}
_OUT_OF_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")


def refusal(error: ValidationError, fields: Mapping[str, FieldInfo]) -> ConfigError:
    """The first complaint of pydantic as one of ours.

    Parameters
    ----------
    error : ValidationError
        Of a model whose fields are sections.
    fields : mapping of str to FieldInfo
        Of all settings.
    """
    first = error.errors(include_url=False)[0]
    section, name = str(first["loc"][0]), str(first["loc"][1])
    flag, value, kind = flag_of(name), first["input"], first["type"]
    where = f" (section {section})"
    if kind == "literal_error":
        return ConfigError(f"{unknown_name(flag, str(value), choices(fields[name]))}{where}")
    if kind in _OUT_OF_BOUNDS:
        usual = f"; {told.usual} is usual" if (told := flag_facts(fields[name])).usual else ""
        return ConfigError(f"{flag} {bounds(fields[name])}, not {value}{where}{usual}")
    return ConfigError(f"{flag} takes {_KINDS.get(kind, first['msg'])}, not {value!r}{where}")


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values of a setting that takes one of few; empty for others."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())


def bounds(field: FieldInfo) -> str:
    """What a number must be, such as ``must be 1 or more``."""
    known = {key: getattr(one, key) for one in field.metadata for key in _BOUNDS if hasattr(one, key)}
    if known.keys() in ({"ge", "le"}, {"gt", "lt"}):
        what = "is a rate" if flag_facts(field).unit == "rate" else "must be"
        low, high = known.values()
        return f"{what} between {low:g} and {high:g}"
    return "must be " + " and ".join(_BOUNDS[key].format(bound) for key, bound in known.items())


def flag_facts(field: FieldInfo) -> Flag:
    """How a setting is written on the command line."""
    return next(one for one in field.metadata if isinstance(one, Flag))


def flag_of(name: str) -> str:
    """A setting's flag on the command line.

    Parameters
    ----------
    name : str
        In snake_case.
    """
    return "--" + (name.removesuffix("s") if name.endswith("_options") else name).replace("_", "-")


def shown(value: Any) -> str:
    """A value in an error; ``unset`` for None."""
    return "unset" if value is None else str(value)
