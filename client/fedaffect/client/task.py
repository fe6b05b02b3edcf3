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
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.losses import EXAMPLE_LOSSES, Loss, loss_function
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
from fedaffect.edge.errors import TrainingError, unknown_name


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model answers on some rows.

    Parameters
    ----------
    rows : int64 array, shape (N,)
    labels, predictions : int64 arrays, shape (N,)
    probabilities : float32 array, shape (N, C)
    confusion : int64 array, shape (C, C)
        Rows are true classes, columns predicted ones.
    loss_sum : float
        Cross-entropy summed over rows.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    confusion: NDArray[np.int64]
    loss_sum: float


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


def client_seed(seed: int, round: int, client: int) -> int:
    """What a client's draws in a round start from.

    Node ids are random in Flower; the run's seed, the round and the partition id are not.
    """
    return int(np.random.SeedSequence([seed, round, client]).generate_state(1, np.uint64)[0])


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
        self._build = (model, self.cohort.widths, len(self.cohort.label_names), dict(model_options or {}))
        with torch.random.fork_rng():
            self.model = build_model(*self._build).to(self.device)
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
        rows = self.cohort.rows_of(client)
        if len(rows) == 0:
            raise TrainingError(f"client {client} has no training examples; use a partition without empty clients")
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
            state=state.tensors if state else {},
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
            require_own_utterances(0, self.cohort.tables)
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
        loss_of: Loss = loss_function(config.loss)
        self.model.train()
        loss_sum = torch.zeros((), device=self.device)
        for _ in range(epochs):
            shuffled = rows[order.permutation(len(rows))]
            for place in range(0, len(shuffled), config.batch_size):
                if config.max_steps and run.steps >= config.max_steps:
                    return float(loss_sum)
                batch, present = self._gathered(shuffled[place : place + config.batch_size], config, order.random)
                loss = self._backward(batch, present, loss_of, hooks, run)
                hooks.correct(self._parameters)
                optimizer.step(config.gradient_clip)
                run.steps += 1
                loss_sum += loss
        return float(loss_sum)

    def _gathered(
        self, rows: NDArray[np.int64], config: TrainConfig, uniforms: Uniforms
    ) -> tuple[Batch, Mapping[str, Tensor]]:
        """A batch to train with, and which of its modalities are shown in this step."""
        batch = self.cohort.gather(rows, train=True)
        present = batch.present
        if config.modality_dropout:
            present = drop_modalities(present, config.modality_dropout, uniforms)
        return batch.to(self.device), present

    def _scored(self, batch: Batch, present: Mapping[str, Tensor], hooks: LocalAlgorithm) -> tuple[Tensor, Tensor]:
        """Scores of a batch, and what they should be."""
        scores = hooks.scores(self.model(batch.tokens, {k: v.to(self.device) for k, v in present.items()}))
        return scores, batch.labels if batch.soft_labels is None else batch.soft_labels

    def _backward(
        self, batch: Batch, present: Mapping[str, Tensor], loss_of: Loss, hooks: LocalAlgorithm, run: LocalRun
    ) -> Tensor:
        scores, targets = self._scored(batch, present, hooks)
        loss = loss_of(scores, targets, run.class_counts)
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
        return torch.where(batch.held, losses_of(*self._scored(batch, present, hooks)), 0.0)

    def _private_gradients(self, privacy: PrivacyConfig) -> PrivateGradients:
        if self._private is None or not self._private.serves(privacy):
            self._private = PrivateGradients(self.model, privacy)
        return self._private

    def _class_counts(self, rows: NDArray[np.int64]) -> Tensor:
        counts = np.bincount(self.cohort.train_labels[rows], minlength=len(self.cohort.label_names))
        return torch.from_numpy(counts).float().to(self.device)

    def _resident_optimizer(self, config: TrainConfig) -> ResidentOptimizer:
        if self._optimizer is None or not self._optimizer.serves(config):
            self._optimizer = ResidentOptimizer(self._parameters, config)
        return self._optimizer

    def rows_for(self, client: int, split: str) -> NDArray[np.int64]:
        """A client's own rows: those it trains with, or those of a split whose natural owner it is."""
        if split == "train":
            return self.cohort.rows_of(client)
        if split not in self.cohort.splits:
            raise unknown_name("split", split, ("train", *self.cohort.splits))
        rows = self.cohort.splits[split]
        name = self.cohort.client_names[client]
        if name not in self.cohort.group_names:
            return rows[:0]
        own: NDArray[np.int64] = rows[self.cohort.groups[rows] == self.cohort.group_names.index(name)]
        return own

    @torch.no_grad()
    def evaluate(self, weights: Tensor, rows: NDArray[np.int64], batch_size: int = 256) -> Evaluation:
        """Answer on some rows, true labels beside.

        Parameters
        ----------
        weights : Tensor of float32, shape (P,)
        rows : int64 array, shape (N,)
        batch_size : int
            Rows at once; rows of similar length go together.
        """
        self._flat.copy_(weights)
        self.model.eval()
        lengths = sum(
            (table.lengths(rows) for table in self.cohort.tables.values()), start=np.zeros(len(rows), np.int64)
        )
        by_length = np.argsort(lengths, kind="stable")
        classes = len(self.cohort.label_names)
        probabilities = np.empty((len(rows), classes), np.float32)
        for place in range(0, len(rows), batch_size):
            chosen = by_length[place : place + batch_size]
            batch = self.cohort.gather(rows[chosen], train=False).to(self.device)
            probabilities[chosen] = self.model(batch.tokens, batch.present).softmax(-1).cpu().numpy()
        labels = np.asarray(self.cohort.labels[rows], dtype=np.int64)
        predictions = probabilities.argmax(1).astype(np.int64)
        confusion = np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)
        likelihood = probabilities[np.arange(len(rows)), labels].astype(np.float64)
        return Evaluation(
            rows=np.asarray(rows, dtype=np.int64),
            labels=labels,
            predictions=predictions,
            probabilities=probabilities,
            confusion=confusion.astype(np.int64),
            loss_sum=float(-np.log(np.maximum(likelihood, 1e-12)).sum()),
        )
