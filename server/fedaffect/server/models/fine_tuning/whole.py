"""What is trained as a whole: every network opened, frozen as asked, behind one head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from fedaffect.client.models.registry import load_arrays
from fedaffect.server.models.fine_tuning.network import FineTuned, freeze
from fedaffect.server.models.fine_tuning.opening import Save, open_network


@dataclass(frozen=True, slots=True)
class Opened:
    """A network, and what saves each of its encoders.

    Parameters
    ----------
    network : FineTuned
    saves : mapping of str to callable
        Writes a modality's encoder to a folder.
    """

    network: FineTuned
    saves: Mapping[str, Save]

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put a checkpoint's arrays into the network."""
        load_arrays(self.network, arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is trained; the same in every process that shares batches.

    Parameters
    ----------
    sources : mapping of str to str
        By modality, in the order of the fusion's streams: a folder, a hub id with its commit, or ``package``.
    frozen : mapping of str to str
        ``half`` or ``all`` of a modality's network, of those of which something is frozen.
    model : str
        ``own`` or a fusion model of the registry.
    options : mapping
        The model's settings.
    classes, ratings : int
        What is answered: C, and R more.
    seed : int
        Of fresh parameters.
    device : str
    """

    sources: Mapping[str, str]
    frozen: Mapping[str, str]
    model: str
    options: Mapping[str, Any]
    classes: int
    seed: int
    device: str
    ratings: int = 0

    def open(self) -> Opened:
        """Open every network, with a fresh head behind them.

        Raises
        ------
        BundleError
            If one cannot be had.
        ConfigError
            If the head does not suit them.
        """
        encoders, saves = {}, {}
        for modality, source in self.sources.items():
            encoders[modality], saves[modality] = open_network(modality, source)
            if how := self.frozen.get(modality):
                freeze(encoders[modality], how)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.seed)
            network = FineTuned(encoders, self.model, self.classes, self.options, self.ratings)
        return Opened(network, saves)
