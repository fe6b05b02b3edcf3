"""What Flower's servers cannot do now."""

from __future__ import annotations

from fedaffect.edge.errors import FedAffectError


class SuperLinkAway(FedAffectError):
    """The SuperLink does not answer now; it may be restarting."""
