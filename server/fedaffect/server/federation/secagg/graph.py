"""Who is whose neighbour, and how many shares it takes: Bell et al. (CCS 2020), sections 3 and 4.

With n clients each masks with k neighbours instead of all, k growing like the logarithm of n. The graph is a
ring in random order in which everybody knows the k/2 next on either side (a Harary graph with permuted nodes).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fedaffect.client.secagg.protocol import LEAST_THRESHOLD
from fedaffect.edge.errors import ConfigError

# Of those present, so many may be lost in each of the three stages that follow the keys...
_LOST_A_STAGE, _STAGES_LEFT = 0.3, 3
# ...and still one round in a hundred at most needs another attempt.
_FAILURE = 2.0**-7
# Colluding clients, of all: with probability 2^-30 at most enough of them surround any one client.
_COLLUDING = 0.05
_EXPOSURE = 2.0**-30


@dataclass(frozen=True, slots=True)
class Plan:
    """Shape of an attempt's graph.

    Parameters
    ----------
    neighbours : int
        k of each client; even, or all others.
    threshold : int
        t of the k + 1 holders of a client's shares, itself among them, that give its secrets.
    """

    neighbours: int
    threshold: int


def plan_for(clients: int, neighbours: int | None = None, threshold: int | None = None) -> Plan:
    """The sparsest graph that withstands the losses and the collusion stated above; denser ones where none does.

    Parameters
    ----------
    clients : int
        n, those who sent keys.
    neighbours, threshold : int, optional
        Fixed beforehand; what is not given is chosen.

    Raises
    ------
    ConfigError
        If the threshold cannot be met by that many neighbours.
    """
    everybody = clients - 1
    if neighbours is not None:
        degrees: Sequence[int] = [_even(min(neighbours, everybody), everybody)]
    else:
        degrees = [*range(2, everybody, 2), everybody]
    for k in degrees:
        t = threshold if threshold is not None else _highest_threshold(clients, k)
        if k == degrees[-1] or (t >= LEAST_THRESHOLD and _is_enough(clients, k, t)):
            break
    t = max(LEAST_THRESHOLD, t)
    if t > k + 1:
        raise ConfigError(
            f"a secure sum needs {t} of the holders of a client's shares and {clients} clients take part, so that "
            f"each has {k + 1}; raise --clients-per-round or lower --secagg-threshold"
        )
    return Plan(k, t)


def neighbours_of(clients: Sequence[int], degree: int) -> dict[int, tuple[int, ...]]:
    """A ring in an order that nobody can foresee; everybody's neighbours, ascending.

    Parameters
    ----------
    clients : sequence of int
    degree : int
        k, even, or one less than there are clients.
    """
    ring = list(clients)
    secrets.SystemRandom().shuffle(ring)
    n = len(ring)
    if degree >= n - 1:
        return {client: tuple(sorted(c for c in ring if c != client)) for client in ring}
    reach = [step for step in range(-(degree // 2), degree // 2 + 1) if step]
    return {client: tuple(sorted(ring[(place + step) % n] for step in reach)) for place, client in enumerate(ring)}


def _even(degree: int, everybody: int) -> int:
    return degree if degree >= everybody else max(2, degree - degree % 2)


def _highest_threshold(clients: int, degree: int) -> int:
    """Largest t for which too few answering holders are rarer than one round in a hundred."""
    answering = (1 - _LOST_A_STAGE) ** _STAGES_LEFT
    below, t = 0.0, 0
    for t in range(degree + 1):
        below += _binomial(degree, t, answering)
        if clients * below > _FAILURE:
            break
    # The holder itself may be among those who are gone: of the others, t must answer.
    return t


def _is_enough(clients: int, degree: int, threshold: int) -> bool:
    colluding = clients * sum(_binomial(degree, c, _COLLUDING) for c in range(threshold, degree + 1))
    # The ring falls apart where half the degree in a row are lost or collude: two sums instead of one.
    there = (1 - _LOST_A_STAGE) ** (_STAGES_LEFT - 1) * (1 - _COLLUDING)
    torn = clients * (1 - there) ** (degree // 2)
    return colluding <= _EXPOSURE and torn <= _EXPOSURE


def _binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)
