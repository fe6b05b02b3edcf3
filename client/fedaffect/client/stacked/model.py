"""A resident model that stands for K clients' at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fedaffect.client.privacy.clipping import FastClippedSum, Forward, RecordedSum
from fedaffect.client.privacy.recording import Recorder
from fedaffect.client.stacked.layers import STACKED_KINDS
from fedaffect.edge.errors import ConfigError


class StackedModel:
    """Parameters of K clients, shape (K, P), and their gradients.

    Parameters
    ----------
    model : Module
        Of layers that :class:`fedaffect.client.privacy.recording.Recorder` knows; its own parameters are not touched.
    clients : int
        K.
    clip : tuple of str and float, optional
        How per-example gradients are clipped, and the norm.

    Raises
    ------
    ConfigError
        If it has other layers.
    """

    def __init__(self, model: nn.Module, clients: int, clip: tuple[str, float] | None = None) -> None:
        own = dict(model.named_parameters())
        first = next(iter(own.values()))
        size = sum(p.numel() for p in own.values())
        self.parameters = nn.Parameter(torch.zeros(clients, size, dtype=first.dtype, device=first.device))
        self.gradients = torch.zeros_like(self.parameters)
        recorder = Recorder(model, STACKED_KINDS)
        records: dict[str, Any] = recorder.records
        start = 0
        for name, parameter in own.items():
            layer, _, local = name.rpartition(".")
            view = self.parameters.detach()[:, start : start + parameter.numel()].view(clients, *parameter.shape)
            # A leaf of its own: what runs backward stops here, and no gradient is made of it.
            setattr(records[layer], local, view.requires_grad_())
            start += parameter.numel()
        self._sum = FastClippedSum(model, *clip, recorder) if clip else RecordedSum(model, recorder)

    def backward(self, forward: Forward) -> Tensor:
        """Put the sum of each client's (clipped) gradients into ``gradients``.

        Parameters
        ----------
        forward : callable
            Runs the model over all clients' examples, as many of each, and returns their losses, shape (K B,).

        Returns
        -------
        Tensor
            The losses, shape (K B,).
        """
        return self._sum(forward, self.gradients)


def require_stackable_model(name: str, model: nn.Module) -> None:
    """Refuse whole cohorts for a model of which some layer cannot stand for several clients'.

    Raises
    ------
    ConfigError
        Naming those layers.
    """
    kinds = {type(m) for m in model.modules() if next(m.parameters(recurse=False), None) is not None}
    if others := sorted(kind.__name__ for kind in kinds - set(STACKED_KINDS)):
        raise ConfigError(
            f"model {name!r} has {', '.join(others)} layers, which train one client at a time; leave --cohort-size out"
        )
