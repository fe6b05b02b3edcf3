"""What a client says when it will not go on with a secure aggregation."""

from __future__ import annotations

from fedaffect.edge.errors import FedAffectError


class SecAggError(FedAffectError):
    """A message of the protocol is malformed, out of turn, or asks for what would unmask a single update."""
