"""A network, its optimiser and a cohort of raw input: an epoch, and what is answered on some rows.

Several processes of a ring can share each batch. They follow

    theta <- theta - eta / N sum_i grad L_i

of Zhong, Shu and Zhao (arXiv 2601.14259, equation 13), with one AllReduce of the gradient a step, and N the samples of
the whole batch, so that how a batch is divided decides nothing but the order of sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.local_task import class_counts, rows_by_length
from fedaffect.client.losses import loss_function, squared_error
from fedaffect.client.modality_dropout import hide_modalities
from fedaffect.edge.errors import TrainingError
from fedaffect.server.models.fine_tuning.network import FineTuned
from fedaffect.server.models.fine_tuning.optimizer import Optimizer, Recipe


class Ring(Protocol):
    """Processes that share batches."""

    @property
    def rank(self) -> int:
        """Which of them this one is."""

    @property
    def size(self) -> int:
        """How many they are."""

    def add(self, values: Tensor) -> None:
        """Replace values by their sum over all processes (AllReduce)."""


class Alone:
    """A ring of one."""

    rank, size = 0, 1

    def add(self, values: Tensor) -> None:
        """Nothing to add."""


class Crew(Protocol):
    """Who computes: a trainer in this process, or several in others."""

    def epoch(self, number: int) -> float:
        """Train with every row once; returns the mean loss."""

    def answers(self, rows: NDArray[np.int64], shown: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Class probabilities and ratings of some rows, (N, C + R), shown only some modalities if these are named."""

    def weights(self) -> Tensor:
        """All parameters, float32 (P,)."""

    def load(self, weights: Tensor) -> None:
        """Put parameters (P,) into the network."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """What later epochs depend on beside the parameters."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on with what was kept."""


class Trainer:
    """Trains and evaluates one network; a `Crew` of one, or one of a `Ring`.

    Parameters
    ----------
    network : FineTuned
    cohort : Cohort
        Of raw input, with one client.
    recipe : Recipe
    device : str
    ring : Ring
        Each of its processes has a trainer with the same arguments.
    """

    def __init__(
        self, network: FineTuned, cohort: Cohort, recipe: Recipe, device: str = "cpu", ring: Ring | None = None
    ) -> None:
        self.network = network.to(device)
        self.cohort, self.recipe, self.ring = cohort, recipe, ring or Alone()
        self.layout = ArrayLayout.of(network)
        self._classes = len(cohort.label_names)
        self._device = torch.device(device)
        self._rows = cohort.rows_of(0)
        self._steps = -(-len(self._rows) // recipe.batch_size)
        self._optimizer = Optimizer(network, recipe, self._steps * recipe.epochs)
        self._loss = loss_function(recipe.loss)
        self._counts = torch.from_numpy(class_counts(cohort, self._rows)).float().to(device)

    def epoch(self, number: int) -> float:
        """Train with every row once.

        Parameters
        ----------
        number : int
            Counted from 1; with the seed it decides the order and all that is drawn.

        Returns
        -------
        float
            Mean loss.

        Raises
        ------
        TrainingError
            If the loss is no longer a number.
        """
        seeds = np.random.SeedSequence([self.recipe.seed, number, self.ring.rank])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        # The same in all processes.
        draw = np.random.default_rng([self.recipe.seed, number])
        self.network.train()
        lost = torch.zeros((), device=self._device)
        order = draw.permutation(self._rows)
        for start in range(0, len(order), self.recipe.batch_size):
            batch = order[start : start + self.recipe.batch_size]
            hidden = draw.random((len(batch), len(self.cohort.tables))) < self.recipe.modality_dropout
            lost += self._accumulated(batch, hidden)
            self.ring.add(self._optimizer.gradient)
            self._optimizer.step()
        self.ring.add(lost)
        if not torch.isfinite(lost):
            raise TrainingError(f"the loss of epoch {number} is not a number; lower --lr or --encoder-lr")
        return float(lost) / len(order)

    def _accumulated(self, batch: NDArray[np.int64], hidden: NDArray[np.bool_]) -> Tensor:
        """Add this process's part of a batch to the gradient; returns the sum of its losses."""
        mine = np.arange(self.ring.rank, len(batch), self.ring.size)
        lost = torch.zeros((), device=self._device)
        for part in self._parts(batch[mine], self.recipe.micro_batch_size):
            places = mine[part]
            gathered = self.cohort.gather(batch[places], train=True)
            present = hide_modalities(gathered.present, hidden[places]) if hidden.any() else gathered.present
            there = gathered.to(self._device)
            with self._autocast():
                answers = there.scored_by(self.network, {k: v.to(self._device) for k, v in present.items()}).float()
            targets = there.labels if there.soft_labels is None else there.soft_labels
            loss = self._loss(answers[..., : self._classes], targets, self._counts)
            # Unlike a concordance, the mean of what each sample costs.
            loss = loss + squared_error(answers[..., self._classes :], there.ratings).mean()
            loss = loss * len(places)
            (loss / len(batch)).backward()  # type: ignore[no-untyped-call]
            lost += loss.detach()
        return lost

    @torch.no_grad()
    def answers(self, rows: NDArray[np.int64], shown: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Class probabilities and ratings of some rows, (N, C + R), shown only some modalities if these are named."""
        cohort = self.cohort if shown is None else self.cohort.only(shown)
        self.network.eval()
        made = torch.zeros(len(rows), len(self.cohort.output_names), device=self._device)
        mine = np.arange(self.ring.rank, len(rows), self.ring.size)
        for part in self._parts(rows[mine], self.recipe.micro_batch_size):
            gathered = cohort.gather(rows[mine[part]], train=False).to(self._device)
            with self._autocast():
                scores = gathered.scored_by(self.network).float()
            scores[:, : self._classes] = scores[:, : self._classes].softmax(-1)
            made[torch.from_numpy(mine[part])] = scores
        self.ring.add(made)
        return made.cpu().numpy()

    def _parts(self, rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
        """Places of rows, those of about one length together."""
        by_length = rows_by_length(self.cohort, rows)
        for start in range(0, len(rows), size):
            yield by_length[start : start + size]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def weights(self) -> Tensor:
        """All parameters, frozen ones too, float32 (P,), in the layout's order."""
        return torch.cat([p.detach().reshape(-1) for p in self.network.parameters()]).float().cpu()

    @torch.no_grad()
    def load(self, weights: Tensor) -> None:
        """Put parameters (P,) into the network."""
        start = 0
        for parameter in self.network.parameters():
            stop = start + parameter.numel()
            parameter.copy_(weights[start:stop].view(parameter.shape))
            start = stop

    def state(self) -> dict[str, NDArray[Any]]:
        """What later epochs depend on beside the parameters."""
        return self._optimizer.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on with what was kept."""
        self._optimizer.restore(state)
