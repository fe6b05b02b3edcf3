"""Local training of many clients at once: every step of ``ClientTask`` for all of them in one.

Made for a GPU, which a single small client leaves idle. Draws of batches, modality dropout and seeded noise are each
client's own, so updates are those that the clients would make one after the other, within rounding. A model's own
dropout is drawn for all of them together: of the same law, in other numbers; where gradients are clipped there is none.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.dialogues import UTTERANCE
from fedaffect.client.losses import StackedLoss, stacked_losses
from fedaffect.client.modality_dropout import hide_modalities
from fedaffect.client.optimizers import ResidentOptimizer
from fedaffect.client.privacy.bounds import require_own_utterances
from fedaffect.client.privacy.noise import SecureNoise, add_noise
from fedaffect.client.privacy.settings import FAST, LOCAL, PrivacyConfig
from fedaffect.client.stacked.member import Member, Portion, member
from fedaffect.client.stacked.model import StackedModel
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import Update, clipped_update, plain_update, private_update
from fedaffect.edge.errors import ConfigError, TrainingError

# What changes a client's gradients or scores element by element, and keeps nothing on it.
ALGORITHMS = ("fedavg", "fedprox", "fedrs")
_LEAST_NORM = 1e-6


def require_stackable(config: TrainConfig) -> None:
    """Check that clients with these settings can train at once.

    Raises
    ------
    ConfigError
        Saying which setting makes them train one by one.
    """
    if config.algorithm not in ALGORITHMS:
        raise ConfigError(f"{config.algorithm} keeps a state on each client; train clients one by one")
    if config.keep_optimizer:
        raise ConfigError("--keep-optimizer keeps a state on each client; train clients one by one")
    _losses_of(config)
    if config.privacy is not None and config.privacy.engine != FAST:
        raise ConfigError("--dp-engine opacus knows one client's model; train clients one by one")


def _losses_of(config: TrainConfig) -> StackedLoss:
    made = stacked_losses(config.loss)
    if made is None:
        raise ConfigError(f"--loss {config.loss} is no mean over examples; train clients one by one")
    return made


class CohortTrainer:
    """Trains K clients of a resident task at once, again and again.

    Parameters
    ----------
    task : ClientTask
        Its model lends its forward; its parameters are not touched.
    """

    def __init__(self, task: ClientTask) -> None:
        self._task = task
        self._secure = SecureNoise()
        self._model: tuple[object, StackedModel] | None = None

    def train(
        self, weights: Tensor, config: TrainConfig, clients: Sequence[int], round: int, seed: int
    ) -> list[Update | TrainingError]:
        """The clients' part in one round.

        Parameters
        ----------
        weights : Tensor of float32, shape (P,)
            The round's global parameters.
        config : TrainConfig
        clients : sequence of int
            Partition ids. Those with equally many examples go well together.
        round, seed : int

        Returns
        -------
        list of Update or TrainingError
            One a client, in order. A client that has no examples or whose loss is no number does not stop the others.

        Raises
        ------
        ConfigError
            If these settings or this model want clients trained one by one.
        """
        require_stackable(config)
        if self._task.unit != UTTERANCE:
            raise ConfigError("a model that hears whole dialogues trains one client at a time; leave --cohort-size out")
        cohort = self._task.cohort
        if cohort.rating_names:
            raise ConfigError("ratings are learned one client at a time; leave --cohort-size out")
        if config.privacy is not None:
            require_own_utterances(0, cohort.tables)
        made: dict[int, Update | TrainingError] = {
            client: TrainingError(f"client {client} has no training examples; use a partition without empty clients")
            for client in clients
            if len(cohort.rows_of(client)) == 0
        }
        members = [member(cohort, config, c, round, seed, self._secure) for c in clients if c not in made]
        if members:
            run = _CohortRun(self._task, self._stacked(config.privacy, len(members)), weights, config, members)
            secret = members[0].source is not None and members[0].source.private
            self._task.seed_draws(secrets.randbits(63) if secret else members[0].seed)
            run.train()
            made |= {m.client: run.answer(place, round) for place, m in enumerate(members)}
        return [made[client] for client in clients]

    def _stacked(self, privacy: PrivacyConfig | None, clients: int) -> StackedModel:
        clip = (privacy.clipping, privacy.clip_norm) if privacy is not None and privacy.kind == LOCAL else None
        if self._model is None or self._model[0] != (clip, clients):
            self._model = None
            self._model = ((clip, clients), StackedModel(self._task.model, clients, clip))
        return self._model[1]


class _CohortRun:
    """One round of K clients; k is a client's place among them."""

    def __init__(
        self, task: ClientTask, model: StackedModel, weights: Tensor, config: TrainConfig, members: list[Member]
    ) -> None:
        self._task, self._model, self._config, self._members = task, model, config, members
        self._start = weights.to(task.device)
        self._losses_of = _losses_of(config)
        self._optimizer = ResidentOptimizer([model.parameters], config)
        self._private = config.privacy is not None and config.privacy.kind == LOCAL
        self._counts = torch.stack([self._class_counts(m.rows) for m in members]).to(task.device)  # (K, C)
        self._loss_sums = torch.zeros(len(members), device=task.device)
        # Parameters of clients that have no more steps while others do: what their rows do then counts for nothing.
        self._done: dict[int, Tensor] = {}
        with torch.no_grad():
            model.parameters.copy_(self._start.expand_as(model.parameters))

    def train(self) -> None:
        """Take steps until no client has another."""
        self._task.model.train()
        streams = len(self._task.cohort.tables)
        waiting = [m.portions(self._config, streams) for m in self._members]
        while True:
            portions = [next(steps, None) for steps in waiting]
            if all(portion is None for portion in portions):
                return
            for place, portion in enumerate(portions):
                if portion is None and place not in self._done:
                    self._done[place] = self._model.parameters[place].detach().clone()
            self._step(portions)

    def _step(self, portions: list[Portion | None]) -> None:
        sizes = [0 if portion is None else len(portion.rows) for portion in portions]
        if max(sizes) == 0:
            self._model.gradients.zero_()
        else:
            self._backward([portion or self._nothing() for portion in portions], max(sizes))
        self._finish_gradients(portions)
        self._model.parameters.grad = self._model.gradients
        self._optimizer.step(0.0)
        for who, portion in zip(self._members, portions, strict=True):
            who.steps += portion is not None

    def _nothing(self) -> Portion:
        return Portion(np.zeros(0, np.int64), np.zeros((0, len(self._task.cohort.tables)), bool))

    def _backward(self, portions: list[Portion], most: int) -> None:
        """Gradients of all portions, each filled up to ``most`` examples with ones that weigh nothing."""
        K, device = len(portions), self._task.device
        fillers = [m.rows[:1] for m in self._members]
        rows = np.stack(
            [np.resize(p.rows if len(p.rows) else filler, most) for p, filler in zip(portions, fillers, strict=True)]
        )
        sizes = torch.tensor([len(p.rows) for p in portions])
        real = torch.arange(most) < sizes[:, None]  # (K, B)
        # Clipped sums are divided after the noise, by what was expected.
        batch = self._task.cohort.gather(rows.reshape(-1), train=True)
        teaching = real & batch.held.view(K, most)
        weight = teaching.float() if self._private else real / sizes.clamp(min=1)[:, None]
        present = batch.present
        if self._config.modality_dropout:
            hidden = np.zeros((K, most, portions[0].hidden.shape[1]), dtype=bool)
            for place, portion in enumerate(portions):
                hidden[place, : len(portion.rows)] = portion.hidden
            present = hide_modalities(present, hidden.reshape(K * most, -1))
        batch, weight = batch.to(device), weight.to(device).view(-1)
        present = {stream: mask.to(device, non_blocking=True) for stream, mask in present.items()}
        targets = batch.labels if batch.soft_labels is None else batch.soft_labels
        losses = self._model.backward(partial(self._losses, batch.tokens, present, targets, weight, most))
        if not self._private:
            self._loss_sums += losses.view(K, most).sum(dim=1)

    def _losses(
        self,
        tokens: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        targets: Tensor,
        weight: Tensor,
        most: int,
    ) -> Tensor:
        scores = self._task.model(tokens, present)
        counts = self._counts.repeat_interleave(most, dim=0)  # (K B, C)
        if self._config.algorithm == "fedrs":
            scores = scores * torch.where(counts > 0, 1.0, self._config.options.get("fedrs-alpha", 0.5))
        losses = self._losses_of(scores, targets, counts)
        # Nothing that an example without weight makes of itself may show, infinity included.
        return torch.where(weight > 0, losses * weight, 0.0)

    @torch.no_grad()
    def _finish_gradients(self, portions: list[Portion | None]) -> None:
        """Noise, FedProx's pull and the bound on each client's gradient, in the order of one client's step."""
        gradients, config = self._model.gradients, self._config
        for row, portion, who in zip(gradients, portions, self._members, strict=True):
            if portion is not None and who.plan is not None and who.source is not None and config.privacy is not None:
                plan = who.plan
                add_noise(row, plan.noise_multiplier, config.privacy.clip_norm, who.source, plan.expected_batch)
        if config.algorithm == "fedprox":
            gradients.add_(self._model.parameters - self._start, alpha=config.options.get("proximal-mu", 0.0))
        if config.gradient_clip:
            norms = gradients.norm(dim=1, keepdim=True)
            gradients.mul_((config.gradient_clip / (norms + _LEAST_NORM)).clamp(max=1.0))

    def _class_counts(self, rows: NDArray[np.int64]) -> Tensor:
        counts = np.bincount(self._task.cohort.train_labels[rows], minlength=len(self._task.cohort.label_names))
        return torch.from_numpy(counts).float()

    def answer(self, place: int, round: int) -> Update | TrainingError:
        """One client's update, to be asked for once training is over."""
        who, config, cohort = self._members[place], self._config, self._task.cohort
        trained = self._done.get(place, self._model.parameters.detach()[place])
        about = f"client {who.client} in round {round} at a learning rate of {config.lr:g}"
        try:
            if config.privacy is None:
                loss_sum = float(self._loss_sums[place])
                return plain_update(
                    cohort, who.rows, trained.cpu().clone(), loss_sum=loss_sum, steps=who.steps, about=about
                )
            if config.privacy.kind == LOCAL:
                return private_update(cohort, who.rows, trained.cpu().clone(), steps=who.steps, about=about)
            return clipped_update(cohort, config.privacy, self._start, trained)
        except TrainingError as error:
            return error
