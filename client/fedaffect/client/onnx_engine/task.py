"""A client's training without torch, message by message as :class:`fedaffect.client.task.ClientTask` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort
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
from fedaffect.client.modality_dropout import Uniforms, drawn_lots, hide_in_arrays
from fedaffect.client.onnx_engine.clipping import clipped_sum
from fedaffect.client.onnx_engine.graph import ClassScores, StepBatch, StepGraph
from fedaffect.client.onnx_engine.losses import class_scores, targets_of
from fedaffect.client.onnx_engine.optimizers import VectorOptimizer
from fedaffect.client.privacy.bounds import require_own_utterances
from fedaffect.client.privacy.noise import NoiseSource, SecureNoise, SeededNoise, add_noise
from fedaffect.client.privacy.plan import private_plan
from fedaffect.client.privacy.settings import CENTRAL, LOCAL, SEEDED, PrivacyConfig
from fedaffect.client.shared_part import SharedPart
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import ClientState, Update, clipped_update, plain_update, private_update
from fedaffect.edge.calibration.temperature import softmax
from fedaffect.edge.errors import ConfigError

Vector = NDArray[np.float32]

# Local algorithms that are learned without torch.
ALGORITHMS: Final = ("fedavg", "fedprox", "fedrs")


class OnnxTask:
    """Trains and evaluates any client of a cohort by a training step of a bundle.

    Parameters
    ----------
    cohort : Cohort
    step : StepGraph
        Of the cohort's streams and classes.
    """

    def __init__(self, cohort: Cohort, step: StepGraph) -> None:
        self.cohort = cohort
        if cohort.rating_names:
            raise ConfigError("ratings are learned with torch alone; install it: pip install 'fedaffect[client]'")
        self.layout = step.about.layout
        self.step = step
        self._shared = SharedPart.of(self.layout)
        # One keystream for all rounds of this process.
        self._secure = SecureNoise()

    def shared(self, name: str) -> SharedPart:
        """All parameters leave a client.

        Raises
        ------
        ConfigError
            If the local algorithm of this name needs torch.
        """
        if name not in ALGORITHMS:
            raise ConfigError(
                f"{name} is learned with torch alone, and this device learns without; install it: "
                "pip install 'fedaffect[client]'"
            )
        return self._shared

    def of_array(self, vector: Vector) -> Vector:
        """Parameters that came, (P,), as they are."""
        return vector

    def rows_for(self, client: int, split: str) -> NDArray[np.int64]:
        """A client's own rows: those it trains with, or those of a split whose natural owner it is."""
        return rows_of_split(self.cohort, client, split)

    def train(
        self,
        weights: Vector,
        config: TrainConfig,
        client: int,
        round: int,
        seed: int,
        state: ClientState | None = None,
        server_control: Vector | None = None,
        copy: bool = True,
    ) -> Update:
        """One client's part in one round; parameters and errors are those of `ClientTask.train`."""
        shared = self.shared(config.algorithm)
        rows = training_rows(self.cohort, client)
        kept = state.tensors if state is not None and config.keep_optimizer else {}
        training = _Training(self, rows, config, weights, kept, client_seed(seed, round, client))
        privacy = config.privacy
        if privacy is not None:
            require_own_utterances(0, self.cohort.tables)
        loss_sum = 0.0
        if privacy is not None and privacy.kind == LOCAL:
            training.learn_privately(privacy)
        else:
            loss_sum = training.learn()
        state_left = training.optimizer.state() if config.keep_optimizer else {}
        left = ClientState(round, state_left) if state_left else None
        trained = shared.take(training.current)
        if privacy is not None and privacy.kind == CENTRAL:
            return clipped_update(self.cohort, privacy, shared.take(weights), trained, left)
        about = f"client {client} in round {round} at a learning rate of {config.lr:g}"
        if privacy is not None:
            return private_update(self.cohort, rows, trained, steps=training.steps, about=about, state=left)
        return plain_update(
            self.cohort, rows, trained, loss_sum=loss_sum, steps=training.steps, about=about, state=left
        )

    def evaluate(self, weights: Vector, rows: NDArray[np.int64], batch_size: int = 32) -> Evaluation:
        """Answer on some rows, true labels beside; see `ClientTask.evaluate`."""
        by_length = rows_by_length(self.cohort, rows)
        classes = len(self.cohort.label_names)
        probabilities = np.empty((len(rows), classes), np.float32)
        plain = class_scores("cross-entropy", np.ones(classes, np.int64))
        for place in range(0, len(rows), batch_size):
            chosen = by_length[place : place + batch_size]
            tokens, present = self.cohort.padded(rows[chosen])
            nothing = np.zeros((len(chosen), classes), np.float32)
            batch = StepBatch(tokens, present, nothing, np.zeros(len(chosen), np.float32))
            probabilities[chosen] = softmax(self.step.scores(weights, batch, plain))
        return evaluation(self.cohort, rows, probabilities)

    def noise_of(self, privacy: PrivacyConfig, seed: int) -> NoiseSource:
        """Where a round's noise and draws come from; only seeded ones use ``seed``."""
        return SeededNoise(seed) if privacy.noise == SEEDED else self._secure


