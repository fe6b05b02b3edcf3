"""AdamW over encoders and head, each with a learning rate of its own that rises and then falls in a straight line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from fedaffect.edge.errors import ConfigError
from fedaffect.server.models.fine_tuning.network import FineTuned


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the training rows, and samples of a step.
    micro_batch_size : int
        Samples that go through the network at once; the gradients of a step's are added up.
    lr, encoder_lr : float
        Highest learning rates of the head and of the encoders.
    weight_decay : float
        Of matrices; biases and norms do not decay.
    warmup : float
        Share of all steps in which the rates rise.
    gradient_clip : float
        Largest norm of a step's gradient; 0 for none.
    loss : str
        Of `fedaffect.client.losses`.
    modality_dropout : float
        Rate at which training hides a modality.
    precision : {"fp32", "bf16"}
        Of the matrix products; parameters, gradients and sums stay FP32.
    seed : int
    """

    epochs: int
    batch_size: int = 64
    micro_batch_size: int = 16
    lr: float = 1e-3
    encoder_lr: float = 2e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    gradient_clip: float = 1.0
    loss: str = "cross-entropy"
    modality_dropout: float = 0.0
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.micro_batch_size) < 1 or not 0 <= self.warmup < 1:
            raise ConfigError("fine-tuning takes epochs and batches of 1 or more, and a share of warm-up below 1")

    def rate(self, step: int, steps: int) -> float:
        """Share of the highest learning rate at a step, counted from 0, of so many."""
        rising = max(1, round(self.warmup * steps))
        return min((step + 1) / rising, (steps - step) / max(1, steps - rising + 1))


class Optimizer:
    """Gradients in one memory, and AdamW over what they are of.

    Parameters
    ----------
    network : FineTuned
        On its device; what is frozen stays so.
    recipe : Recipe
    steps : int
        Of the whole training.
    """

    def __init__(self, network: FineTuned, recipe: Recipe, steps: int) -> None:
        self._recipe, self._steps = recipe, steps
        self.step_count = 0
        learned = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
        self._parameters = [p for _, p in learned]
        device = self._parameters[0].device
        self.gradient = torch.zeros(sum(p.numel() for p in self._parameters), device=device)
        start = 0
        for parameter in self._parameters:
            # One that a batch says nothing of, as its modality is missing, has a gradient of zeros in every process.
            parameter.grad = self.gradient[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        groups: dict[tuple[bool, bool], list[Parameter]] = {}
        for name, parameter in learned:
            groups.setdefault((name.startswith("encoders."), parameter.ndim > 1), []).append(parameter)
        self._adamw = torch.optim.AdamW(
            [
                {
                    "params": members,
                    "weight_decay": recipe.weight_decay if is_matrix else 0.0,
                    "highest": recipe.encoder_lr if in_encoder else recipe.lr,
                }
                for (in_encoder, is_matrix), members in groups.items()
            ]
        )

    def step(self) -> None:
        """Apply the gradient, and make it zero."""
        if self._recipe.gradient_clip:
            norm = self.gradient.norm()
            self.gradient *= (self._recipe.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        rate = self._recipe.rate(self.step_count, self._steps)
        for group in self._adamw.param_groups:
            group["lr"] = rate * group["highest"]
        self._adamw.step()
        self.gradient.zero_()
        self.step_count += 1

    def state(self) -> dict[str, NDArray[Any]]:
        """What later steps depend on: both moments (Q,) of what is learned, and the number of steps."""
        kept = {"steps": torch.tensor([self.step_count])}
        if self.step_count:
            for name in ("exp_avg", "exp_avg_sq"):
                kept[name] = torch.cat([self._adamw.state[p][name].reshape(-1) for p in self._parameters])
        return {name: value.cpu().numpy() for name, value in kept.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        self.step_count = int(state["steps"][0])
        if not self.step_count:
            self._adamw.state.clear()
            return
        start = 0
        for p in self._parameters:
            stop = start + p.numel()
            self._adamw.state[p] = {
                "step": torch.tensor(float(self.step_count)),
                **{name: _like(p, state[name][start:stop]) for name in ("exp_avg", "exp_avg_sq")},
            }
            start = stop


def _like(parameter: Tensor, values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.copy()).view(parameter.shape).to(parameter.device)
