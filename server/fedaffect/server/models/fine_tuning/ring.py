"""A ring of processes by torch.distributed: gloo between processors, NCCL between GPUs."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


class ProcessRing:
    """The process group that this process is in, once whoever started it has set it up."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def add(self, values: Tensor) -> None:
        """Replace values by their sum over all processes (AllReduce)."""
        dist.all_reduce(values)
