"""FedPer: the head stays on its client, everything before it is averaged (Arivazhagan et al. 2019, algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from fedaffect.client.algorithms.base import LocalAlgorithm, LocalRun
from fedaffect.client.shared_part import HEAD, SharedPart

if TYPE_CHECKING:
    from torch import Tensor

_OWN = "head"


class FedPer(LocalAlgorithm):
    """Trains shared and personal layers together, from the personal ones that it kept; only the shared ones leave."""

    personal_layers: ClassVar[tuple[str, ...]] = (HEAD,)
    unseen_rule: ClassVar[str] = "a client that never took part answers with the server's head, which no client trains"

    def __init__(self, run: LocalRun) -> None:
        super().__init__(run)
        if (own := run.state.get(_OWN)) is not None:
            run.current.copy_(run.shared.put_own(run.current, own))

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The head to keep; nothing to send beside the shared layers."""
        return {_OWN: self.run.shared.take_own(self.run.current)}, {}

    @classmethod
    def personalised(cls, shared: SharedPart, weights: Tensor, state: Mapping[str, Tensor]) -> Tensor | None:
        """The shared layers with this client's head."""
        own = state.get(_OWN)
        return None if own is None else shared.put_own(weights, own)
