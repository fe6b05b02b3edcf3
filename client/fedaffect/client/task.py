"""The resident worker of a client: model, cohort and optimiser stay alive from one message to the next.

A client update is a pure function of (weights, settings, what the client kept, its data, seed); nothing that
a former client left in the resident objects may show in it.
"""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.algorithms.base import LocalAlgorithm, LocalRun
from fedaffect.client.algorithms.registry import algorithm
from fedaffect.client.cohort import Batch, Cohort
from fedaffect.client.dialogues import UTTERANCE, batches_of_units
from fedaffect.client.layout import ArrayLayout, like
from fedaffect.client.local_task import (
    Evaluation,
    class_counts,
    client_seed,
    evaluation,
    rows_by_length,
    rows_of_split,
    training_batches,
    training_rows,
)
from fedaffect.client.losses import EXAMPLE_LOSSES, RATING_LOSSES, loss_function, squared_error
from fedaffect.client.modality_dropout import Uniforms, drop_modalities
from fedaffect.client.models.registry import build_model
from fedaffect.client.optimizers import ResidentOptimizer
from fedaffect.client.privacy.bounds import require_own_utterances
from fedaffect.client.privacy.local_training import PrivateGradients
from fedaffect.client.privacy.plan import PrivatePlan, private_plan, steps_a_round
from fedaffect.client.privacy.settings import CENTRAL, LOCAL, PrivacyConfig
from fedaffect.client.shared_part import SharedPart
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import ClientState, Update, clipped_update, plain_update, private_update
from fedaffect.edge.errors import TrainingError


@dataclass(frozen=True, slots=True)
class _NoisySteps:
    """A round's steps of DP-SGD, which its passes share.

    Parameters
    ----------
    gradients : PrivateGradients
    plan : PrivatePlan
    batches : iterator of int64 array
        One a step.
    steps_an_epoch : int
    """

    gradients: PrivateGradients
    plan: PrivatePlan
    batches: Iterator[NDArray[np.int64]]
    steps_an_epoch: int


