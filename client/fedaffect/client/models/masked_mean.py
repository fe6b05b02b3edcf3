"""The mean over tokens that are there."""

from __future__ import annotations

from torch import Tensor


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of each example; zeros where it has none.

    Parameters
    ----------
    tokens : Tensor, shape (B, T, W)
    mask : Tensor of the tokens' type, shape (B, T, 1)
        1 where a token is there, else 0.

    Returns
    -------
    Tensor, shape (B, W)
    """
    mean: Tensor = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1)
    return mean
