"""Ditto: a personal model beside the shared one, held near it (Li, Hu, Beirami and Smith, ICML 2021, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from fedaffect.client.algorithms.base import LocalAlgorithm, LocalRun, TrainingPass
from fedaffect.client.algorithms.fedprox import pull
from fedaffect.client.shared_part import SharedPart

if TYPE_CHECKING:
    from torch import Tensor, nn

_OWN = "model"


class Ditto(LocalAlgorithm):
    """Trains the shared model w as FedAvg does; then v by the gradient of F(v) + lambda/2 |v - w|^2.

    w is what the round began with, as in the paper. v never leaves: its training reads w and the client's examples, and
    nothing that leaves depends on it, so that it costs no budget of differential privacy.
    """

    unseen_rule: ClassVar[str] = "a client that never took part answers with the shared model"

    def __init__(self, run: LocalRun) -> None:
        super().__init__(run)
        self._own: Tensor | None = None
        self._trains_own = False

    def passes(self, epochs: int) -> Iterator[TrainingPass]:
        """The shared model, then the personal one."""
        yield TrainingPass(epochs)
        current = self.run.current
        trained = current.clone()
        current.copy_(self.run.state.get(_OWN, self.run.start))
        self._trains_own = True
        yield TrainingPass(int(self.run.options.get("option.personal-epochs", 1)), leaves=False)
        self._own = current.clone()
        current.copy_(trained)

    def correct(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add the proximal term's gradient to the personal model's."""
        if self._trains_own:
            pull(parameters, self.run.start, self.run.options.get("option.lambda", 0.0))

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The personal model to keep; nothing to send beside the shared one."""
        return ({} if self._own is None else {_OWN: self._own}), {}

    @classmethod
    def personalised(cls, shared: SharedPart, weights: Tensor, state: Mapping[str, Tensor]) -> Tensor | None:
        """The personal model, whatever the shared one is by now."""
        return state.get(_OWN)
