"""A partition: clients that each hold every n-th training row."""

from __future__ import annotations

import numpy as np

from fedaffect.simulation import Partition, Partitioner, Rows


def in_turn(rows: Rows, seed: int, clients: int) -> Partition:
    """Deal the training rows out like cards."""
    held = rows.training
    return Partition.numbered(held, np.arange(len(held)) % clients, clients)


HALVES = Partitioner("halves", in_turn, (("clients", int),), "halves:2")
