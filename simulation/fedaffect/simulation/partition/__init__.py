"""Partitions: a corpus's training rows divided among clients, and what each client's data lacks."""

from fedaffect.simulation.partition.registry import PARTITIONERS, Partitioner, partition
from fedaffect.simulation.partition.rows import Partition, Rows

__all__ = ["PARTITIONERS", "Partition", "Partitioner", "Rows", "partition"]
