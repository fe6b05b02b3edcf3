"""What models with recurrent layers share.

A GRU's parameters are used once a step, so that no gradient of a single example is to be had from one pass: such
models are refused with privacy and in whole cohorts. Sequences are not packed, so that a graph can be exported.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked(tokens: Tensor, held: Tensor) -> Tensor:
    """Tokens (B, T, W), zeros where there is none (B, T)."""
    return tokens * held.unsqueeze(-1).to(tokens.dtype)


def last_state(states: Tensor, held: Tensor) -> Tensor:
    """The state after an example's last token, zeros where it has none.

    Parameters
    ----------
    states : Tensor, shape (B, T, H)
    held : Tensor of bool, shape (B, T)

    Returns
    -------
    Tensor, shape (B, H)
    """
    places = torch.arange(states.shape[1], device=states.device)
    last = (places * held.to(places.dtype)).amax(dim=1)  # (B,)
    picked = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)
    return picked * held.any(dim=1, keepdim=True).to(states.dtype)
