"""What malicious clients do to an update before they send it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def flip_sign(start: Tensor, trained: Tensor, options: Mapping[str, float]) -> Tensor:
    """Go against what was learned: ``start - factor (trained - start)``.

    Li et al., "RSA: Byzantine-Robust Stochastic Aggregation Methods" (2019), section 5. With a share a of attackers a
    plain mean goes ``1 - a - factor a`` times the honest way: backwards from ``factor > (1 - a) / a`` on.

    Parameters
    ----------
    start, trained : Tensor of float32, shape (P,)
    options : mapping
        ``factor``.
    """
    return start - options["factor"] * (trained - start)


def boost(start: Tensor, trained: Tensor, options: Mapping[str, float]) -> Tensor:
    """Outweigh everybody else: ``start + factor (trained - start)``.

    Model replacement of Bagdasaryan et al., "How To Backdoor Federated Learning" (2020), equation 3: with a factor of
    the number of clients over the attackers', what they trained takes the mean's place.

    Parameters
    ----------
    start, trained : Tensor of float32, shape (P,)
    options : mapping
        ``factor``.
    """
    return start + options["factor"] * (trained - start)