class ClientTask:
    """Trains and evaluates any client of a cohort.

    Parameters
    ----------
    cohort : Path or Cohort
        A prepared cohort's folder, or one in memory.
    model : str
        A name of the model registry.
    model_options : mapping
        The model's own settings.
    device : str
        Where to compute.
    """

    def __init__(
        self, cohort: Path | Cohort, model: str, model_options: Mapping[str, Any] | None = None, device: str = "cpu"
    ) -> None:
        self.cohort = cohort if isinstance(cohort, Cohort) else Cohort.load(cohort)
        self.device = torch.device(device)
        self._classes = len(self.cohort.label_names)
        answers, ratings = len(self.cohort.output_names), len(self.cohort.rating_names)
        self._build = (model, self.cohort.widths, answers, dict(model_options or {}), ratings)
        with torch.random.fork_rng():
            self.model = build_model(*self._build).to(self.device)
        # What a batch of this model has as a whole.
        self.unit: str = getattr(self.model, "unit", UTTERANCE)
        self.layout = ArrayLayout.of(self.model)
        # One memory for all parameters: loading a client's weights is one copy.
        self._flat = torch.empty(self.layout.size, device=self.device)
        self._parameters = list(self.model.parameters())
        for parameter, start, stop in zip(self._parameters, self.layout.offsets, self.layout.offsets[1:], strict=False):
            parameter.data = self._flat[start:stop].view(parameter.shape)
        self._optimizer: ResidentOptimizer | None = None
        self._private: PrivateGradients | None = None
        self._shared: dict[tuple[str, ...], SharedPart] = {}

    def shared(self, name: str) -> SharedPart:
        """Which parameters leave a client that runs the local algorithm of this name.

        Raises
        ------
        ConfigError
            If the algorithm keeps layers on clients that this model lacks.
        """
        personal = algorithm(name).personal_layers
        if personal not in self._shared:
            self._shared[personal] = SharedPart.of(self.layout, personal)
        return self._shared[personal]

    def initial_weights(self, seed: int) -> Tensor:
        """Parameters of a fresh model, shape (P,); the same for the same seed everywhere."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            fresh = build_model(*self._build)
        return torch.cat([p.detach().reshape(-1) for p in fresh.parameters()]).float()

    def train(
        self,
        weights: Tensor,
        config: TrainConfig,
        client: int,
        round: int,
        seed: int,
        state: ClientState | None = None,
        server_control: Tensor | None = None,
        copy: bool = True,
    ) -> Update:
        """One client's part in one round.

        Parameters
        ----------
        weights : Tensor of float32, shape (P,)
            The round's global parameters.
        config : TrainConfig
        client : int
            Partition id, 0..K-1.
        round : int
        seed : int
            The run's.
        state : ClientState, optional
            What this client kept from an earlier round.
        server_control : Tensor, shape (P,), optional
            SCAFFOLD's c.
        copy : bool
            Whether the update's weights are the caller's to keep. Otherwise they are this task's own memory where
            it computes on the CPU, good until its next call.

        Raises
        ------
        TrainingError
            If the client has no examples, or the loss stops being a number.
        """
        rows = training_rows(self.cohort, client)
        derived = client_seed(seed, round, client)
        self.seed_draws(derived)
        order = np.random.default_rng(derived)

        start = weights.to(self.device)
        self._flat.copy_(start)
        run = LocalRun(
            start=start,
            current=self._flat,
            class_counts=self._class_counts(rows),
            learning_rate=config.lr,
            shared=self.shared(config.algorithm),
            options=config.options,
            state={name: like(start, kept) for name, kept in state.tensors.items()} if state else {},
            server_control=None if server_control is None else server_control.to(self.device),
        )
        hooks = algorithm(config.algorithm)(run)
        optimizer = self._resident_optimizer(config)
        optimizer.restart(run.state if config.keep_optimizer else {})
        loss_sum = self._steps(rows, config, run, hooks, optimizer, order, derived)
        kept, extra = hooks.finish()
        if config.keep_optimizer:
            kept |= optimizer.state()
        kept_state = ClientState(round, kept) if kept else None
        trained = run.shared.take(self._flat)
        if config.privacy is not None and config.privacy.kind == CENTRAL:
            return clipped_update(self.cohort, config.privacy, run.shared.take(start), trained, kept_state)
        made = partial(plain_update, loss_sum=loss_sum) if config.privacy is None else private_update
        return made(
            self.cohort,
            rows,
            trained.clone().cpu() if copy else trained.cpu(),
            steps=run.steps,
            about=f"client {client} in round {round} at a learning rate of {config.lr:g}",
            state=kept_state,
            extra={name: value.cpu() for name, value in extra.items()},
        )

    def _steps(
        self,
        rows: NDArray[np.int64],
        config: TrainConfig,
        run: LocalRun,
        hooks: LocalAlgorithm,
        optimizer: ResidentOptimizer,
        order: np.random.Generator,
        derived: int,
    ) -> float:
        """Train, pass by pass; returns the sum of the losses towards what leaves, 0 where privacy keeps it."""
        noisy = None
        if config.privacy is not None:
            require_own_utterances(0, self.cohort.tables, self.cohort.units(rows, self.unit) is not None)
            if config.privacy.kind == LOCAL:
                noisy = self._begin_privately(rows, config, config.privacy, derived)
        loss_sum = 0.0
        for one in hooks.passes(config.local_epochs):
            if not one.leaves:
                own = replace(run, steps=0)
                fresh = ResidentOptimizer(self._parameters, config)
                loss = self._train_steps(rows, config, own, hooks, fresh, order, one.epochs)
                if not math.isfinite(loss):
                    raise TrainingError("the loss of a client's own model is not a number; lower --lr")
            elif noisy is not None:
                self._private_steps(noisy, config, run, hooks, optimizer, one.epochs)
            else:
                loss_sum += self._train_steps(rows, config, run, hooks, optimizer, order, one.epochs)
        return loss_sum

    def seed_draws(self, seed: int) -> None:
        """Let what the model draws, its dropout, start from here."""
        seed &= 2**63 - 1
        # torch.manual_seed would also look for every other kind of device, which takes 0.15 ms.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _train_steps(
        self,
        rows: NDArray[np.int64],
        config: TrainConfig,
        run: LocalRun,
        hooks: LocalAlgorithm,
        optimizer: ResidentOptimizer,
        order: np.random.Generator,
        epochs: int,
    ) -> float:
        self.model.train()
        loss_sum = torch.zeros((), device=self.device)
        units = self.cohort.units(rows, self.unit)
        for chosen in training_batches(rows, units, config, order, epochs, run.steps):
            batch, present = self._gathered(chosen, config, order.random)
            loss = self._backward(batch, present, config, hooks, run)
            hooks.correct(self._parameters)
            optimizer.step(config.gradient_clip)
            run.steps += 1
            loss_sum += loss
        return float(loss_sum)

    def _gathered(
        self, rows: NDArray[np.int64], config: TrainConfig, uniforms: Uniforms
    ) -> tuple[Batch, Mapping[str, Tensor]]:
        """A batch to train with, and which of its modalities are shown in this step."""
        batch = self.cohort.gather(rows, train=True, unit=self.unit)
        present = batch.present
        if config.modality_dropout:
            present = drop_modalities(present, config.modality_dropout, uniforms)
        return batch.to(self.device), present

    def _scored(
        self, batch: Batch, present: Mapping[str, Tensor], hooks: LocalAlgorithm
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Class scores of a batch, what they should be, and what is said of ratings."""
        answers = batch.scored_by(self.model, {k: v.to(self.device) for k, v in present.items()})
        scores, ratings = answers[..., : self._classes], answers[..., self._classes :]
        return hooks.scores(scores), batch.labels if batch.soft_labels is None else batch.soft_labels, ratings

    def _backward(
        self, batch: Batch, present: Mapping[str, Tensor], config: TrainConfig, hooks: LocalAlgorithm, run: LocalRun
    ) -> Tensor:
        scores, targets, ratings = self._scored(batch, present, hooks)
        loss = loss_function(config.loss)(scores, targets, run.class_counts)
        loss = loss + RATING_LOSSES[config.rating_loss](ratings, batch.ratings)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _begin_privately(
        self, rows: NDArray[np.int64], config: TrainConfig, privacy: PrivacyConfig, derived: int
    ) -> _NoisySteps:
        """One plan, one source of noise for all passes of a round."""
        plan = private_plan(privacy, len(rows), config.batch_size, config.local_epochs, config.max_steps)
        private = self._private_gradients(privacy)
        private.begin(privacy, derived)
        if private.source.private:
            # The server knows the other seed, and a model that somebody plugged in may draw in its own ways.
            self.seed_draws(secrets.randbits(63))
        steps_an_epoch = steps_a_round(len(rows), config.batch_size, 1, 0)
        return _NoisySteps(private, plan, private.batches(rows, plan), steps_an_epoch)

    def _private_steps(
        self,
        noisy: _NoisySteps,
        config: TrainConfig,
        run: LocalRun,
        hooks: LocalAlgorithm,
        optimizer: ResidentOptimizer,
        epochs: int,
    ) -> None:
        """DP-SGD: the same loop with Poisson batches, clipped sums and noise, of personal layers too.

        What leaves is computed from them: a head that learned without noise would carry examples into later gradients.
        """
        private, plan = noisy.gradients, noisy.plan
        losses_of = EXAMPLE_LOSSES[config.loss]
        self.model.train()
        for chosen in itertools.islice(noisy.batches, epochs * noisy.steps_an_epoch):
            forward = None
            if len(chosen):
                batch, present = self._gathered(chosen, config, private.source.uniforms)
                forward = partial(self._losses, batch, present, losses_of, hooks)
            private.gradient(forward, plan)
            hooks.correct(self._parameters)
            optimizer.step(config.gradient_clip)
            run.steps += 1

    def _losses(
        self,
        batch: Batch,
        present: Mapping[str, Tensor],
        losses_of: Callable[[Tensor, Tensor], Tensor],
        hooks: LocalAlgorithm,
    ) -> Tensor:
        # An utterance of which nothing is there teaches nothing: it is what a neighbouring cohort has for another.
        scores, targets, ratings = self._scored(batch, present, hooks)
        return torch.where(batch.held, losses_of(scores, targets) + squared_error(ratings, batch.ratings), 0.0)

    def _private_gradients(self, privacy: PrivacyConfig) -> PrivateGradients:
        if self._private is None or not self._private.serves(privacy):
            self._private = PrivateGradients(self.model, privacy)
        return self._private

    def _class_counts(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(class_counts(self.cohort, rows)).float().to(self.device)

    def _resident_optimizer(self, config: TrainConfig) -> ResidentOptimizer:
        if self._optimizer is None or not self._optimizer.serves(config):
            self._optimizer = ResidentOptimizer(self._parameters, config)
        return self._optimizer

    def rows_for(self, client: int, split: str) -> NDArray[np.int64]:
        """A client's own rows: those it trains with, or those of a split whose natural owner it is."""
        return rows_of_split(self.cohort, client, split)

    def of_array(self, vector: NDArray[np.float32]) -> Tensor:
        """Parameters that came, (P,), as this task takes them."""
        return torch.from_numpy(vector)

    @torch.no_grad()
    def evaluate(
        self, weights: Tensor, rows: NDArray[np.int64], batch_size: int = 256, cohort: Cohort | None = None
    ) -> Evaluation:
        """Answer on some rows, true labels beside.

        Parameters
        ----------
        weights : Tensor of float32, shape (P,)
        rows : int64 array, shape (N,)
        batch_size : int
            Rows at once; rows of similar length go together.
        cohort : Cohort, optional
            The task's own, of which less is there.
        """
        cohort = cohort or self.cohort
        self._flat.copy_(weights)
        self.model.eval()
        answers = np.empty((len(rows), len(self.cohort.output_names)), np.float32)
        for chosen in self._evaluation_batches(rows, batch_size):
            batch = cohort.gather(rows[chosen], train=False, unit=self.unit).to(self.device)
            scores = batch.scored_by(self.model)
            scores[:, : self._classes] = scores[:, : self._classes].softmax(-1)
            answers[chosen] = scores.cpu().numpy()
        return evaluation(self.cohort, rows, answers[:, : self._classes], answers[:, self._classes :])

    def _evaluation_batches(self, rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
        """Places of rows: of similar length together, or whole dialogues."""
        units = self.cohort.units(rows, self.unit)
        if units is not None:
            yield from batches_of_units(units, size)
            return
        by_length = rows_by_length(self.cohort, rows)
        for place in range(0, len(rows), size):
            yield by_length[place : place + size]
