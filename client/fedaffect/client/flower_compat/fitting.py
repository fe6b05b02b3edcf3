"""Whether a speed patch still fits Flower; one that does not is left out, with one warning."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Sequence
from types import ModuleType

from flwr import __version__

logger = logging.getLogger(__name__)


def module_or_none(name: str) -> ModuleType | None:
    """A module of Flower's; None where Flower has moved it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def has_function(module: ModuleType | None, name: str, parameters: Sequence[str] = ()) -> bool:
    """Whether a module has a function that takes all these parameters."""
    function = getattr(module, name, None)
    if not callable(function):
        return False
    taken = inspect.signature(function).parameters
    return all(parameter in taken for parameter in parameters)


def fits(met: bool, without: str) -> bool:
    """``met``; where it is False, a warning says what goes on without the patch."""
    if not met:
        logger.warning("Flower %s does not have what a speed patch needs; %s", __version__, without)
    return met
