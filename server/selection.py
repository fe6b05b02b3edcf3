"""Who takes part in a round: drawn without replacement, and by nothing but the seed and the round."""

from __future__ import annotations

import numpy as np

from edge_runtime.errors import ConfigError

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
