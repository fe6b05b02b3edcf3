"""Several processes that share each batch, on one machine or a cluster: Ray Train starts them and joins them to a ring.

The run itself stays where it was started, with its folder: it tells the workers what to do, epoch by epoch.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.edge.errors import ConfigError, FedAffectError, TrainingError
from fedaffect.server.models.fine_tuning.optimizer import Recipe
from fedaffect.server.models.fine_tuning.ring import ProcessRing
from fedaffect.server.models.fine_tuning.trainer import Trainer
from fedaffect.server.models.fine_tuning.whole import Plan
from fedaffect.server.ray_session import ray_session
from fedaffect.simulation.fine_tuning.mailbox import Mailbox, Order
from fedaffect.simulation.grid.greeting import Signature, code_in_use, signature_of
from fedaffect.simulation.grid.parcel import Parcel, pack, unpack

_POLL_S = 0.5
_LAST_S = 30.0


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that a worker needs, and what it is given where its machine does not see it.

    Parameters
    ----------
    path : Path
    signature : Signature
        Of its files here.
    parcel : Parcel, optional
        Its content in Ray's store, where workers may be elsewhere.
    """

    path: Path
    signature: Signature
    parcel: Parcel | None

    @classmethod
    def of(cls, path: Path, travels: bool) -> Folder:
        """A folder of this machine."""
        path = path.resolve()
        return cls(path, signature_of(path), pack(path) if travels else None)

    def here(self) -> Path:
        """Where it lies on this machine."""
        if self.parcel is None or signature_of(self.path) == self.signature:
            return self.path
        return unpack(self.parcel)


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker is told before the first order.

    Parameters
    ----------
    plan : Plan
    recipe : Recipe
    cohort : Folder
    networks : mapping of str to Folder
        Of sources that are folders, by modality.
    code : mapping of str to str
        What runs where the run was started.
    threads : int
        Of each worker on a processor.
    """

    plan: Plan
    recipe: Recipe
    cohort: Folder
    networks: Mapping[str, Folder]
    code: Mapping[str, str]
    threads: int

    def trainer(self) -> Trainer:
        """A part of the ring, in this process."""
        if (code := dict(code_in_use())) != dict(self.code):
            raise ConfigError(f"a worker runs {code}, not {dict(self.code)}; install there what runs here")
        device = self.plan.device
        if device == "cpu":
            torch.set_num_threads(self.threads)
        else:
            from ray.train.torch import get_device

            device = str(get_device())
        own = {modality: str(folder.here()) for modality, folder in self.networks.items()}
        plan = replace(self.plan, sources={**self.plan.sources, **own}, device=device)
        return Trainer(plan.open().network, Cohort.load(self.cohort.here()), self.recipe, device, ProcessRing())


class RayCrew:
    """Workers as a `Crew`.

    Parameters
    ----------
    mailbox : actor handle of Mailbox
    training : Thread
        In which Ray Train runs, until the workers have ended.
    failures : list of Exception
        What it raised there.
    """

    def __init__(self, mailbox: Any, training: threading.Thread, failures: list[Exception]) -> None:
        self._mailbox, self._training, self._failures = mailbox, training, failures

    def epoch(self, number: int) -> float:
        """Train with every row once; returns the mean loss."""
        return float(self._ask("epoch", number))

    def answers(self, rows: NDArray[np.int64], shown: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Class probabilities and ratings of some rows, (N, C + R), shown only some modalities if these are named."""
        made: NDArray[np.float32] = self._ask("answers", rows, shown)
        return made

    def weights(self) -> Tensor:
        """All parameters, float32 (P,)."""
        made: Tensor = self._ask("weights")
        return made

    def load(self, weights: Tensor) -> None:
        """Put parameters (P,) into every worker's network."""
        self._ask("load", ray.put(weights))

    def state(self) -> Mapping[str, NDArray[Any]]:
        """What later epochs depend on beside the parameters."""
        made: Mapping[str, NDArray[Any]] = self._ask("state")
        return made

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Give every worker's optimiser its memory back."""
        self._ask("restore", ray.put(dict(state)))

    def end(self) -> None:
        """Let the workers go."""
        if self._training.is_alive():
            ray.get(self._mailbox.give.remote(None))
        # One that is told in the middle of an epoch is not waited for: it ends with Ray.
        self._training.join(_LAST_S)

    def _ask(self, what: str, *given: Any) -> Any:
        ray.get(self._mailbox.give.remote((what, given)))
        waiting = self._mailbox.answers.remote()
        while not ray.wait([waiting], timeout=_POLL_S)[0]:
            if not self._training.is_alive():
                why = _first_line(self._failures[0]) if self._failures else "they ended"
                raise TrainingError(f"the workers are gone ({why}); go on with --resume")
        answers = ray.get(waiting)
        for one in answers:
            if isinstance(one, FedAffectError):
                raise one
        return answers[0]


@contextmanager
def ray_crew(plan: Plan, recipe: Recipe, cohort: Path, workers: int, address: str | None) -> Iterator[RayCrew]:
    """Workers of Ray Train, for as long as a run lasts.

    Parameters
    ----------
    plan : Plan
    recipe : Recipe
    cohort : Path
        A cohort's folder.
    workers : int
    address : str, optional
        Of a Ray cluster; this machine if not given. Machines that do not see the files here get them through Ray.

    Raises
    ------
    ConfigError
        If there is no such cluster.
    """
    with ray_session(address, max(workers, os.cpu_count() or 1)), TemporaryDirectory(prefix="fedaffect-") as scratch:
        sources = {modality: Path(source).expanduser() for modality, source in plan.sources.items()}
        job = Job(
            plan,
            recipe,
            Folder.of(cohort, address is not None),
            {m: Folder.of(path, address is not None) for m, path in sources.items() if path.is_dir()},
            code_in_use(),
            max(1, torch.get_num_threads() // workers),
        )
        mailbox = ray.remote(Mailbox).options(num_cpus=0).remote(workers)
        failures: list[Exception] = []
        training = threading.Thread(target=_train, args=(job, mailbox, workers, scratch, failures), daemon=True)
        training.start()
        crew = RayCrew(mailbox, training, failures)
        try:
            yield crew
        finally:
            crew.end()


def _train(job: Job, mailbox: Any, workers: int, scratch: str, failures: list[Exception]) -> None:
    """Ray Train's own course, in a thread, as it ends when the workers do."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    for name in ("ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        TorchTrainer(
            _serve,
            train_loop_config={"job": job, "mailbox": mailbox},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=job.plan.device != "cpu"),
            run_config=RunConfig(name="fedaffect-train", storage_path=scratch),
        ).fit()
    except (RuntimeError, ray.exceptions.RayError) as error:
        failures.append(error)


def _serve(config: Mapping[str, Any]) -> None:
    """A worker: do as the orders say, until there are none."""
    mailbox, job = config["mailbox"], config["job"]
    rank, trainer = int(ray.train.get_context().get_world_rank()), None
    for number in itertools.count():
        order: Order = ray.get(mailbox.order.remote(number))
        if order is None:
            return
        name, given = order
        try:
            trainer = trainer or job.trainer()
            value = getattr(trainer, name)(*(ray.get(one) if isinstance(one, ray.ObjectRef) else one for one in given))
        except FedAffectError as error:
            value = error
        # What they hold is the same, and large.
        said = value if rank == 0 or isinstance(value, FedAffectError) else None
        ray.get(mailbox.answer.remote(rank, said))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
