"""Local algorithms by name, as a strategy asks for them."""

from __future__ import annotations

from collections.abc import Mapping

from fedaffect.client.algorithms.base import LocalAlgorithm
from fedaffect.client.algorithms.fedprox import FedProx
from fedaffect.client.algorithms.fedrs import FedRS
from fedaffect.client.algorithms.scaffold import Scaffold
from fedaffect.edge.errors import unknown_name

ALGORITHMS: Mapping[str, type[LocalAlgorithm]] = {
    "fedavg": LocalAlgorithm,
    "fedprox": FedProx,
    "scaffold": Scaffold,
    "fedrs": FedRS,
}


def algorithm(name: str) -> type[LocalAlgorithm]:
    """The local algorithm of that name.

    Raises
    ------
    ConfigError
        If there is none, listing those that exist.
    """
    if name not in ALGORITHMS:
        raise unknown_name("local algorithm", name, ALGORITHMS)
    return ALGORITHMS[name]
