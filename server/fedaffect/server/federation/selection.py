"""Who takes part in a round: drawn without replacement, and by nothing but the seed and the round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError

# Sets these draws apart from others that a run derives from the same seed.
_STREAM = 0x5E1EC7


def choose_clients(known: int, wanted: int, seed: int, round_number: int) -> tuple[int, ...]:
    """Partition ids of a round, ascending.

    Parameters
    ----------
    known : int
        K, clients of the federation.
    wanted : int
        How many take part.
    seed, round_number : int
        The same pair always gives the same clients, so that a resumed run repeats an uninterrupted one.

    Raises
    ------
    ConfigError
        If more are wanted than there are.
    """
    if wanted > known:
        raise ConfigError(f"{wanted} clients a round are more than the {known} there are; lower --clients-per-round")
    generator = np.random.default_rng([_STREAM, seed, round_number])
    return tuple(sorted(int(k) for k in generator.choice(known, size=wanted, replace=False)))


def choose_in_turn(known: int, wanted: int, seed: int, round_number: int) -> tuple[int, ...]:
    """Partition ids of a round when all take part equally often, in an order that the seed decides.

    Over R rounds nobody takes part more than ceil(R wanted / known) times, nor again within known // wanted rounds:
    what privacy is spent and how far apart is known before the run begins.

    Parameters
    ----------
    known, wanted, seed, round_number
        As :func:`choose_clients`.
    """
    if wanted > known:
        raise ConfigError(f"{wanted} clients a round are more than the {known} there are; lower --clients-per-round")
    order = np.random.default_rng([_STREAM, seed]).permutation(known)
    places = ((round_number - 1) * wanted + np.arange(wanted)) % known
    return tuple(sorted(int(k) for k in order[places]))


def choose_poisson(draws: NDArray[np.float64], rate: float) -> tuple[int, ...]:
    """Partition ids of a round in which each client takes part by itself with this probability; maybe nobody.

    Parameters
    ----------
    draws : float64 array, shape (K,)
        Uniform in [0, 1), from where nobody can repeat them.
    rate : float
    """
    return tuple(int(k) for k in np.flatnonzero(draws < rate))
