"""Local algorithms by name, as a strategy asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedaffect.client.algorithms.base import LocalAlgorithm
from fedaffect.client.algorithms.ditto import Ditto
from fedaffect.client.algorithms.fedper import FedPer
from fedaffect.client.algorithms.fedprox import FedProx
from fedaffect.client.algorithms.fedrep import FedRep
from fedaffect.client.algorithms.fedrs import FedRS
from fedaffect.client.algorithms.scaffold import Scaffold
from fedaffect.client.plugins import Plugins

GROUP = "fedaffect.algorithms"

ALGORITHMS: Mapping[str, type[LocalAlgorithm]] = {
    "fedavg": LocalAlgorithm,
    "fedprox": FedProx,
    "scaffold": Scaffold,
    "fedrs": FedRS,
    "fedper": FedPer,
    "fedrep": FedRep,
    "ditto": Ditto,
}


def _is_algorithm(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, LocalAlgorithm)


PLUGINS: Plugins[type[LocalAlgorithm]] = Plugins(
    "local algorithm", GROUP, ALGORITHMS, _is_algorithm, "a subclass of fedaffect.client.LocalAlgorithm"
)


def algorithm(name: str) -> type[LocalAlgorithm]:
    """The local algorithm of that name.

    Raises
    ------
    ConfigError
        If there is none, listing those that exist.
    """
    return PLUGINS.find(name)
