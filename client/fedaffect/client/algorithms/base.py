"""The hooks that the local training loop calls, and plain local training, which needs none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fedaffect.client.shared_part import SharedPart

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class TrainingPass:
    """Some epochs of the one training loop.

    Parameters
    ----------
    epochs : int
    leaves : bool
        Whether what is trained leaves the client. What does not is trained without noise, by an optimiser of its own,
        and neither its loss nor its steps are told.
    """

    epochs: int
    leaves: bool = True


@dataclass(slots=True)
class LocalRun:
    """What an algorithm may know of one client's training.

    Parameters
    ----------
    start : Tensor, shape (P,)
        Parameters as they came from the server.
    current : Tensor, shape (P,)
        Parameters being trained; the module's own memory.
    class_counts : Tensor, shape (C,)
        The client's training examples by class.
    learning_rate : float
    shared : SharedPart
        Which parameters leave the client.
    options : mapping of str to float
        The algorithm's own settings, as sent by the server.
    state : mapping of str to Tensor
        What this client kept from its last round; empty at first.
    server_control : Tensor, shape (P,), optional
        SCAFFOLD's c.
    steps : int
        Optimiser steps taken so far towards what leaves.
    """

    start: Tensor
    current: Tensor
    class_counts: Tensor
    learning_rate: float
    shared: SharedPart
    options: Mapping[str, float] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict)
    server_control: Tensor | None = None
    steps: int = 0


class LocalAlgorithm:
    """Plain local training; the algorithms override what they change.

    Attributes
    ----------
    personal_layers : tuple of str
        What the names of parameters that stay on the client begin with.
    unseen_rule : str
        Of algorithms that give each client a model of its own: what a client without one answers with, in words.
    """

    personal_layers: ClassVar[tuple[str, ...]] = ()
    unseen_rule: ClassVar[str] = ""

    def __init__(self, run: LocalRun) -> None:
        self.run = run

    def passes(self, epochs: int) -> Iterator[TrainingPass]:
        """Local training as passes of ``epochs`` in all; what an algorithm does between two passes, it does here."""
        yield TrainingPass(epochs)

    def scores(self, scores: Tensor) -> Tensor:
        """Change class scores (B, C) before the loss."""
        return scores

    def correct(self, parameters: Iterable[nn.Parameter]) -> None:
        """Change gradients after the backward pass, before the optimiser's step."""

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What to keep on the device, and what to send beside the parameters."""
        return {}, {}

    @classmethod
    def personalised(cls, shared: SharedPart, weights: Tensor, state: Mapping[str, Tensor]) -> Tensor | None:
        """The model that a client would use itself.

        Parameters
        ----------
        shared : SharedPart
        weights : Tensor of float32, shape (P,)
            As they came from the server.
        state : mapping of str to Tensor
            What :meth:`finish` kept last.

        Returns
        -------
        Tensor of float32, shape (P,), optional
            None where it has nothing of its own.
        """
        return None