class _Training:
    """One client's training in one round."""

    def __init__(
        self,
        task: OnnxTask,
        rows: NDArray[np.int64],
        config: TrainConfig,
        start: Vector,
        kept: Mapping[str, Any],
        derived: int,
    ) -> None:
        self.current = start.copy()
        self.steps = 0
        self.optimizer = VectorOptimizer(config, kept)
        self._task, self._rows, self._config, self._start = task, rows, config, start
        self._derived = derived
        self._counts = class_counts(task.cohort, rows)
        alpha = config.options.get("fedrs-alpha", 0.5) if config.algorithm == "fedrs" else 1.0
        self._scored: ClassScores = class_scores(config.loss, self._counts, alpha)

    def learn(self) -> float:
        """Train; returns the sum of the steps' losses."""
        config = self._config
        order = np.random.default_rng(self._derived)
        # Apart from the order, so that this is the one that torch takes.
        dropping = np.random.default_rng([self._derived, 1])
        loss_sum = 0.0
        for chosen in training_batches(self._rows, None, config, order, config.local_epochs, 0):
            batch = self._gathered(chosen, order.random)
            gradient, losses = self._task.step.gradient(self.current, batch, self._scored, dropping)
            loss_sum += float(batch.weights @ losses)
            self._step(gradient)
        return loss_sum

    def learn_privately(self, privacy: PrivacyConfig) -> None:
        """DP-SGD: Poisson batches, clipped sums, noise; see :mod:`fedaffect.client.privacy.local_training`."""
        config = self._config
        plan = private_plan(privacy, len(self._rows), config.batch_size, config.local_epochs, config.max_steps)
        source = self._task.noise_of(privacy, self._derived)
        for _ in range(plan.steps):
            chosen = self._rows[source.uniforms(len(self._rows)) < plan.sample_rate]
            total = np.zeros(len(self.current), np.float32)
            if len(chosen):
                batch = self._gathered(chosen, source.uniforms, each=True)
                total = clipped_sum(
                    self._task.step, self.current, batch, self._scored, privacy.clipping, privacy.clip_norm
                )
            add_noise(total, plan.noise_multiplier, privacy.clip_norm, source, plan.expected_batch)
            self._step(total)

    def _step(self, gradient: Vector) -> None:
        if self._config.algorithm == "fedprox":
            gradient += np.float32(self._config.options.get("proximal-mu", 0.0)) * (self.current - self._start)
        self.optimizer.step(self.current, gradient)
        self.steps += 1

    def _gathered(self, chosen: NDArray[np.int64], uniforms: Uniforms, each: bool = False) -> StepBatch:
        """Examples of one step; ``each`` for losses of single examples in place of their mean."""
        cohort, config = self._task.cohort, self._config
        tokens, present = cohort.padded(chosen)
        held = np.any([mask.any(axis=1) for mask in present.values()], axis=0)
        counted = np.asarray(held, np.float32) if each else None
        if config.modality_dropout:
            lots = drawn_lots(len(chosen), len(present), config.modality_dropout, uniforms)
            present = hide_in_arrays(present, lots)
        soft = None if cohort.soft_labels is None else cohort.soft_labels[chosen]
        targets, weights = targets_of(config.loss, cohort.train_labels[chosen], soft, self._counts)
        # An utterance of which nothing is there teaches nothing: it is what a neighbouring cohort has for another.
        return StepBatch(tokens, present, targets, weights if counted is None else counted)
