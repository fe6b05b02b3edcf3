"""The loop of a federation: choose, train, average, commit, evaluate; and the summary at its end."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fedaffect.client.compression.compress import codec
from fedaffect.client.compression.soundness import require_sound
from fedaffect.client.privacy.opacus_engine import validate_model
from fedaffect.client.privacy.settings import CENTRAL, LOCAL
from fedaffect.client.state_store import StateFolder
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.wire import COMPRESSION, FOLD, from_record, named_to_record, pack, request_config, to_record
from fedaffect.edge.errors import ConfigError, RunError, TrainingError
from fedaffect.server.federation.aggregation import RoundReplies, to_vector, wire_bytes
from fedaffect.server.federation.asynchronous.fedbuff import Buffered, Filled
from fedaffect.server.federation.asynchronous.pace import Pace
from fedaffect.server.federation.checkpoint import Checkpoint
from fedaffect.server.federation.client_evaluation import evaluate_on_clients, owns_rows
from fedaffect.server.federation.evaluation import DEV, TEST, evaluate_split, has_rows
from fedaffect.server.federation.local_only import run_local_only
from fedaffect.server.federation.memory import PeakMemory
from fedaffect.server.federation.observer import Observer, RoundRecord
from fedaffect.server.federation.privacy.central import CentralPromise
from fedaffect.server.federation.privacy.checks import check_strategy
from fedaffect.server.federation.privacy.promise import LocalPromise
from fedaffect.server.federation.robustness.checks import UpdateChecks
from fedaffect.server.federation.robustness.deadline import RoundPlan, asked, plan_round
from fedaffect.server.federation.round_ledger import RoundKeeper, arrays_sha256
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.secagg.training import SecureTraining
from fedaffect.server.federation.selection import choose_clients
from fedaffect.server.federation.settings import ASYNC, RunSettings
from fedaffect.server.federation.strategies.flower import ChosenNodes, cheap_collections, quiet_flower
from fedaffect.server.federation.strategies.registry import StrategyEntry, build_strategy
from fedaffect.server.federation.strategies.state import restore_state, save_state
from fedaffect.server.federation.summary import best_record, best_round_rule, summarise_run
from fedaffect.server.federation.transport import Nodes, replies, wake

# Enough to see how evenly a model serves; with more clients, a seeded draw of this many is asked.
_CLIENTS_AT_END = 500
# Enough that every worker of one machine gets some.
_CLIENTS_TO_WAKE = 64

__all__ = ["Observer", "RoundRecord", "run_federation"]


def run_federation(
    grid: Grid,
    config: RunSettings,
    cohort_folder: Path,
    run_folder: RunFolder,
    observers: Sequence[Observer] = (),
    resume: bool = False,
    keeper: RoundKeeper | None = None,
    about: Mapping[str, Any] | None = None,
    pace: Pace | None = None,
) -> dict[str, Any]:
    """Run a federation from its first round, or from its last checkpoint, to its summary.

    Parameters
    ----------
    grid : Grid
        How clients are reached.
    config : RunSettings
    cohort_folder : Path
        What the clients hold, as ``fedaffect.simulation.prepare`` leaves it.
    run_folder : RunFolder
        Gets settings, metrics, checkpoints, predictions and the summary. One that this call finds without any
        committed round, and leaves so because of an error, is deleted.
    observers : sequence of Observer
    resume : bool
        Go on after the newest checkpoint; the arrays come out the same as without the interruption.
    keeper : RoundKeeper, optional
        Of a fleet, whose devices come, go and say no.
    about : mapping, optional
        What else the summary is to say, such as which clients are malicious.
    pace : Pace, optional
        How long clients take, where time is simulated.

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
        if resume:
            run_folder.continue_with(config)
        return _run(grid, config, cohort_folder, run_folder, observers, resume, keeper, about or {}, pace)
    except BaseException:
        if not resume:
            run_folder.discard_unstarted()
        raise


