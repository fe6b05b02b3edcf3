"""What a run tells those who watch it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from fedaffect.client.cohort import Cohort
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.settings import RunSettings

# Each is called with the run folder's path and returns an Observer; docs/plugins.md is the contract.
GROUP = "fedaffect.observers"

logger = logging.getLogger("flwr")


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round, as in ``metrics.jsonl``.

    Parameters
    ----------
    round : int
        Counted from 1.
    clients, failures : int
        Clients whose update counted, and those that failed or never answered.
    train_loss : float or None
        Mean over examples; None where nobody had any.
    lr : float
        Learning rate that clients used.
    dev : mapping of str to float, optional
        Figures on the development split; None in rounds without evaluation.
    updates_per_second : float
        Client updates over the seconds of training and averaging, evaluation not counted.
    bytes_up, bytes_down : int
        Of all clients together.
    train_seconds, seconds : float
        Training and averaging; the whole round.
    elapsed_s, eta_s : float
        Since the run began, pauses between resumptions not counted; until its last round.
    first_failure : str, optional
        Why the first of the failed clients did.
    rejected : mapping of str to str
        Why updates were not let in, by client name; they count as failures too.
    simulated : mapping of str to float, optional
        Where time is simulated: when the round ended (``ends_s``), and how many were asked, late and lost.
    refusals : int
        Devices that did not want to learn now, which is no failure.
    privacy : mapping, optional
        What any client has spent by now, and the norm that updates were clipped to; of runs with central privacy.
    kept_share : float, optional
        Of the way from the run's start, in the last round of a guarded run: how much of it those on the guard bear.
    """

    round: int
    clients: int
    failures: int
    train_loss: float | None
    lr: float
    dev: Mapping[str, float] | None
    updates_per_second: float
    bytes_up: int
    bytes_down: int
    train_seconds: float
    seconds: float
    elapsed_s: float
    eta_s: float
    first_failure: str | None = None
    rejected: Mapping[str, str] = field(default_factory=dict)
    simulated: Mapping[str, float] | None = None
    refusals: int = 0
    privacy: Mapping[str, float | None] | None = None
    kept_share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@runtime_checkable
class Observer(Protocol):
    """Someone who watches a run: a live table, a log."""

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """The run is about to begin, or go on."""

    def round_finished(self, record: RoundRecord) -> None:
        """A round was committed."""

    def finished(self, summary: Mapping[str, Any]) -> None:
        """The run is over and its summary stands."""


def registered_observers(folder: Path) -> list[Observer]:
    """An observer of each kind that is installed; one whose packages are missing is left out with a warning.

    Parameters
    ----------
    folder : Path
        The run folder.

    Raises
    ------
    ConfigError
        If an installed package gives something that is no observer.
    """
    observers: list[Observer] = []
    for point in entry_points(group=GROUP):
        try:
            make = point.load()
        except ImportError as error:
            # The entry point is there with every extra, what it imports is not; a run needs none of it.
            logger.warning("no %s for this run (%s): pip install 'fedaffect[simulation]'", point.name, error)
            continue
        observer = make(folder)
        if not isinstance(observer, Observer):
            raise ConfigError(
                f"observer {point.name!r} of {point.value} gives a {type(observer).__name__} without started, "
                f"round_finished and finished; docs/plugins.md has the contract"
            )
        observers.append(observer)
    return observers
