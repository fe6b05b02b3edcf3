"""A model's settings from what a user gives by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from fedaffect.edge.errors import unknown_name

Config = TypeVar("Config")


def read_options(model: str, config: type[Config], options: Mapping[str, Any], **defaults: Any) -> Config:
    """The settings of a model.

    Parameters
    ----------
    model : str
        Its name, for a message.
    config : type
        A dataclass.
    options : mapping of str to object
        What the user gave.
    **defaults
        Where the model's own differ from the dataclass's.

    Raises
    ------
    ConfigError
        On an option that it lacks.
    """
    known = [field.name for field in fields(config)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            raise unknown_name(f"option of model {model}", name, known)
    return config(**{**defaults, **options})
