"""The grid that a ServerApp talks to devices through."""

from __future__ import annotations

from fedaffect.client.flower_compat.fitting import module_or_none
from fedaffect.client.flower_compat.object_chunks import wait_less_for_chunks


def look_sooner_for_replies() -> bool:
    """Have Flower's grid wait less for the rest of a reply that is on its way, while others are waited for."""
    return wait_less_for_chunks(module_or_none("flwr.superlink.grid.http_grid"))
