"""What a client commits to when it deals shares, so that it shows who lied about one: its dealer or its holder.

A dealer commits to each share before anybody takes it. The holder compares what it opened, and the server what the
holder reveals. A share is 256 random bits to whoever does not hold it, so that its hash tells nothing of it.
"""

from __future__ import annotations

from fedaffect.client.secagg.agreement import KEY_BYTES, derive
from fedaffect.client.secagg.memory import Shares
from fedaffect.client.secagg.session import Session

# One of each kind of share, as only one of both is ever revealed.
COMMITTED_BYTES = 2 * KEY_BYTES


def commitments(shares: Shares, session: Session, dealer: int, holder: int) -> bytes:
    """What ``dealer`` commits to about ``holder``: of the own mask's share, then of the masking key's."""
    return own_mask_commitment(shares.own_mask, session, dealer, holder) + masking_key_commitment(
        shares.masking_key, session, dealer, holder
    )


def own_mask_commitment(share: bytes, session: Session, dealer: int, holder: int) -> bytes:
    """32 bytes that tell this share of the own mask's seed from any other."""
    return derive(share, session.context("own mask share", dealer, holder))


def masking_key_commitment(share: bytes, session: Session, dealer: int, holder: int) -> bytes:
    """32 bytes that tell this share of the masking key from any other."""
    return derive(share, session.context("masking key share", dealer, holder))
