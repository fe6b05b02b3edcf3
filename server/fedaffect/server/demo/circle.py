"""The circle on one machine: an answer is wrong, people say so, a fleet learns, everybody's next answer is right.

Each step is done by the commands that people type, in processes of their own that talk over TLS. The people are
constructed (`people`), and nothing else is: bundle, fleet, federation and rollout are the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.errors import RunError
from fedaffect.server.demo.local_fleet import LocalFleet
from fedaffect.server.demo.machines import Machine
from fedaffect.server.demo.people import BITTER, HAPPY, ConstructedPerson

ROUNDS: Final = 4
_RUN: Final = "circle"
# Few people and few examples: each device goes over its own often.
_TRAINING: Final = ("gather-s=2", "lr=0.003", "local-epochs=5", "batch-size=8")


@dataclass(slots=True)
class Question:
    """Something that a person asks their device twice.

    Parameters
    ----------
    text : str
    meant : str
        The label that is right.
    before, after : str
        What the device answered with the bundle that it had, and with the fleet's new one.
    """

    text: str
    meant: str
    before: str
    after: str = ""


@dataclass(slots=True)
class Part:
    """One person's part in the circle, as far as it has come.

    Parameters
    ----------
    person : ConstructedPerson
    device : Machine
    questions : list of Question
    labels : int
        Answers that they corrected or confirmed.
    version : str
        Of the bundle that the device uses.
    """

    person: ConstructedPerson
    device: Machine
    questions: list[Question] = field(default_factory=list)
    labels: int = 0
    version: str = ""


class Watcher(Protocol):
    """Who shows what happens."""

    def step(self, words: str) -> None:
        """A step begins; the one before is over."""


class Circle:
    """The whole circle.

    Parameters
    ----------
    folder : Path
        Where all machines live.
    bundle : Bundle
        What devices begin with.
    people : sequence of ConstructedPerson
    watcher : callable of Circle, giving Watcher
    """

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        people: Sequence[ConstructedPerson],
        watcher: Callable[[Circle], Watcher],
    ) -> None:
        self._fleet = LocalFleet(folder, bundle)
        self._people = people
        self.parts: list[Part] = []
        self.rounds = 0
        self._step = watcher(self).step

    @property
    def report(self) -> Path:
        """The run's page."""
        return self._fleet.folder.runs / _RUN / "report.html"

    def run(self) -> bool:
        """Go round once; whether all who corrected an answer now get the right one.

        Raises
        ------
        RunError
            If a step fails or takes too long.
        """
        try:
            self._step("a fleet comes up on this machine: SuperLink, gate and service, over TLS")
            self._fleet.bring_up()
            self._step(f"{len(self._people)} devices join it")
            for person in self._people:
                self.parts.append(Part(person, self._fleet.join(person.name), version=self._fleet.base))
            self._step("people ask their devices, and two of them correct the answers")
            for part in self.parts:
                _ask(part)
                _correct(part)
            self._step("the devices learn together; what was said stays on them")
            for committed in self._fleet.learn(_RUN, ROUNDS, _TRAINING):
                self.rounds = committed
            self._step("the new bundle is signed, and devices fetch it")
            self._fleet.wait_until(self._all_have_it, "the new bundle on all devices")
            self._step("the same questions again")
            for part in self.parts:
                for question in part.questions:
                    question.after = _answer(part.device, question.text)
            self._step("")
        finally:
            self._fleet.stop()
        return all(q.after == q.meant for part in self.parts if part.labels for q in part.questions)

    def _all_have_it(self) -> bool:
        for part in self.parts:
            part.version = part.device.version or ""
        return self._fleet.all_updated()


def _ask(part: Part) -> None:
    for text in part.person.asks:
        part.questions = [Question(text, BITTER, _answer(part.device, text, "--keep"))]
        if part.questions[0].before != BITTER:
            break
    else:
        raise RunError(f"this bundle answers all that {part.person.name} asks right; there is nothing to learn")
    if text := part.person.also_asks:
        part.questions.append(Question(text, HAPPY, _answer(part.device, text)))


def _correct(part: Part) -> None:
    if not part.person.labels:
        return
    part.device.types("edge", "feedback", "--last", BITTER, "--consent", "--privacy", "never")
    table = part.person.write_table(part.device.folder / "said.csv")
    part.device.types("edge", "examples", "import", str(table), "--consent")
    part.labels = 1 + part.person.labels


def _answer(device: Machine, text: str, *more: str) -> str:
    """What the bundle says; what the device makes of its own labels would be right without any fleet."""
    said = device.types("edge", "predict", "--text", text, "--no-personal", "--json", *more)
    return str(json.loads(said)["label"])
