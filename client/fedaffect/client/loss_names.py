"""Names of the losses, for those who check settings or learn without torch."""

from __future__ import annotations

from typing import Final

from fedaffect.edge.errors import unknown_name

# Of each example alone, as privacy for single examples needs.
EXAMPLE_LOSS_NAMES: Final = ("cross-entropy", "smoothed", "focal")
LOSS_NAMES: Final = (*EXAMPLE_LOSS_NAMES, "weighted", "balanced")

# Of what is rated, beside that of the class.
RATING_LOSS_NAMES: Final = ("ccc", "mse")


def checked_loss(name: str) -> str:
    """The name of a loss that exists.

    Raises
    ------
    ConfigError
        If there is none of that name, listing those that exist.
    """
    if name not in LOSS_NAMES:
        raise unknown_name("loss", name, LOSS_NAMES)
    return name
