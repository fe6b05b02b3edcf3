"""Fusion models by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeAlias

from torch import nn

from fedaffect.client.models.cmt import cross_modal_transformer
from fedaffect.client.models.head import linear_head
from fedaffect.client.models.pooled import pooled_linear
from fedaffect.edge.errors import ConfigError, unknown_name

GROUP = "fedaffect.models"

# (widths by stream, number of classes, options) -> module whose forward takes tokens and present by stream
ModelBuilder: TypeAlias = Callable[..., nn.Module]

_OWN: Mapping[str, ModelBuilder] = {"cmt": cross_modal_transformer, "linear": pooled_linear, "head": linear_head}


def model_names() -> tuple[str, ...]:
    """Names of our own models and of those that installed packages add."""
    return (*_OWN, *(point.name for point in entry_points(group=GROUP)))


def build_model(name: str, widths: Mapping[str, int], num_classes: int, options: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised fusion model.

    Parameters
    ----------
    name : str
        One of :func:`model_names`.
    widths : mapping of str to int
        Width of each stream's tokens; decides which adapters there are.
    num_classes : int
        C.
    options : mapping
        The model's own settings.

    Raises
    ------
    ConfigError
        On an unknown model or option.
    """
    builder = _OWN.get(name)
    if builder is None:
        point = next((p for p in entry_points(group=GROUP) if p.name == name), None)
        if point is None:
            raise unknown_name("model", name, model_names())
        builder = point.load()
    try:
        return builder(widths, num_classes, **options)
    except TypeError as error:
        raise ConfigError(f"model {name!r} does not take these options: {error}") from error
