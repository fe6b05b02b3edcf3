"""How many actors the connected Ray has room for."""

from __future__ import annotations

import ray

from fedaffect.edge.errors import ConfigError


def actors_that_fit(wanted: int | None, cpus: float, gpus: float) -> int:
    """How many actors the connected Ray has room for.

    Parameters
    ----------
    wanted : int, optional
        Asked for; as many as fit by default.
    cpus, gpus : float
        What one actor takes.

    Raises
    ------
    ConfigError
        If not even one fits, or fewer than were asked for.
    """
    room = 0
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if not node["Alive"]:
            continue
        resources = node["Resources"]
        limits = [resources.get("CPU", 0.0) / cpus] if cpus else []
        limits += [resources.get("GPU", 0.0) / gpus] if gpus else []
        room += int(min(limits) + 1e-6)
    if room < max(1, wanted or 1):
        share = f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
        raise ConfigError(
            f"Ray has room for {room} actors of {share} each, not {wanted or 1}; ask for fewer or smaller"
        )
    return wanted or room
