"""The loop of a federation: one round after the other, each committed as a whole, and the summary at its end.

What differs between runs stands in the parts that the loop is composed of (:mod:`fedaffect.server.federation.run`):
how the next parameters come (``step``), how good they are (``evaluation``), what privacy says (``privacy``), where a
round is recorded (``ledger``) and who watches (``observers``).
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fedaffect.client.state_store import StateFolder
from fedaffect.edge.errors import RunError, TrainingError
from fedaffect.server.federation.evaluating import RunEvaluation
from fedaffect.server.federation.evaluation import Task
from fedaffect.server.federation.failures import FailureLimit, count_failures
from fedaffect.server.federation.guard import Guard
from fedaffect.server.federation.memory import PeakMemory
from fedaffect.server.federation.observer import Observer, RoundRecord
from fedaffect.server.federation.privacy.mechanism import PrivacyMechanism
from fedaffect.server.federation.progress import Progress
from fedaffect.server.federation.round_ledger import RoundLedger
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.steps import RoundResult, RoundStep
from fedaffect.server.federation.stopping import EarlyStopping, best_record
from fedaffect.server.federation.summary import best_round_rule, summarise_run

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Federation:
    """A run, composed.

    Parameters
    ----------
    config : RunSettings
    folder : RunFolder
    task : Task
        The server's own, for evaluation.
    progress : Progress
    step : RoundStep
    evaluation : RunEvaluation
    stopping : EarlyStopping
    guard : Guard
    privacy : PrivacyMechanism
    ledger : RoundLedger
    observers : sequence of Observer
    memory : PeakMemory
    limit : FailureLimit
    wake : callable
        Starts the clients' workers before the clock of training runs.
    loses_client_states : bool
        Whether clients keep states from round to round, and the grid loses them when a run stops.
    about : mapping
        What else the summary is to say.
    """

    config: RunSettings
    folder: RunFolder
    task: Task
    progress: Progress
    step: RoundStep
    evaluation: RunEvaluation
    stopping: EarlyStopping
    guard: Guard
    privacy: PrivacyMechanism
    ledger: RoundLedger
    observers: Sequence[Observer]
    memory: PeakMemory
    limit: FailureLimit
    wake: Callable[[], None]
    loses_client_states: bool
    about: Mapping[str, Any]
    _began: float = field(default_factory=time.perf_counter, init=False)
    _earlier_s: float = field(default=0.0, init=False)

    def restore(self) -> None:
        """Go back to the newest committed round.

        Raises
        ------
        RunError
            If what clients kept for the next round is gone.
        """
        checkpoint = self.folder.checkpoints.latest()
        if checkpoint is not None:
            if self.loses_client_states:
                raise RunError(
                    f"clients of this run keep states from round to round, and with --engine "
                    f"{self.config.engine.engine} they are lost when a run stops; start it again, or use --engine ray"
                )
            # Asked here too: in a round it would be one client's failure, and the others would go on without it.
            StateFolder(self.folder.client_states).require(checkpoint.round + 1)
        self.progress.restore(checkpoint)
        if checkpoint is not None:
            self.step.restore(checkpoint.state, checkpoint.shape)
            self.privacy.restore(self.progress.records[-1].get("privacy"))
            self._earlier_s = self.progress.elapsed_s

    def run(self) -> dict[str, Any]:
        """All rounds that are left, and the summary."""
        for observer in self.observers:
            observer.started(self.config, self.task.cohort, self.task.layout.size)
        if self._goes_on:
            self.wake()
        while self._goes_on:
            record = self._round(self.progress.round + 1)
            for observer in self.observers:
                observer.round_finished(record)
        summary = self._summary()
        for observer in self.observers:
            observer.finished(summary)
        return summary

    @property
    def _goes_on(self) -> bool:
        left = self.progress.round < self.config.federation.rounds
        return left and not self.stopping.reason(self.progress.records)

    def _round(self, number: int) -> RoundRecord:
        began = time.perf_counter()
        try:
            result = self.step.run(number, self.progress)
            broken = [(client, why) for client, why in result.failures if client not in result.excused]
            asked = result.clients + len(broken) + len(result.refusals)
            for why, devices in Counter(why for _, why in result.refusals).items():
                logger.warning("round %d: %d of %d clients refused, as %s", number, devices, asked, why)
            self.limit.require_few(broken, asked, f"round {number}", self.task.cohort.client_names)
        except TrainingError as error:
            self.ledger.abandon(number, str(error))
            raise
        trained = time.perf_counter()
        development = self.evaluation.development(number, result.weights)
        self.memory.sample()
        record = self._record(number, result, development, trained - began, time.perf_counter() - began)
        self._commit(record, result.weights)
        return record

    def _record(
        self,
        number: int,
        result: RoundResult,
        development: Mapping[str, float] | None,
        train_seconds: float,
        seconds: float,
    ) -> RoundRecord:
        elapsed = self.progress.elapsed_s + seconds
        hidden = self.privacy.hides_figures or math.isnan(result.train_loss)
        return RoundRecord(
            round=number,
            clients=result.clients,
            failures=len(result.failures),
            refusals=len(result.refusals),
            train_loss=None if hidden else result.train_loss,
            lr=self.config.lr_at(number),
            dev=development,
            updates_per_second=result.clients / train_seconds,
            bytes_up=result.bytes_up * result.clients,
            bytes_down=result.bytes_down * (result.clients + result.asked_in_vain),
            train_seconds=train_seconds,
            seconds=seconds,
            elapsed_s=elapsed,
            eta_s=(self.config.federation.rounds - number) * elapsed / number,
            first_failure=result.failures[0][1] if result.failures else None,
            rejected=dict(sorted(result.rejected.items())),
            simulated=result.simulated,
            privacy=self.privacy.round_metrics(number),
            kept_share=result.kept_share,
        )

    def _commit(self, record: RoundRecord, weights: Tensor) -> None:
        """A round counts once its checkpoint stands, the ledger has it and its line is written, in this order."""
        self.progress.checkpoint(record, weights, *self.step.save())
        self.ledger.commit(record, weights)
        self.progress.commit(record, weights)
        if self.config.output.keep_checkpoints == "last":
            best = best_record(self.progress.records, self.config.evaluation.select_by)
            self.folder.checkpoints.keep_only({record.round, int(best["round"]), *self.step.rounds_in_use})

    def _summary(self) -> dict[str, Any]:
        records = self.progress.records
        if not records:
            raise TrainingError("the run has no round; give --rounds 1 or more")
        best = best_record(records, self.config.evaluation.select_by)
        number = int(best["round"])
        weights = self.progress.weights_of(number)
        asked = self.evaluation.asked_at_end(number, self.progress.round)
        on_clients = self.evaluation.on_clients(asked, self.progress.weights_of(asked))
        self.memory.sample(now=True)
        summary = summarise_run(
            config=self.config,
            task=self.task,
            weights=weights,
            records=records,
            best_round=number,
            rule=best_round_rule(records, self.config.evaluation.select_by),
            run_folder=self.folder,
            peak_rss_mb=self.memory.peak_mb,
        )
        summary |= {**self.about, "on_clients": on_clients, **self.privacy.summary(self.progress.round)}
        summary |= self.stopping.summary(records)
        summary |= self.guard.measured(self.progress.weights_of(0), weights, best.get("kept_share"))
        self.privacy.finish()
        summary |= count_failures(records)
        summary["wall_s"] = self._earlier_s + time.perf_counter() - self._began
        self.folder.write_summary(summary)
        return summary
