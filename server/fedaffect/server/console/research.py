"""Run folders of simulations: a room above this one reads them, by an entry point, as imports do not go up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from pydantic import BaseModel

from fedaffect.edge.errors import FedAffectError
from fedaffect.server.console.feed import Event, Feed
from fedaffect.server.console.schemas import (
    ComparisonReply,
    RecordedRoundReply,
    RecordedRunDetailReply,
    RecordedRunReply,
    RecordedRunsReply,
)
from fedaffect.server.errors import InvalidRequest, Unavailable

GROUP: Final = "fedaffect.run_folders"
_MISSING: Final = "nothing here reads run folders: pip install 'fedaffect[simulation]'"
T = TypeVar("T")


class RunFolders(Protocol):
    """Reads the run folders below a folder, by name; `fedaffect.simulation.run_facts.RunFolders` is one."""

    def listed(self) -> list[dict[str, Any]]:
        """A line for each run, as ``fedaffect runs list --json`` has it."""
        ...

    def sweeps(self) -> list[str]:
        """Names of sweeps."""
        ...

    def shown(self, name: str) -> dict[str, Any]:
        """``facts``, ``settings``, ``rounds`` and ``summary`` of one run."""
        ...

    def compared(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """``title``, ``headings``, ``rows`` and ``verdict`` of each further run against the first."""
        ...

    def sizes(self) -> Mapping[str, tuple[int, bool]]:
        """Bytes of metrics that each run has, and whether it is over."""
        ...

    def rounds(self, name: str) -> list[dict[str, Any]]:
        """Lines of a run's ``metrics.jsonl``."""
        ...


class Research:
    """What the page shows of run folders.

    Parameters
    ----------
    folder : Path
        Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reader: RunFolders | None = None

    @property
    def reader(self) -> RunFolders:
        """What reads the folders.

        Raises
        ------
        Unavailable
            If nothing here does.
        """
        if self._reader is None:
            point = next((p for p in entry_points(group=GROUP) if p.name == "default"), None)
            if point is None:
                raise Unavailable(_MISSING)
            try:
                self._reader = point.load()(self.folder)
            except ImportError as error:
                raise Unavailable(f"{_MISSING} ({error})") from error
        reader: RunFolders = self._reader
        return reader

    def listed(self) -> RecordedRunsReply:
        """All runs, newest first; why there are none where there are none."""
        found = _told(self.reader.listed) if self.folder.is_dir() else []
        return RecordedRunsReply(
            folder=str(self.folder),
            problem="" if self.folder.is_dir() else "the folder is not there yet; fedaffect simulate makes it",
            runs=[_line(facts) for facts in found],
            sweeps=self.reader.sweeps() if self.folder.is_dir() else [],
        )

    def shown(self, name: str) -> RecordedRunDetailReply:
        """One run.

        Raises
        ------
        InvalidRequest
            If there is none of that name, or it is damaged.
        """
        found = _told(lambda: self.reader.shown(name))
        summary = found["summary"] or {}
        corpora = (summary.get("guard") or {}).get("corpora", {})
        return RecordedRunDetailReply(
            run=_line(found["facts"]),
            settings=_finite(found["settings"]),
            rounds=[round_reply(line) for line in found["rounds"]],
            per_class=_finite((summary.get("test") or {}).get("per_class") or {}),
            test_std=_finite(summary.get("test_std") or {}),
            guard={name: [each["before"], each["after"]] for name, each in corpora.items()},
        )

    def compared(self, names: Sequence[str]) -> list[ComparisonReply]:
        """Each further run against the first.

        Raises
        ------
        InvalidRequest
            If they cannot be compared; the message says why.
        """
        return [ComparisonReply(**each) for each in _told(lambda: self.reader.compared(names))]


class NewRounds(BaseModel):
    """What a run wrote since the last look."""

    run: str
    before: int
    rounds: list[RecordedRoundReply]
    finished: bool


class ResearchFeed(Feed):
    """Tells rounds of run folders as they are written, and that there are new folders.

    Parameters
    ----------
    research : Research
    """

    def __init__(self, research: Research) -> None:
        super().__init__()
        self._research = research
        self._sizes: Mapping[str, tuple[int, bool]] = {}
        self._told: dict[str, int] = {}

    async def begin(self) -> None:
        self._sizes = await asyncio.to_thread(self._research.reader.sizes)
        self._told = {}

    async def look(self) -> Sequence[Event]:
        return await asyncio.to_thread(self._look)

    def _look(self) -> list[Event]:
        before, now = self._sizes, self._research.reader.sizes()
        self._sizes = now
        events = [] if before.keys() == now.keys() else [Event("runs")]
        for name, (size, finished) in now.items():
            if name not in before or before[name] == (size, finished):
                continue
            lines = self._research.reader.rounds(name)
            known = min(self._told.get(name, max(0, len(lines) - 1)), len(lines))
            self._told[name] = len(lines)
            new = [round_reply(line) for line in lines[known:]]
            events.append(Event.of("rounds", NewRounds(run=name, before=known, rounds=new, finished=finished)))
        return events


def round_reply(line: Mapping[str, Any]) -> RecordedRoundReply:
    """A line of ``metrics.jsonl``."""
    line = _finite(dict(line))
    return RecordedRoundReply(
        round=line["round"],
        clients=line["clients"],
        failures=line["failures"],
        refusals=line.get("refusals", 0),
        train_loss=line["train_loss"],
        dev={name: value for name, value in (line["dev"] or {}).items() if value is not None} or None,
        epsilon=(line.get("privacy") or {}).get("epsilon"),
        bytes_up=line.get("bytes_up", 0),
        bytes_down=line.get("bytes_down", 0),
        seconds=line.get("seconds", 0.0),
    )


def _line(facts: Mapping[str, Any]) -> RecordedRunReply:
    return RecordedRunReply(
        name=facts["name"],
        damaged=facts.get("damaged", ""),
        dataset=facts.get("dataset", ""),
        labels=facts.get("labels", ""),
        modalities=facts.get("modalities", []),
        how=facts.get("how", ""),
        differences=facts.get("differences", []),
        clients=facts.get("clients"),
        rounds=facts.get("rounds", 0),
        planned=facts.get("planned", 0),
        seed=facts.get("seed"),
        finished=facts["finished"],
        best_round=facts.get("best_round"),
        test=facts.get("test"),
    )


def _told(read: Callable[[], T]) -> T:
    """What was read; what a person can mend is said."""
    try:
        return read()
    except FedAffectError as error:
        raise InvalidRequest(str(error)) from error


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