def _run(
    grid: Grid,
    config: RunSettings,
    cohort_folder: Path,
    run_folder: RunFolder,
    observers: Sequence[Observer],
    resume: bool,
    keeper: RoundKeeper | None,
    about: Mapping[str, Any],
    pace: Pace | None,
) -> dict[str, Any]:
    device = "cuda" if config.engine.gpus_per_actor and torch.cuda.is_available() else "cpu"
    task = ClientTask(cohort_folder, config.model.model, config.model.model_options, device)
    memory = PeakMemory()
    if config.federation.mode == "local-only":
        return run_local_only(grid, config, cohort_folder, run_folder, observers, task, memory)
    federation = _Federation(grid, config, cohort_folder, run_folder, observers, task, memory, keeper, about, pace)
    if resume:
        federation.restore()
    return federation.run()


@dataclass(slots=True)
class _Progress:
    """Where a federation stands: changed only when a round is committed."""

    weights: Tensor
    records: list[dict[str, Any]]

    @property
    def round(self) -> int:
        return int(self.records[-1]["round"]) if self.records else 0

    @property
    def elapsed_s(self) -> float:
        return float(self.records[-1]["elapsed_s"]) if self.records else 0.0


class _Federation:
    def __init__(
        self,
        grid: Grid,
        config: RunSettings,
        cohort_folder: Path,
        run_folder: RunFolder,
        observers: Sequence[Observer],
        task: ClientTask,
        memory: PeakMemory,
        keeper: RoundKeeper | None,
        about: Mapping[str, Any],
        pace: Pace | None,
    ) -> None:
        self.grid = grid
        self.pace = pace
        self.plan: RoundPlan | None = None
        self.about = about
        self.keeper = keeper
        self.config = config
        self.cohort_folder = cohort_folder
        self.folder = run_folder
        self.observers = observers
        self.task = task
        self.memory = memory
        self.cohort = task.cohort
        if config.federation.mode == "centralized" and self.cohort.num_clients != 1:
            raise ConfigError(
                f"--centralized needs all data in one client, the cohort has {self.cohort.num_clients}; prepare it anew"
            )
        self.clients_a_round = config.clients_a_round(self.cohort.num_clients)
        self.strategy: Strategy
        self.entry: StrategyEntry
        self.strategy, self.entry = build_strategy(config, self.cohort.num_clients)
        self.promise = self._promise()
        self.train_config = self._train_config()
        self.nodes = keeper.nodes if keeper else Nodes.find(grid, self.cohort.num_clients)
        require_sound(
            config.federation.compression,
            dp=config.privacy.dp,
            secagg=config.secagg.secagg,
            algorithm=self.entry.algorithm,
        )
        self.codec = codec(config.federation.compression)
        sums_of = keeper.sums if keeper else None
        self.secure = SecureTraining.of(config, self.entry, grid, self.nodes, task.layout, run_folder.path, sums_of)
        self.progress = _Progress(task.initial_weights(config.federation.seed), [])
        # A grid that sums updates before the server sees them leaves nothing to hold against a bound, nor to choose
        # the first from.
        single = (
            bool(config.robustness.norm_bound)
            or config.federation.mode == ASYNC
            or (config.time.over_selection > 1 and pace is None)
        )
        self.folded = self.entry.foldable and bool(getattr(grid, "folds", False)) and not single
        self.buffered: Buffered | None = None
        if config.federation.mode == ASYNC:
            if keeper is not None:
                raise ConfigError("a fleet's books are of rounds, and --mode async has none; leave it out")
            clients = self.cohort.num_clients
            self.buffered = Buffered(config, self.entry, grid, self.nodes, task.layout, clients, pace, self)
        # Of one client's update, on the wire.
        self.bytes_up, self.bytes_down = 0, 0
        self.began = time.perf_counter()
        self.earlier_s = 0.0

    def _train_config(self) -> TrainConfig:
        # One pooled client that forgot its optimiser every epoch would be no fair upper bound.
        keep = self.config.training.keep_optimizer or self.config.federation.mode == "centralized"
        check_strategy(self.config, self.entry.foldable, self.entry.algorithm, keep)
        return self.config.training.train_config(algorithm=self.entry.algorithm, keep_optimizer=keep)

    def _promise(self) -> LocalPromise | CentralPromise | None:
        c, ours = self.config, self.keeper is None
        if c.privacy.dp is not None:
            validate_model(self.task.model)
        if c.privacy.dp == LOCAL:
            return LocalPromise.of(c, self.cohort, self.clients_a_round, ours)
        if c.privacy.dp == CENTRAL:
            clients = self.cohort.num_clients
            return CentralPromise(c, self.task.layout, clients, self.clients_a_round, self.folder.path, ours)
        return None

    def restore(self) -> None:
        """Go back to the newest committed round."""
        checkpoint = self.folder.checkpoints.latest()
        if checkpoint is None:
            self.folder.truncate_metrics(0)
            return
        waits = self.codec is not None and self.codec.feeds_back
        if (self.entry.client_state or self.train_config.keep_optimizer or waits) and not self._clients_remember():
            raise RunError(
                f"clients of this run keep states from round to round, and with --engine "
                f"{self.config.engine.engine} they are lost when a run stops; start it anew, or use --engine ray"
            )
        # Asked here too: in a round it would be one client's failure, and the others would go on without it.
        StateFolder(self.folder.client_states).require(checkpoint.round + 1)
        records = self.folder.truncate_metrics(checkpoint.round)
        if not records or records[-1]["round"] < checkpoint.round:
            # Stopped between the commit and its line.
            records.append(dict(checkpoint.record))
            self.folder.append_metrics(checkpoint.record)
        weights = from_record(self.task.layout, named_to_record(checkpoint.arrays))
        shape = checkpoint.shape
        if self.buffered is not None:
            self.buffered.restore(shape)
            shape = {}
        restore_state(self.strategy, checkpoint.state, shape)
        if isinstance(self.promise, CentralPromise):
            self.promise.restore(records[-1].get("privacy"))
        self.progress = _Progress(weights, records)
        self.earlier_s = self.progress.elapsed_s

    def _clients_remember(self) -> bool:
        if self.keeper is not None:
            return True
        return bool(getattr(self.grid, "keeps_client_states", self.folder.client_states.is_dir()))

    def run(self) -> dict[str, Any]:
        for observer in self.observers:
            observer.started(self.config, self.cohort, self.task.layout.size)
        if self.progress.round < self.config.federation.rounds and self.keeper is None:
            wake(self.grid, self.nodes, self._request({}), range(min(_CLIENTS_TO_WAKE, self.cohort.num_clients)))
        while self.progress.round < self.config.federation.rounds:
            record = self._round(self.progress.round + 1)
            for observer in self.observers:
                observer.round_finished(record)
        return self._finish()

    def _round(self, number: int) -> RoundRecord:
        began = time.perf_counter()
        sent = to_record(self.task.layout, self.progress.weights)
        received: RoundReplies | Filled
        try:
            if self.buffered is not None:
                received = self.buffered.fill(number - 1, self.progress.weights)
                weights = received.weights
            else:
                received = self._train(number, sent)
                weights = self._aggregate(number, received)
        except TrainingError as error:
            if self.keeper is not None:
                self.keeper.abandon(number, str(error))
            raise
        trained = time.perf_counter()
        dev = self._develop(number, weights)
        self.bytes_up = self.bytes_up or received.bytes_up(weights)
        self.memory.sample()
        seconds = time.perf_counter() - began
        left = self.config.federation.rounds - number
        elapsed = self.progress.elapsed_s + seconds
        record = RoundRecord(
            round=number,
            clients=received.clients,
            failures=len(received.failures),
            refusals=len(received.refusals),
            # Under privacy no client says how well it fits what it has.
            train_loss=None if self.promise or math.isnan(received.train_loss) else received.train_loss,
            lr=self.config.lr_at(number),
            dev=dev,
            updates_per_second=received.clients / (trained - began),
            bytes_up=self.bytes_up * received.clients,
            bytes_down=self.bytes_down * (received.clients + self._in_vain(received)),
            train_seconds=trained - began,
            seconds=seconds,
            elapsed_s=elapsed,
            eta_s=left * elapsed / number,
            first_failure=received.failures[0][1] if received.failures else None,
            rejected=dict(sorted(received.rejected.items())),
            simulated=self._simulated(number, received),
            privacy=self.promise.line(number) if isinstance(self.promise, CentralPromise) else None,
        )
        self._commit(record, weights)
        return record

    def _simulated(self, number: int, received: RoundReplies | Filled) -> dict[str, float] | None:
        """What a round's line says about simulated time."""
        if self.buffered is not None and isinstance(received, Filled):
            return self.buffered.simulated(received, number - 1)
        return self.plan.to_dict() if self.plan is not None else None

    def _in_vain(self, received: RoundReplies | Filled) -> int:
        """Clients that were asked and did not count: they failed, said no, or were late."""
        # Where nobody came in time the late count as failures already.
        late = len(self.plan.late) if self.plan is not None and received.clients else 0
        return len(received.failures) + len(received.refusals) + late

    def received(self, number: int, start: Tensor) -> RoundReplies:
        """Takes replies of clients that began from these parameters."""
        told = self.promise.told() if self.promise else None
        central = isinstance(self.promise, CentralPromise)
        # Where the server sees single updates, it holds them to the norm that its noise is made for.
        bound = self.config.robustness.norm_bound or (told.clip_norm if told and central and not self.folded else 0.0)
        return RoundReplies(
            self.task.layout,
            self.entry.foldable and self.buffered is None,
            self.cohort.client_names,
            number,
            UpdateChecks(self.task.layout, start, bound),
            self.folded,
            central,
            None if self.config.secagg.secagg else self.codec,
        )

    def messages(self, version: int, weights: Tensor, clients: Sequence[int]) -> list[Message]:
        """Train requests to these clients, from the parameters of this version."""
        return self._messages(version + 1, to_record(self.task.layout, weights), clients, {})

    def _messages(
        self, number: int, sent: ArrayRecord, chosen: Sequence[int], about: Mapping[str, str | int]
    ) -> list[Message]:
        told = self.promise.told() if self.promise else None
        settings = replace(self.train_config, lr=self.config.lr_at(number), privacy=told).to_record()
        compression = {} if self.config.secagg.secagg else {COMPRESSION: self.config.federation.compression}
        config = self._request({**settings, **compression, FOLD: self.folded, **about})
        with quiet_flower():
            view = ChosenNodes(self.grid, self.nodes.of(chosen))
            messages = list(self.strategy.configure_train(number, sent, config, view))
        # Flower shuffles even when everybody takes part.
        messages.sort(key=lambda message: self.nodes.partitions[message.metadata.dst_node_id])
        # The same from round to round but for a digit of the round's number.
        self.bytes_down = self.bytes_down or wire_bytes(messages[0].content)
        return messages

    def weights_of(self, version: int) -> Tensor:
        """Parameters of a committed round, (P,); those of round 0 are the initial ones."""
        if version == self.progress.round:
            return self.progress.weights
        if version == 0:
            return self.task.initial_weights(self.config.federation.seed)
        return from_record(self.task.layout, named_to_record(self.folder.checkpoints.load(version).arrays))

    def _train(self, number: int, sent: ArrayRecord) -> RoundReplies:
        """Send a round out and take its replies."""
        chosen = self._chosen(number)
        about = self.keeper.begin(number, chosen, arrays_sha256(self.progress.weights)) if self.keeper else {}
        received = self.received(number, self.progress.weights)
        if self.plan is not None:
            received.failures += [(client, "dropped out") for client in self.plan.lost]
            if not chosen:
                received.abandon(self.plan.late + self.plan.lost, "nobody came before the deadline")
        if not chosen:
            # A Poisson sample may be empty: its round is noise alone.
            return received
        messages = self._messages(number, sent, chosen, about)
        if self.keeper is not None:
            # Over sockets every array takes requests of its own.
            packed = {name: pack(record) for name, record in messages[0].content.array_records.items()}
            for message in messages:
                for name, record in packed.items():
                    message.content[name] = record
        if self.secure is not None:
            told = self.promise.told() if self.promise else None
            norm = told.clip_norm if told and isinstance(self.promise, CentralPromise) else 0.0
            self.secure.train(number, messages, self.progress.weights, received, norm)
            # The last attempt's: keys and shares are beside the parameters, and words of another width may follow.
            self.bytes_up, self.bytes_down = received.bytes_up(self.progress.weights), received.bytes_down
        else:
            self._receive(messages, chosen, received)
        if self.keeper is not None:
            self.keeper.settle(chosen, received)
        return received

    def _chosen(self, number: int) -> tuple[int, ...]:
        """Who takes part: of the cohort's clients, or of the devices that can be asked now."""
        if self.keeper is None and self.promise is not None:
            return self.promise.choose(number)
        if self.keeper is None and self.pace is not None:
            self.plan = self._planned(number, self.pace)
            return self.plan.counted
        over = self.config.time.over_selection
        if self.keeper is None:
            known = self.cohort.num_clients
            return choose_clients(known, asked(self.clients_a_round, over, known), self.config.federation.seed, number)
        present = self.keeper.gather()
        wanted = asked(self.clients_a_round, over, len(present))
        return tuple(
            present[place] for place in choose_clients(len(present), wanted, self.config.federation.seed, number)
        )

    def _planned(self, number: int, pace: Pace) -> RoundPlan:
        before = self.progress.records[-1].get("simulated") if self.progress.records else None
        return plan_round(
            pace,
            wanted=self.clients_a_round,
            over_selection=self.config.time.over_selection,
            deadline_s=self.config.time.deadline_s or self.config.time.round_timeout_s,
            seed=self.config.federation.seed,
            number=number,
            at_s=float(before["ends_s"]) if before else 0.0,
        )

    def _receive(self, messages: Sequence[Message], chosen: Sequence[int], received: RoundReplies) -> None:
        silent = set(chosen)
        # In simulated time who comes in time was settled before.
        deadline_s = None if self.plan is not None else self.config.time.deadline_s
        timeout_s = deadline_s or self.config.time.round_timeout_s
        for reply in replies(self.grid, messages, timeout_s):
            client = self.nodes.sender(reply)
            why = self.keeper.admit(reply, client) if self.keeper else None
            if why is None:
                received.take(reply, client)
            else:
                received.failures.append((client, why))
            silent.discard(client)
            if self.config.time.over_selection > 1 and received.clients == self.clients_a_round:
                # Enough: whoever is still at it is late, which is no failure.
                return
        received.failures += [(c, f"no reply within {timeout_s:g} s") for c in sorted(silent)]

    def _request(self, settings: Mapping[str, Any]) -> ConfigRecord:
        c = self.config
        return request_config(self.cohort_folder, c.model.model, c.model.model_options, c.federation.seed, settings)

    def _aggregate(self, number: int, received: RoundReplies) -> Tensor:
        current = self.progress.weights
        if isinstance(self.promise, CentralPromise):
            for_strategy = [self.promise.noisy_reply(number, received, current)]
        else:
            for_strategy = received.for_strategy(current)
        if not for_strategy:
            return current
        with quiet_flower(), cheap_collections():
            arrays, _ = self.strategy.aggregate_train(number, for_strategy)
        # Bulyan makes nothing of too few replies; the round then leaves the parameters as they were.
        return current if arrays is None else to_vector(self.task.layout, arrays)

    def _develop(self, number: int, weights: Tensor) -> dict[str, float] | None:
        """Figures on the development split, in rounds that evaluate."""
        due = number % self.config.evaluation.eval_every == 0 or number == self.config.federation.rounds
        if not due or not has_rows(self.cohort, DEV):
            return None
        if self.config.evaluation.evaluate == "clients":
            everyone = self.keeper.gather() if self.keeper else range(self.cohort.num_clients)
            return dict(self._on_clients(number, weights, DEV, everyone)["figures"])
        return dict(evaluate_split(self.task, weights, DEV).figures)

    def _on_clients(self, number: int, weights: Tensor, split: str, clients: Sequence[int]) -> dict[str, Any]:
        return evaluate_on_clients(
            self.grid,
            self.nodes,
            self.strategy,
            number,
            to_record(self.task.layout, weights),
            self._request({}),
            split,
            clients,
            self.cohort,
            self.config.time.round_timeout_s,
        )

    def _commit(self, record: RoundRecord, weights: Tensor) -> None:
        state, shape = save_state(self.strategy, self.entry.state)
        if self.buffered is not None:
            shape = {**shape, **self.buffered.state()}
        line = record.to_dict()
        checkpoint = Checkpoint(record.round, self.task.layout.unflatten(weights), state, shape, line)
        self.folder.checkpoints.commit(checkpoint)
        if self.keeper is not None:
            self.keeper.commit(record, arrays_sha256(weights))
        self.folder.append_metrics(line)
        self.progress.weights = weights
        self.progress.records.append(line)
        if self.config.output.keep_checkpoints == "last":
            best = best_record(self.progress.records, self.config.evaluation.select_by)
            used = self.buffered.versions if self.buffered is not None else set()
            self.folder.checkpoints.keep_only({record.round, int(best["round"]), *used})

    def _finish(self) -> dict[str, Any]:
        if not self.progress.records:
            raise TrainingError("the run has no round; give --rounds 1 or more")
        best = best_record(self.progress.records, self.config.evaluation.select_by)
        number = int(best["round"])
        weights = self.progress.weights
        if number != self.progress.round:
            checkpoint = self.folder.checkpoints.load(number)
            weights = from_record(self.task.layout, named_to_record(checkpoint.arrays))
        # Under secure aggregation no client's own figures reach the server; devices of a fleet are asked when a
        # bundle is rolled out to them.
        # Nor do they under privacy, which covers no figures.
        on_clients = None if self.secure or self.keeper or self.promise else self._on_clients_at_end(number, weights)
        self.memory.sample(now=True)
        summary = summarise_run(
            config=self.config,
            task=self.task,
            weights=weights,
            records=self.progress.records,
            best_round=number,
            rule=best_round_rule(self.progress.records, self.config.evaluation.select_by),
            run_folder=self.folder,
            peak_rss_mb=self.memory.peak_mb,
        )
        summary |= self.about
        summary["on_clients"] = on_clients
        if self.promise is not None:
            summary["privacy"] = self.promise.summary(self.progress.round)
        if isinstance(self.promise, CentralPromise):
            self.promise.finish()
        summary["rejected_updates"] = sum(len(record.get("rejected", {})) for record in self.progress.records)
        summary["wall_s"] = self.earlier_s + time.perf_counter() - self.began
        self.folder.write_summary(summary)
        for observer in self.observers:
            observer.finished(summary)
        return summary

    def _on_clients_at_end(self, number: int, weights: Tensor) -> dict[str, Any]:
        """What clients find on their own rows: of the test split where they own some, else those they train with."""
        clients = choose_clients(
            self.cohort.num_clients, min(_CLIENTS_AT_END, self.cohort.num_clients), self.config.federation.seed, 0
        )
        split = TEST if owns_rows(self.cohort, TEST) else "train"
        return self._on_clients(number, weights, split, clients)
