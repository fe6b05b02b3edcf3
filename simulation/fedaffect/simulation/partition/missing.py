"""Modalities that clients lack, drawn at a rate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.partition.rows import Partition

_STREAM = 0x6D697373  # keeps these draws apart from others of the same seed


def drop_modalities(
    present: Mapping[str, NDArray[np.bool_]], partition: Partition, rate: float, seed: int
) -> dict[str, NDArray[np.bool_]]:
    """Take modalities from clients: each client lacks each modality with probability ``rate``.

    As in FedMultimodal (Feng et al., KDD 2023, section 4.3): one draw for each client and modality, for all that the
    client holds, as a device without a camera lacks every picture. Two things they leave open: a client that would
    lose all modalities keeps one at random, and a sample that would be left with none, lacking the kept one by
    nature, keeps its own. Only training rows change; theirs also loses test data.

    Parameters
    ----------
    present : mapping of str to bool array, shape (N,)
        Modality to whether a row has it.
    partition : Partition
        Who holds which row.
    rate : float
        Probability in [0, 1].
    seed : int
        Of the run.

    Returns
    -------
    dict of str to bool array, shape (N,)

    Raises
    ------
    ConfigError
        If there is one modality only, which no client can do without.
    """
    if rate == 0:
        return dict(present)
    modalities = list(present)
    if len(modalities) < 2:
        raise ConfigError(
            f"--missing-modality {rate:g} needs two modalities or more and there is {', '.join(modalities)}; "
            "add one with --modalities"
        )
    rng = np.random.default_rng([_STREAM, seed])
    clients = len(partition.names)
    lost = rng.random((clients, len(modalities))) < rate  # (K, M)
    kept = rng.integers(len(modalities), size=clients)
    everything = lost.all(axis=1)
    lost[everything, kept[everything]] = False

    holder = np.repeat(np.arange(clients), partition.sizes)
    before = np.stack([present[m][partition.rows] for m in modalities], axis=1)  # (n, M)
    after = before & ~lost[holder]
    bare = ~after.any(axis=1)
    after[bare] = before[bare]
    result = {}
    for column, modality in enumerate(modalities):
        result[modality] = np.array(present[modality], dtype=bool)
        result[modality][partition.rows] = after[:, column]
    return result
