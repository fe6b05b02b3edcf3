"""Private kernels of torch that the optimizers step with: one call for all parameters instead of one for each."""

from __future__ import annotations

import torch
from torch import Tensor


def add_each(tensors: list[Tensor], others: list[Tensor], alpha: float) -> None:
    """``tensors[i] += alpha * others[i]`` for all, in place."""
    torch._foreach_add_(tensors, others, alpha=alpha)


def count_each(steps: list[Tensor]) -> None:
    """``steps[i] += 1`` for all, in place."""
    torch._foreach_add_(steps, 1)


def step_adamw(
    parameters: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    epsilon: float,
) -> None:
    """One step of AdamW, as ``torch.optim.AdamW(fused=True)`` makes it, in place."""
    torch._fused_adamw_(
        parameters,
        gradients,
        means,
        squares,
        [],
        steps,
        lr=lr,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=weight_decay,
        eps=epsilon,
        amsgrad=False,
        maximize=False,
    )
