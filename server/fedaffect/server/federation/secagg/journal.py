"""What must be known about a run's secure aggregation after a crash, in one file that only grows."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from flwr.app import Message

from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.signed_keys import SignedKeys
from fedaffect.edge.errors import RunError
from fedaffect.server.federation.checkpoint import cannot_write
from fedaffect.server.federation.secagg.sum_ledger import Spread, Tally

_RUN, _ROUND, _ATTEMPT, _SURVIVORS = "run", "round", "attempt", "survivors"
_SPREAD, _WEIGHT, _PROFILE = "spread", "weight", "profile"


class Journal:
    """Attempts begun and sums closed, each on disk before the message that follows from it is sent; `SumLedger`.

    Parameters
    ----------
    path : Path
        Made when the first attempt begins.

    Raises
    ------
    RunError
        If it is damaged other than by a line that was never finished.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run = secrets.token_hex(16)
        self._attempts = 0
        self._closed: set[int] = set()
        self._spreads: dict[int, Spread] = {}
        if path.is_file():
            self._read()

    def begin(self, round_number: int) -> Session:
        """A new attempt at a round; no other ever had its number.

        Raises
        ------
        RunError
            If it cannot be written.
        """
        if not self._path.is_file():
            self._write({_RUN: self._run})
        self._attempts += 1
        self._write({_ROUND: round_number, _ATTEMPT: self._attempts})
        return Session(self._run, round_number, self._attempts)

    def about(self) -> Mapping[str, str | int]:
        """Nothing: where no registry numbers attempts, replies need not say which they answer."""
        return {}

    def check_keys(self, session: Session, client: int, signed: SignedKeys) -> None:
        """Take any: nobody certified a simulation's clients."""

    def record_outcome(self, client: int, reply: Message) -> str | None:
        """Accept any masked update: a simulation's clients neither forge nor repeat."""
        return None

    def end(self, session: Session, tally: Tally) -> None:
        """Nothing: who took part stands in the round's line."""

    def close(self, session: Session, survivors: Iterable[int]) -> None:
        """Say that unmasking begins, over these clients."""
        self._closed.add(session.round)
        self._write({_ROUND: session.round, _ATTEMPT: session.attempt, _SURVIVORS: sorted(survivors)})

    def learn(self, session: Session, spread: Spread) -> None:
        """Keep what a round's sums told, for the encoding of those after it."""
        self._spreads[session.round] = spread
        about = {_ROUND: session.round, _ATTEMPT: session.attempt}
        self._write({**about, _SPREAD: spread.change, _WEIGHT: spread.weight, _PROFILE: list(spread.profile)})

    def spread_before(self, round_number: int) -> Spread | None:
        """Changes as the newest round before this one had them, weights as the first: later ones may be cut off."""
        rounds = [number for number in sorted(self._spreads) if number < round_number]
        if not rounds:
            return None
        return replace(self._spreads[rounds[-1]], weight=self._spreads[rounds[0]].weight)

    def is_closed(self, round_number: int) -> bool:
        """Whether unmasking of a round ever began: no further sum over its updates may be taken."""
        return round_number in self._closed

    def _read(self) -> None:
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        try:
            # A line that the disk or a crash cut short was never acted upon.
            entries = [json.loads(line) for line in lines if line.endswith("\n")]
            if entries:
                self._run = str(entries[0][_RUN])
            for entry in entries[1:]:
                self._attempts = max(self._attempts, int(entry[_ATTEMPT]))
                if _SPREAD in entry:
                    self._spreads[int(entry[_ROUND])] = Spread(
                        float(entry[_SPREAD]), float(entry[_WEIGHT]), tuple(map(float, entry[_PROFILE]))
                    )
                if _SURVIVORS in entry:
                    self._closed.add(int(entry[_ROUND]))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self._path} is damaged ({error}); which rounds were unmasked is not known, start the run again"
            ) from error
        if lines and not lines[-1].endswith("\n"):
            os.truncate(self._path, sum(len(line.encode()) for line in lines[:-1]))
        if not entries:
            self._path.unlink()

    def _write(self, entry: dict[str, object]) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(json.dumps(entry).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self._path, error) from error
