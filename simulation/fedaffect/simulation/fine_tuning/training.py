"""``fedaffect train``: the loop of a federation over epochs of networks that take raw input.

An epoch is a round, so that checkpoints, resumption, early stopping, the run folder and all that watches a run are the
loop's own; only how the next parameters come is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.local_task import Evaluation, evaluation
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.evaluating import RunEvaluation
from fedaffect.server.federation.failures import FailureLimit
from fedaffect.server.federation.guard import Guard
from fedaffect.server.federation.loop import Federation
from fedaffect.server.federation.memory import PeakMemory
from fedaffect.server.federation.observer import Observer
from fedaffect.server.federation.privacy.mechanism import NoPrivacy
from fedaffect.server.federation.progress import Progress
from fedaffect.server.federation.round_ledger import NoLedger
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import OWN_HEAD, RunSettings
from fedaffect.server.federation.steps import RoundResult
from fedaffect.server.federation.stopping import EarlyStopping
from fedaffect.server.models.fine_tuning.limits import Limits
from fedaffect.server.models.fine_tuning.model_folder import folder_of, write_model
from fedaffect.server.models.fine_tuning.network import trained_share
from fedaffect.server.models.fine_tuning.optimizer import Recipe
from fedaffect.server.models.fine_tuning.trainer import Crew, Trainer
from fedaffect.server.models.fine_tuning.whole import Opened, Plan
from fedaffect.server.trained_fusion import MODEL


@dataclass(slots=True)
class FineTuningTask:
    """Networks as what a run evaluates, and as what makes its rounds: a `Task` and a `RoundStep`.

    Parameters
    ----------
    cohort : Cohort
        Of raw input.
    layout : ArrayLayout
        Of all parameters, frozen ones too.
    crew : Crew
        Who computes.
    """

    cohort: Cohort
    layout: ArrayLayout
    crew: Crew
    # What the crew holds now: parameters are large, and mostly those of the last round.
    _held: Tensor | None = field(default=None, init=False)

    def _hold(self, weights: Tensor) -> None:
        if weights is not self._held:
            self.crew.load(weights)
            self._held = weights

    def evaluate(self, weights: Tensor, rows: NDArray[np.int64], *, cohort: Cohort | None = None) -> Evaluation:
        """Answer on some rows, true labels beside; with less of each, where another cohort says so."""
        self._hold(weights)
        shown = None if cohort is None else [stream for stream, held in cohort.present.items() if held.any()]
        answers, classes = self.crew.answers(rows, shown), len(self.cohort.label_names)
        return evaluation(self.cohort, rows, answers[:, :classes], answers[:, classes:])

    def run(self, number: int, progress: Progress) -> RoundResult:
        """One epoch."""
        self._hold(progress.weights)
        loss = self.crew.epoch(number)
        self._held = self.crew.weights()
        return RoundResult(self._held, clients=1, train_loss=loss)

    def save(self) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, Mapping[str, Any]]]:
        """The optimiser's memory."""
        return self.crew.state(), {}

    def restore(self, arrays: Mapping[str, NDArray[Any]], shape: Mapping[str, Mapping[str, Any]]) -> None:
        """Give the optimiser its memory back."""
        self.crew.restore(arrays)

    @property
    def rounds_in_use(self) -> set[int]:
        """None: an epoch begins where the last one ended."""
        return set()


def fine_tune(
    config: RunSettings,
    cohort_folder: Path,
    run_folder: RunFolder,
    observers: Sequence[Observer] = (),
    resume: bool = False,
) -> dict[str, Any]:
    """Train encoders and what is behind them, and leave both as a model folder.

    Parameters
    ----------
    config : RunSettings
        Of mode ``fine-tuned``.
    cohort_folder : Path
        Raw input, as ``fedaffect.simulation.prepare`` leaves it, of one client.
    run_folder : RunFolder
        Gets what every run leaves, and under ``model`` the best epoch's model folder.
    observers : sequence of Observer
    resume : bool
        Go on after the newest epoch; the parameters come out the same as without the interruption.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    FedAffectError
        If a network cannot be had, the settings do not fit it, or the loss is no longer a number.
    """
    if resume:
        run_folder.continue_with(config)
    cohort = Cohort.load(cohort_folder)
    plan = plan_of(config, cohort)
    opened = plan.open()
    with _crew(config, plan, opened, cohort, cohort_folder) as crew:
        task = FineTuningTask(cohort, ArrayLayout.of(opened.network), crew)
        federation = _composed(config, run_folder, task, opened, observers)
        if resume:
            federation.restore()
        summary = federation.run()
    best = run_folder.checkpoints.load(int(summary["best_round"]))
    opened.load(best.arrays)
    write_model(
        opened,
        plan,
        Limits(config.fine_tuning.max_seconds, config.fine_tuning.max_frames),
        run_folder.path / MODEL,
        labels=config.data.labels,
        ratings=tuple(cohort.rating_names),
        run=config.run_name,
        best_round=int(summary["best_round"]),
    )
    return summary


