"""How good a run's parameters are: after its rounds on the development split, and at its end on clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.client_evaluation import owns_rows
from fedaffect.server.federation.evaluation import DEV, TEST, Task, evaluate_split, has_rows
from fedaffect.server.federation.selection import choose_clients
from fedaffect.server.federation.settings import RunSettings

# Enough to see how evenly a model serves; with more clients, a seeded draw of this many is asked.
_CLIENTS_AT_END = 500

# Asks clients for figures: round, parameters (P,), split, partition ids.
AskClients = Callable[[int, Tensor, str, Sequence[int]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RunEvaluation:
    """Evaluates a run's parameters.

    Parameters
    ----------
    config : RunSettings
    task : Task
        The server's own.
    ask_clients : callable
    everybody : callable
        Clients that can be asked now.
    ask_at_end : bool
        Whether clients are asked how the best round's parameters serve them. No client's own figures reach the server
        under secure aggregation, no budget of privacy covers them, and devices of a fleet are asked when a bundle is
        rolled out to them.
    unseen_rule : str
        Not empty where clients have models of their own, which then are evaluated beside the shared one.
    """

    config: RunSettings
    task: Task
    ask_clients: AskClients
    everybody: Callable[[], Sequence[int]]
    ask_at_end: bool
    unseen_rule: str = ""

    def development(self, number: int, weights: Tensor) -> Mapping[str, float] | None:
        """Figures on the development split, in rounds that evaluate."""
        due = number % self.config.evaluation.eval_every == 0 or number == self.config.federation.rounds
        if not due or not has_rows(self.task.cohort, DEV):
            return None
        if self.config.evaluation.evaluate == "clients":
            asked = self.ask_clients(number, weights, DEV, self.everybody())
            return dict(asked.get("personal", asked)["figures"])
        return dict(evaluate_split(self.task, weights, DEV).figures)

    def asked_at_end(self, best: int, last: int) -> int:
        """The round whose parameters clients are asked about: what they keep for themselves is that of the last."""
        return last if self.unseen_rule else best

    def on_clients(self, number: int, weights: Tensor) -> dict[str, Any] | None:
        """What clients find on their own rows: of the test split where they own some, else those they train with."""
        if not self.ask_at_end:
            return None
        cohort: Cohort = self.task.cohort
        asked = choose_clients(
            cohort.num_clients, min(_CLIENTS_AT_END, cohort.num_clients), self.config.federation.seed, 0
        )
        return self.ask_clients(number, weights, TEST if owns_rows(cohort, TEST) else "train", asked)
