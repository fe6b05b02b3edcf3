"""Python objects in place of names: a run's own strategy, model, corpus, partitioner or local algorithm.

An object goes by a name that begins with ``@``, which is what stands in ``config.toml``. Models and algorithms work
inside of the clients, so they travel to Ray's actors along with what opens the clients' task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ray import cloudpickle

from fedaffect.client.algorithms import registry as algorithms
from fedaffect.client.corpora import registry as corpora
from fedaffect.client.corpora.base import Corpus, CorpusInfo
from fedaffect.client.models import registry as models
from fedaffect.client.plugins import MARK, Offer, Plugins, name_of, offer, offered
from fedaffect.client.task import ClientTask
from fedaffect.client.wire import open_task
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.strategies import registry as strategies
from fedaffect.simulation.grid.worker import TaskKey, TaskOpener
from fedaffect.simulation.partition import registry as partitions
from fedaffect.simulation.partition.registry import Partitioner

_ON_CLIENTS = (models.GROUP, algorithms.GROUP)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A corpus that is open already, as a factory of itself."""

    corpus: Corpus

    @property
    def info(self) -> CorpusInfo:
        return self.corpus.info

    def __call__(self, data_dir: Path | None, *, seed: int = 0) -> Corpus:
        return self.corpus


@dataclass(slots=True)
class Given:
    """What a caller gave as objects, collected while settings are made of it."""

    objects: dict[tuple[str, str], Any] = field(default_factory=dict)

    def strategy(self, given: Any) -> str:
        """The name of a strategy: a string as it is, or that of a `StrategyEntry`."""
        return self._named(strategies.PLUGINS, given, lambda entry: name_of(entry.build))

    def model(self, given: Any) -> str:
        """The name of a model: a string as it is, or that of a function that builds one."""
        return self._named(models.PLUGINS, given, name_of)

    def dataset(self, given: Any) -> str:
        """The name of a corpus: a string as it is, or that of an open corpus or of a class of them."""
        given = _Opened(given) if isinstance(given, Corpus) else given
        return self._named(corpora.PLUGINS, given, lambda corpus: MARK + corpus.info.name)

    def partition(self, given: Any) -> str:
        """A partition's specification: a string as it is, or the name of a `Partitioner` or of ``divide`` alone."""
        if callable(given) and not isinstance(given, Partitioner):
            given = Partitioner(name_of(given), given)
        return self._named(partitions.PLUGINS, given, lambda one: MARK + one.name.removeprefix(MARK))

    def algorithm(self, given: Any, strategy: Any) -> None:
        """Let a strategy's local algorithm be found under the name that its entry asks for."""
        checked = algorithms.PLUGINS.checked(given, "what was given as algorithm")
        name = getattr(strategy, "algorithm", "")
        if not name.startswith(MARK):
            raise ConfigError(
                f"an algorithm is given along with a StrategyEntry that asks for it by a name with {MARK}: "
                f"StrategyEntry(build, algorithm='{MARK}mine')"
            )
        self.objects[algorithms.GROUP, name] = checked

    def _named(self, plugins: Plugins[Any], given: Any, name: Callable[[Any], str]) -> str:
        if isinstance(given, str):
            return given
        checked = plugins.checked(given, f"what was given as {plugins.kind}")
        chosen = name(checked)
        self.objects[plugins.group, chosen] = checked
        return chosen


def client_objects() -> Offer:
    """Those of the objects on offer that clients need.

    Raises
    ------
    ConfigError
        If one cannot travel to another process.
    """
    objects = {key: given for key, given in offered().items() if key[0] in _ON_CLIENTS}
    for (_, name), given in objects.items():
        try:
            cloudpickle.dumps(given)  # type: ignore[no-untyped-call]
        except Exception as error:
            what = " ".join(str(error).split())[:80]
            raise ConfigError(
                f"{name} cannot travel to the clients' processes ({what}); define it at the top of a module"
            ) from error
    return objects


def task_opener() -> TaskOpener:
    """What an actor opens its task with, so that it finds the objects on offer here."""
    objects = client_objects()
    return partial(_open, objects) if objects else open_task


def _open(objects: Offer, key: TaskKey, device: str = "cpu") -> ClientTask:
    # For the actor's whole life: algorithms are looked up round by round.
    offer(objects)
    return open_task(key, device)