@contextmanager
def _crew(config: RunSettings, plan: Plan, opened: Opened, cohort: Cohort, folder: Path) -> Iterator[Crew]:
    recipe, workers, address = recipe_of(config, plan.device), config.fine_tuning.workers, config.engine.ray_address
    if workers == 1 and address is None:
        yield Trainer(opened.network, cohort, recipe, plan.device)
        return
    # Here, not above: Ray takes seconds to start, and one process needs none.
    from fedaffect.simulation.fine_tuning.workers import ray_crew

    with ray_crew(plan, recipe, folder, workers, address) as crew:
        yield crew


def _composed(
    config: RunSettings,
    run_folder: RunFolder,
    task: FineTuningTask,
    opened: Opened,
    observers: Sequence[Observer],
) -> Federation:
    return Federation(
        config=config,
        folder=run_folder,
        task=task,
        progress=Progress(run_folder, task.layout, _weights(opened)),
        step=task,
        evaluation=RunEvaluation(config, task, _nobody, tuple, ask_at_end=False),
        stopping=EarlyStopping(config.evaluation.patience, config.evaluation.select_by),
        guard=Guard(None, 0.0),
        privacy=NoPrivacy(),
        ledger=NoLedger(),
        observers=observers,
        memory=PeakMemory(),
        limit=FailureLimit.of(config, in_fleet=False),
        wake=lambda: None,
        loses_client_states=False,
        about={"networks": described(config, opened)},
    )


def _weights(opened: Opened) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in opened.network.parameters()]).float().cpu()


def _nobody(number: int, weights: Tensor, split: str, clients: Sequence[int]) -> dict[str, Any]:
    raise ConfigError("fedaffect train has no clients to ask; use --evaluate server")


def described(config: RunSettings, opened: Opened) -> dict[str, Any]:
    """What a summary says of each network: its source, how much of it learns, where it lies afterwards."""
    found = {}
    for modality, encoder in opened.network.encoders.items():
        learned, parameters = trained_share(encoder)
        found[modality] = {
            "source": Path(config.fine_tuning.sources[modality]).name,
            "parameters": parameters,
            "learned": learned,
            "folder": f"{MODEL}/{folder_of(modality)}",
        }
    return found


def plan_of(config: RunSettings, cohort: Cohort) -> Plan:
    """What is trained, and where."""
    own = config.fine_tuning
    dropout = {"dropout": own.head_dropout} if config.model.model == OWN_HEAD else {}
    return Plan(
        sources={modality: own.sources[modality] for modality in config.data.modalities},
        frozen=own.frozen,
        model=config.model.model,
        options=dropout | dict(config.model.model_options),
        classes=len(cohort.label_names),
        ratings=len(cohort.rating_names),
        seed=config.federation.seed,
        device=device_of(own.device),
    )


def recipe_of(config: RunSettings, device: str) -> Recipe:
    """How it is trained."""
    own, training = config.fine_tuning, config.training
    automatic = "bf16" if torch.device(device).type == "cuda" else "fp32"
    return Recipe(
        epochs=config.federation.rounds,
        batch_size=training.batch_size,
        micro_batch_size=own.micro_batch_size,
        lr=training.lr,
        encoder_lr=own.encoder_lr,
        weight_decay=training.weight_decay,
        warmup=own.warmup,
        gradient_clip=training.gradient_clip,
        loss=training.loss,
        modality_dropout=training.modality_dropout,
        precision=automatic if own.precision == "auto" else own.precision,
        seed=config.federation.seed,
    )


def device_of(name: str) -> str:
    """Where networks compute; ``auto`` takes a GPU if there is one.

    Raises
    ------
    ConfigError
        If there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise ConfigError(f"--device {name} is no device; use auto, cpu, cuda or cuda:0") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here; use --device cpu")
    return name
