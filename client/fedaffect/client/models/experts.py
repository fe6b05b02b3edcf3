"""An answer to several modalities as the product of those to each alone.

Where modalities are independent given the class, p(c | x_1..x_M) is in proportion to p(c) times the product over m of
p(c | x_m) / p(c): the product of experts of Hinton, "Training Products of Experts by Minimizing Contrastive Divergence"
(Neural Computation 14, 2002), with each expert's own p(c) taken out. But what somebody feels does not show in every
modality: a face may look neutral while the voice is angry. So each expert is a mixture: in a share u of samples it sees
what it would see of a neutral one,

    p(x_m | c) = (1 - u) q(x_m | c) + u q(x_m | neutral).

A model that learned from corpora of one modality each has met no two modalities of one person, and nothing tells it
which to believe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from fedaffect.edge.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """How answers to each modality are multiplied.

    Parameters
    ----------
    priors : mapping of str to sequence of float, length C
        By stream: the mean of its answers over samples in which every class is as frequent; sums to 1. A stream that
        is not there favours none: 1 / C.
    neutral : int
        The class of those who show nothing.
    unshown : float
        u, in [0, 1).
    """

    priors: Mapping[str, Sequence[float]] = field(default_factory=dict)
    neutral: int = 0
    unshown: float = 0.0

    def check(self, num_classes: int) -> None:
        """Refuse settings that are another model's.

        Raises
        ------
        ConfigError
            If priors are no C positive shares, or there is no class ``neutral``.
        """
        for stream, shares in self.priors.items():
            if len(shares) != num_classes or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-3:
                raise ConfigError(f"experts need {num_classes} positive priors of {stream} that sum to 1, not {shares}")
        if not 0 <= self.neutral < num_classes or not 0 <= self.unshown < 1:
            raise ConfigError(f"experts' neutral is one of {num_classes} classes, and unshown in [0, 1)")


def product(scores: Tensor, there: Tensor, experts: Experts, streams: Sequence[str]) -> Tensor:
    """Scores of samples by what each of their streams says alone.

    Parameters
    ----------
    scores : Tensor, shape (B, M, C)
        Of each stream, before the softmax.
    there : Tensor of bool, shape (B, M)
        Which streams a sample has; the scores of others do not count.
    experts : Experts
    streams : sequence of str, length M

    Returns
    -------
    Tensor, shape (B, C)
        Logarithms of what is in proportion to probabilities; of samples that have one stream, its scores as they are,
        and the first stream's of those that have none.
    """
    even = [1 / scores.shape[-1]] * scores.shape[-1]
    priors = torch.tensor([tuple(experts.priors.get(s, even)) for s in streams], device=scores.device)  # (M, C)
    ratio = functional.log_softmax(scores, dim=-1) - priors.log()
    if experts.unshown:
        calm = ratio[..., experts.neutral : experts.neutral + 1].expand_as(ratio)
        mixed = torch.stack([ratio + math.log(1 - experts.unshown), calm + math.log(experts.unshown)])
        ratio = torch.logsumexp(mixed, dim=0)
    count = there.sum(dim=1, keepdim=True)  # (B, 1)
    multiplied = torch.where(there[..., None], ratio, 0.0).sum(dim=1)
    alone = torch.where(there[..., None], scores, 0.0).sum(dim=1)
    return torch.where(count > 1, multiplied, torch.where(count > 0, alone, scores[:, 0]))
