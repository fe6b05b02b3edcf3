"""What models mix that join the answers of several heads: class probabilities, and ratings, which are no shares."""

from __future__ import annotations

import torch
from torch import Tensor


def log_shares(answers: Tensor, ratings: int) -> Tensor:
    """Scores (..., C + R) with those of the classes as log-probabilities; the last R, ratings, stay as they are."""
    if not ratings:
        return answers.log_softmax(-1)
    return torch.cat([answers[..., :-ratings].log_softmax(-1), answers[..., -ratings:]], dim=-1)
