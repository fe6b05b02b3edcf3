"""How long to wait for a chunk of a message that is not there yet; Flower waits a second before it looks again."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any, Final

from fedaffect.client.flower_compat.fitting import fits, has_function

# The first wait; each next is twice as long, up to the longest.
MISSING_S, MISSING_AT_MOST_S = 0.05, 1.0
WAITS: Final[dict[str, Any]] = {"initial_backoff": MISSING_S, "backoff_cap": MISSING_AT_MOST_S}
_NAME: Final = "pull_objects"


def wait_less_for_chunks(module: ModuleType | None) -> bool:
    """Have a module of Flower's that pulls objects look for missing ones sooner.

    Parameters
    ----------
    module : module, optional
        Calls ``pull_objects`` by that name; None where Flower has moved it.

    Returns
    -------
    bool
        Whether the patch fits.
    """
    waits = {**WAITS, "max_tries_per_object": None}
    if module is None or not fits(
        has_function(module, _NAME, tuple(waits)), "a missing chunk is looked for each second"
    ):
        return False
    setattr(module, _NAME, partial(getattr(module, _NAME), **waits))
    return True
