"""Where and how the full model computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from fedaffect.edge.errors import ConfigError, unknown_name

PRECISIONS: Final = ("fp32", "bf16", "int8")


@dataclass(frozen=True, slots=True)
class Compute:
    """Device, precision and whether graphs are compiled.

    Parameters
    ----------
    device : str
        As torch names it: ``cpu``, ``cuda``, ``cuda:1``.
    precision : {"fp32", "bf16", "int8"}
        Of the matrix products; what adds up between them, and norms, stay FP32 on a processor. INT8 is for processors.
    compile : bool
        ``torch.compile`` every encoder, on a GPU with CUDA graphs. The first request of each shape then takes long.
    packed : bool
        Lay out weights as the processor's library wants them; without, networks run as transformers made them.
    """

    device: str = "cpu"
    precision: str = "fp32"
    compile: bool = False
    packed: bool = True

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise ConfigError(f"{self.device!r} is not a device; use cpu, cuda or cuda:0") from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError("there is no CUDA device here; use --device cpu")
        if device.type == "cuda" and self.precision == "int8":
            raise ConfigError("int8 is for processors; on a GPU use --precision bf16")

    @property
    def is_gpu(self) -> bool:
        """Whether kernels are launched rather than called."""
        return torch.device(self.device).type == "cuda"

    @property
    def repeats_shapes(self) -> bool:
        """Whether batches are padded to buckets, so that a shape seen once is seen again.

        Compiled graphs need that and a GPU's allocator likes it; a processor would only compute on zeros.
        """
        return self.compile or self.is_gpu
