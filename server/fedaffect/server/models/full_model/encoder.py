"""What the cloud's encoders share: batches of samples of different lengths, and keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedaffect.edge.encoders.base import Prepared, key_of
from fedaffect.edge.runtime.intake import Taken
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.padding import bucket, group, pad, rows_for


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples side by side, on the device.

    Parameters
    ----------
    values : Tensor, shape (B, ..., T)
        Zeros behind each sample; rows behind the last sample are zeros.
    lengths : tuple of int
        Real length of each sample; fewer than B where rows were added.
    mask : Tensor of bool, shape (B, T), optional
        False for padding; None where nothing is padded.
    """

    values: Tensor
    lengths: tuple[int, ...]
    mask: Tensor | None


class CloudEncoder(ABC):
    """A frozen network on torch; also an `fedaffect.edge.encoders.base.Encoder`.

    Samples are batched, and what comes out for one does not depend on the others beyond rounding.

    Parameters
    ----------
    network : nn.Module
        Ready to compute, see `fedaffect.server.models.full_model.precision.ready`.
    compute : Compute
        Where it runs.
    width : int
        Of its tokens.
    tokens_per_second : float
    key : str
        See :func:`identity`.
    """

    modality: str

    def __init__(self, network: nn.Module, compute: Compute, *, width: int, tokens_per_second: float, key: str) -> None:
        self.compute = compute
        self.network = network
        self.width = width
        self.tokens_per_second = tokens_per_second
        self.key = key
        self._device = torch.device(compute.device)

    @abstractmethod
    def prepare(self, source: Any) -> Prepared:
        """Decode and preprocess one source, as the edge does.

        Raises
        ------
        DataError
            If it cannot be read, naming it.
        """

    @abstractmethod
    def take(self, source: Any) -> Taken:
        """As :meth:`prepare`, with what the caller should know; for what people send rather than corpora.

        Raises
        ------
        DataError
            If it cannot be read or has nothing in it: silence, no face, no words.
        """

    @abstractmethod
    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Features of each sample, shape (T_i, width)."""

    def cost(self, prepared: Prepared) -> int:
        """How much of the network's work a sample is: its length in tokens, frames or pictures, at least 1."""
        return max(1, self._length(prepared))

    def _length(self, prepared: Prepared) -> int:
        return int(prepared.values.shape[-1])


class PaddedEncoder(CloudEncoder):
    """Batches sequences of different lengths; padding is masked wherever positions look at each other.

    Parameters
    ----------
    network : nn.Module
        From a batch's values and mask to features.
    compute, width, tokens_per_second, key
        As of `CloudEncoder`.
    step : int
        Where shapes repeat, lengths are padded to buckets of this.
    most : int
        Length that one batch holds, padding included.
    """

    def __init__(
        self,
        network: nn.Module,
        compute: Compute,
        *,
        width: int,
        tokens_per_second: float,
        key: str,
        step: int,
        most: int,
    ) -> None:
        super().__init__(network, compute, width=width, tokens_per_second=tokens_per_second, key=key)
        self._step = step if compute.repeats_shapes else 1
        # INT8 takes samples one by one.
        self._most = most if compute.precision != "int8" else 1

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Features of each sample, shape (T_i, width)."""
        lengths = [self._length(prepared) for prepared in batch]
        features: list[NDArray[np.float32]] = [np.zeros((0, self.width), np.float32)] * len(batch)
        with torch.inference_mode():
            for places in group(lengths, self._step, self._most):
                made = self._encode([batch[place] for place in places], [lengths[place] for place in places])
                for place, tokens in zip(places, made, strict=True):
                    features[place] = tokens
        return features

    def _encode(self, batch: list[Prepared], lengths: list[int]) -> list[NDArray[np.float32]]:
        padded = bucket(max(lengths), self._step)
        rows = rows_for(len(batch), self.compute.repeats_shapes)
        values = torch.from_numpy(pad([prepared.values for prepared in batch], padded, rows)).to(self._device)
        mask = None
        if rows > len(batch) or min(lengths) < padded:
            # Rows that were added count as full: one without a real position would be a softmax over nothing.
            real = torch.tensor(lengths + [padded] * (rows - len(batch)), device=self._device)
            mask = torch.arange(padded, device=self._device) < real[:, None]  # (B, T)
        return self._run(Batch(values, tuple(lengths), mask))

    @abstractmethod
    def _run(self, batch: Batch) -> list[NDArray[np.float32]]:
        """Tokens of each real sample of a batch."""


def identity(network: nn.Module, parameters: Mapping[str, Any], files: Mapping[str, str] | None = None) -> str:
    """An encoder's key: hash over its weights, other files and preprocessing parameters.

    Parameters
    ----------
    network : nn.Module
        In FP32, before any change of precision.
    parameters : mapping
        JSON values that decide the features.
    files : mapping of str to str
        Role of any other file to its SHA-256.
    """
    digest = sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.detach().cpu().contiguous().view(-1).numpy()).cast("B"))
    return key_of({"network": digest.hexdigest(), **(files or {})}, parameters)


def to_arrays(tokens: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Sequences on a device, shapes (T_i, W), to arrays, in one transfer."""
    together = torch.cat(list(tokens)).float().cpu().numpy()
    stops = np.cumsum([len(each) for each in tokens])
    return [np.ascontiguousarray(part) for part in np.split(together, stops[:-1])]
