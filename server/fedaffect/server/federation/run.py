"""A federation from its settings: which parts its loop is composed of, and its run from first round to summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from fedaffect.client.algorithms.registry import algorithm
from fedaffect.client.cohort import Cohort
from fedaffect.client.compression.compress import codec
from fedaffect.client.compression.soundness import require_sound
from fedaffect.client.privacy.opacus_engine import validate_model
from fedaffect.client.privacy.settings import CENTRAL
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.wire import ALGORITHM, request_config, to_record
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.cache import in_use
from fedaffect.server.federation.asynchronous.fedbuff import BufferedStep
from fedaffect.server.federation.asynchronous.pace import Pace
from fedaffect.server.federation.client_evaluation import evaluate_on_clients
from fedaffect.server.federation.evaluating import RunEvaluation
from fedaffect.server.federation.exchange import Exchange
from fedaffect.server.federation.failures import FailureLimit
from fedaffect.server.federation.frozen import FrozenTrunk, adapters_of
from fedaffect.server.federation.grid import Nodes, TrainingGrid, wake
from fedaffect.server.federation.guard import Guard
from fedaffect.server.federation.local_only import run_local_only
from fedaffect.server.federation.loop import Federation
from fedaffect.server.federation.memory import PeakMemory, cheap_collections
from fedaffect.server.federation.observer import Observer
from fedaffect.server.federation.participants import (
    CohortClients,
    DevicePool,
    PacedClients,
    Participants,
    PoolDevices,
)
from fedaffect.server.federation.privacy.central import CentralPrivacy
from fedaffect.server.federation.privacy.checks import check_strategy
from fedaffect.server.federation.privacy.local import LocalPrivacy
from fedaffect.server.federation.privacy.mechanism import NoPrivacy, PrivacyMechanism
from fedaffect.server.federation.progress import Progress
from fedaffect.server.federation.regions.collection import RegionGrid, RegionPool
from fedaffect.server.federation.regions.composing import local_regions, regional_collection
from fedaffect.server.federation.regions.order import RegionMap
from fedaffect.server.federation.replay import ReplayedStep, chances_of
from fedaffect.server.federation.round_ledger import NoLedger, RoundLedger
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.secagg.journal import Journal
from fedaffect.server.federation.secagg.sum_ledger import SumLedger
from fedaffect.server.federation.secagg.training import JOURNAL, SecureCollection
from fedaffect.server.federation.settings import ASYNC, RunSettings
from fedaffect.server.federation.start import FreshStart, Start
from fedaffect.server.federation.stepping_back import SteppedBack
from fedaffect.server.federation.steps import Collection, PlainCollection, RoundStep, SynchronousStep
from fedaffect.server.federation.stopping import EarlyStopping
from fedaffect.server.federation.strategies.registry import build_strategy, require_suited

# A cohort of public data with the streams and labels of a run's own: its first client holds what is replayed, and its
# splits guard the run; see `fedaffect.server.federation.guard`.
ReadPublic: TypeAlias = Callable[[Cohort], Cohort]

# Enough that every worker of one machine gets some.
_CLIENTS_TO_WAKE = 64


def run_federation(
    grid: TrainingGrid,
    config: RunSettings,
    cohort_folder: Path,
    run_folder: RunFolder,
    observers: Sequence[Observer] = (),
    resume: bool = False,
    ledger: RoundLedger | None = None,
    devices: DevicePool | None = None,
    regions: RegionPool | None = None,
    about: Mapping[str, Any] | None = None,
    pace: Pace | None = None,
    start: Start | None = None,
    public: ReadPublic | None = None,
) -> dict[str, Any]:
    """Run a federation from its first round, or from its last checkpoint, to its summary.

    Parameters
    ----------
    grid : TrainingGrid
        How clients are reached.
    config : RunSettings
    cohort_folder : Path
        The clients' training data, as ``fedaffect.simulation.prepare`` leaves it.
    run_folder : RunFolder
        Gets settings, metrics, checkpoints, predictions and the summary. One that this call finds without any
        committed round, and leaves so because of an error, is deleted.
    observers : sequence of Observer
    resume : bool
        Go on after the newest checkpoint; the arrays come out the same as without the interruption.
    ledger : RoundLedger, optional
        Where rounds are recorded beside the run folder.
    devices : DevicePool, optional
        Devices of a fleet, which come and go and decide for themselves.
    regions : RegionPool, optional
        What reaches the regions whose devices those are.
    about : mapping, optional
        What else the summary is to say, such as which clients are malicious.
    pace : Pace, optional
        How long clients take, where time is simulated.
    start : Start, optional
        What the first round begins from; fresh weights if not given.
    public : callable, optional
        Reads the public data that is replayed and that guards the run.

    Returns
    -------
    dict
        The summary, as in ``summary.json``.

    Raises
    ------
    FedAffectError
        Of the kind that says what is wrong: settings, data, training that diverged, a disk that is full.
    """
    try:
        with in_use(cohort_folder):
            if resume:
                run_folder.continue_with(config)
            device = "cuda" if config.engine.gpus_per_actor and torch.cuda.is_available() else "cpu"
            task = ClientTask(cohort_folder, config.model.model, config.model.model_options, device)
            start = start or FreshStart()
            initial = start.weights(task, config.federation.seed)
            began_from = {"start": start.about()} if start.about() else {}
            if config.federation.mode == "local-only":
                limit = FailureLimit.of(config, in_fleet=False)
                return run_local_only(
                    grid, config, cohort_folder, run_folder, observers, task, PeakMemory(), limit, initial, began_from
                )
            kept = None
            if public is not None:
                kept = ClientTask(public(task.cohort), config.model.model, config.model.model_options, device)
            composer = _Composer(
                grid, config, cohort_folder, run_folder, task, ledger or NoLedger(), devices, regions, pace, kept
            )
            federation = composer.federation(observers, {**(about or {}), **began_from}, initial)
            if resume:
                federation.restore()
            with cheap_collections():
                return federation.run()
    except BaseException:
        if not resume:
            run_folder.discard_unstarted()
        raise


class _Composer:
    """Chooses the parts of a run by its settings."""

    def __init__(
        self,
        grid: TrainingGrid,
        config: RunSettings,
        cohort_folder: Path,
        run_folder: RunFolder,
        task: ClientTask,
        ledger: RoundLedger,
        devices: DevicePool | None,
        regions: RegionPool | None,
        pace: Pace | None,
        public: ClientTask | None,
    ) -> None:
        self.public = public
        self.grid, self.config, self.folder, self.task = grid, config, run_folder, task
        self.ledger, self.devices, self.regions, self.pace = ledger, devices, regions, pace
        self.memory = PeakMemory()
        self.clients = task.cohort.num_clients
        if config.federation.mode == "centralized" and self.clients != 1:
            raise ConfigError(
                f"--centralized needs all data in one client, the cohort has {self.clients}; prepare it again"
            )
        self.wanted = config.clients_a_round(self.clients)
        self.limit = FailureLimit.of(config, in_fleet=devices is not None)
        self.strategy, self.entry = build_strategy(config, self.clients)
        require_suited(config, self.entry)
        self.shared = task.shared(self.entry.algorithm)
        self.unseen_rule = algorithm(self.entry.algorithm).unseen_rule
        self.privacy = self._privacy()
        self.train_config = self._train_config()
        self.nodes = devices.nodes if devices is not None else Nodes.find(grid, self.clients)
        self.request = partial(
            request_config, cohort_folder, config.model.model, config.model.model_options, config.federation.seed
        )
        require_sound(
            config.federation.compression,
            dp=config.privacy.dp,
            secagg=config.secagg.secagg,
            algorithm=self.entry.algorithm,
        )
        self.participants = self._participants()
        self.exchange = self._exchange()

    def federation(self, observers: Sequence[Observer], about: Mapping[str, Any], initial: Tensor) -> Federation:
        """The loop and all its parts."""
        config, chosen = self.config, codec(self.config.federation.compression)
        keeps_states = (
            self.entry.client_state or self.train_config.keep_optimizer or (chosen is not None and chosen.feeds_back)
        )
        woken = range(min(_CLIENTS_TO_WAKE, self.clients))
        return Federation(
            config=config,
            folder=self.folder,
            task=self.task,
            progress=Progress(self.folder, self.task.layout, initial),
            step=self._kept(self._step(), initial),
            evaluation=RunEvaluation(
                config,
                self.task,
                self._ask_clients,
                self.participants.everybody,
                ask_at_end=not (config.secagg.secagg or self.privacy.hides_figures or self.devices is not None),
                unseen_rule=self.unseen_rule,
            ),
            stopping=EarlyStopping(config.evaluation.patience, config.evaluation.select_by),
            guard=Guard(self.public, config.retention.guard_loss),
            privacy=self.privacy,
            ledger=self.ledger,
            observers=observers,
            memory=self.memory,
            limit=self.limit,
            wake=lambda: wake(self.grid, self.nodes, self.request({}), woken),
            loses_client_states=keeps_states and not self.grid.capabilities.keeps_client_states,
            about={**about, **self._own_models()},
        )

    def _own_models(self) -> dict[str, Any]:
        """What a summary says of layers and models that stay on clients."""
        if not self.unseen_rule:
            return {}
        layers = {"layers": list(self.shared.own_names), "parameters": self.shared.whole.size - self.shared.layout.size}
        return {"personal": {**layers, "unseen": self.unseen_rule}}

    def _privacy(self) -> PrivacyMechanism:
        c, chosen_by_server = self.config, self.devices is None
        if c.privacy.dp is None:
            return NoPrivacy()
        validate_model(self.task.model)
        if c.privacy.dp == CENTRAL:
            return CentralPrivacy(c, self.shared.layout, self.clients, self.wanted, self.folder.path, chosen_by_server)
        return LocalPrivacy.of(c, self.task.cohort, self.wanted, chosen_by_server)

    def _train_config(self) -> TrainConfig:
        # One pooled client that forgot its optimiser every epoch would be no fair upper bound.
        keep = self.config.training.keep_optimizer or self.config.federation.mode == "centralized"
        check_strategy(self.config, self.entry.needs_mean_only, self.entry.algorithm, keep)
        return self.config.training.train_config(algorithm=self.entry.algorithm, keep_optimizer=keep)

    def _participants(self) -> Participants:
        seed, time = self.config.federation.seed, self.config.time
        timeout_s = time.deadline_s or time.round_timeout_s
        if self.devices is not None:
            # The exchange is made after those who take part.
            return PoolDevices(
                self.devices, self.wanted, time.over_selection, seed, timeout_s, lambda: self.exchange.question(1)
            )
        if self.pace is not None and self.privacy.sampling is None:
            # In simulated time who comes in time is known beforehand.
            return PacedClients(
                self.pace,
                self.clients,
                self.wanted,
                time.over_selection,
                timeout_s,
                seed,
                time.round_timeout_s,
            )
        return CohortClients(self.clients, self.wanted, time.over_selection, seed, timeout_s, self.privacy.sampling)

    def _exchange(self) -> Exchange:
        c, entry, can = self.config, self.entry, self.grid.capabilities
        # A grid that sums updates before the server sees them leaves nothing to hold against a bound, nor to choose
        # the first from.
        single = (
            bool(c.robustness.norm_bound)
            or c.federation.mode == ASYNC
            or (c.time.over_selection > 1 and self.pace is None)
        )
        return Exchange(
            strategy=self.strategy,
            nodes=self.nodes,
            shared=self.shared,
            names=self.task.cohort.client_names,
            request=self.request,
            train_config=self.train_config,
            lr_at=c.lr_at,
            privacy=self.privacy,
            ledger=self.ledger,
            # A secure sum compresses by its own words.
            compression="" if c.secagg.secagg else c.federation.compression,
            codec=None if c.secagg.secagg else codec(c.federation.compression),
            partial_aggregation=entry.needs_mean_only and can.partial_aggregation and not single,
            # A region packs what it sends to its own clients.
            packed=can.packs_arrays and not c.engine.regions and self.regions is None,
            in_memory=can.takes_memory and not c.engine.regions,
            needs_mean_only=entry.needs_mean_only and c.federation.mode != ASYNC,
            norm_bound=c.robustness.norm_bound,
        )

    def _step(self) -> RoundStep:
        if self.config.federation.mode == ASYNC:
            if self.devices is not None:
                raise ConfigError("a fleet's ledger is of rounds, and --mode async has none; leave it out")
            return BufferedStep(self.config, self.grid, self.nodes, self.exchange, self.clients, self.pace)
        return SynchronousStep(
            self.participants,
            self.exchange,
            self._collection(),
            self.privacy,
            self.ledger,
            self.strategy,
            self.entry.state,
            self.shared,
        )

    def _kept(self, step: RoundStep, initial: Tensor) -> RoundStep:
        """The step, with what keeps what was known around it."""
        if self.public is not None and self.config.retention.replay:
            step = ReplayedStep(step, self.public, self.config, chances_of(self.public.cohort))
        if self.config.retention.learned == "adapters":
            step = FrozenTrunk(step, adapters_of(self.task.layout))
        return step if self.public is None else SteppedBack(step, self.public, self.config, initial)

    def _collection(self) -> Collection:
        c = self.config
        regions: RegionMap | None = self.regions
        reached: RegionGrid | None = self.regions
        if c.engine.regions is not None:
            regions, reached = local_regions(c, self.grid, self.nodes, self.clients, self.wanted, self._sums)
        if regions is not None and reached is not None:
            timeout_s = self.participants.timeout_s
            return regional_collection(
                c, regions, reached, self.nodes, self.shared, self.privacy, timeout_s, self._sums
            )
        if c.secagg.secagg:
            return SecureCollection(c, self.grid, self.nodes, self.shared.layout, self._sums(JOURNAL), self.privacy)
        enough = self.wanted if c.time.over_selection > 1 else None
        deadline = c.time.deadline_s is not None
        return PlainCollection(self.grid, self.nodes, self.participants.timeout_s, enough, deadline)

    def _sums(self, journal: str) -> SumLedger:
        return self.ledger.sums(Journal(self.folder.path / journal))

    def _ask_clients(self, number: int, weights: Tensor, split: str, clients: Sequence[int]) -> dict[str, Any]:
        return evaluate_on_clients(
            self.grid,
            self.nodes,
            self.strategy,
            number,
            to_record(self.task.layout, weights),
            self.request({ALGORITHM: self.entry.algorithm} if self.unseen_rule else {}),
            split,
            clients,
            self.task.cohort,
            self.config.time.round_timeout_s,
            self.limit,
        )
