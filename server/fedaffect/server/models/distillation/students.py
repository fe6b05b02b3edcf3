"""A student is its teacher with layers left out; it gives as many hidden states, side by side, and so one width."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from torch import nn

from fedaffect.edge.errors import ConfigError
from fedaffect.server.models.bundling.text import HiddenStates
from fedaffect.server.models.bundling.whisper import WhisperLayers


def drop_layers(teacher: nn.Module, keep: Sequence[int]) -> nn.Module:
    """A copy of a text or Whisper encoder that has only some of its layers, ready to be trained.

    The hidden states it gives are its own last ones, as many as the teacher gives.

    Parameters
    ----------
    teacher : HiddenStates or WhisperLayers
        Not changed.
    keep : sequence of int
        Layers to keep, counted from 1, rising.

    Raises
    ------
    ConfigError
        If layers are not there, none would be dropped, too few are left, or the encoder is of another kind.
    """
    if isinstance(teacher, HiddenStates):
        return _text(teacher, keep)
    if isinstance(teacher, WhisperLayers):
        return _whisper(teacher, keep)
    raise ConfigError(f"layers of a {type(teacher).__name__} cannot be dropped; text and Whisper encoders can")


def layers_of(teacher: nn.Module) -> int:
    """How many layers an encoder has of which some could be dropped; 0 for other kinds."""
    if isinstance(teacher, HiddenStates):
        model: Any = teacher.model
        return len(model.encoder.layer)
    return len(teacher.layers) if isinstance(teacher, WhisperLayers) else 0


def _text(teacher: HiddenStates, keep: Sequence[int]) -> nn.Module:
    student = deepcopy(teacher)
    model: Any = student.model
    layers = model.encoder.layer
    model.encoder.layer = nn.ModuleList(layers[place - 1] for place in _checked(keep, len(layers), len(teacher.layers)))
    model.config.num_hidden_layers = len(keep)
    student.layers = _last(len(keep), len(teacher.layers))
    return student


def _whisper(teacher: WhisperLayers, keep: Sequence[int]) -> nn.Module:
    student = deepcopy(teacher)
    places = _checked(keep, len(teacher.layers), len(teacher.wanted))
    student.layers = nn.ModuleList(student.layers[place - 1] for place in places)
    student.wanted = _last(len(keep), len(teacher.wanted))
    return student


def _last(kept: int, states: int) -> tuple[int, ...]:
    return tuple(range(kept - states + 1, kept + 1))


def _checked(keep: Sequence[int], layers: int, states: int) -> Sequence[int]:
    if list(keep) != sorted(set(keep)) or not all(1 <= place <= layers for place in keep):
        raise ConfigError(f"layers to keep must rise from 1 to {layers}, not {list(keep)}")
    if len(keep) >= layers:
        raise ConfigError(f"all {layers} layers would be kept; name fewer")
    if len(keep) < states - 1 or not keep:
        raise ConfigError(f"{len(keep)} layers cannot give {states} hidden states; keep at least {max(1, states - 1)}")
    return keep
