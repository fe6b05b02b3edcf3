"""Who is left out where clients say of each other that they lied, and nobody can prove it.

A client that cannot use a neighbour's shares names that neighbour and masks nothing. The server cannot tell who of
the two lied: the shares are sealed for the accuser, and what would open them before the server's eyes would open to it
a share of the accused. So it believes neither of a pair:

- The accuser is out of the attempt by itself. Accusations cost nobody else anything as long as no client is accused
  by two, so that one client that accuses all others loses its own place alone.
- Where a client is accused by two or more, the attempt ends before anything is unmasked, and those that follow in
  this round leave out both ends of as many accusations as share no client. At least one end of each lied, so that for
  every honest client that is left out, a liar is left out too; and nobody who stays has an accusation against another
  who stays. In the last attempt nobody is waited for: the sum is over those who sent a masked vector.

One liar thus costs a round itself and at most one honest client, and at most one attempt more. In the next round all
are asked again: of what nobody can prove nothing is kept. What *can* be proved (a share that is not the one its dealer
committed to, or shares that are and give no secret) leaves the liar out of the run
(:attr:`fedaffect.server.federation.secagg.attempt.Attempt.liars`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set

# An honest client is accused by liars only; with one liar among them, by one at most.
_MANY = 2


def accused_by_many(accusations: Mapping[int, Set[int]]) -> list[int]:
    """Clients that two or more accuse.

    Parameters
    ----------
    accusations : mapping of int to set of int
        Whom each accuser names.
    """
    counted = Counter(accused for named in accusations.values() for accused in named)
    return sorted(client for client, times in counted.items() if times >= _MANY)


def left_out(accusations: Mapping[int, Set[int]]) -> dict[int, str]:
    """Both ends of as many accusations as share no client, each with the reason.

    Parameters
    ----------
    accusations : mapping of int to set of int
    """
    out: dict[int, str] = {}
    for accuser in sorted(accusations):
        accused = next((one for one in sorted(accusations[accuser]) if one not in out), None)
        if accuser in out or accused is None:
            continue
        out[accuser] = f"left out: it said that the shares of client {accused} are wrong, and one of both lied"
        out[accused] = f"left out: client {accuser} said that its shares are wrong, and one of both lied"
    return out
