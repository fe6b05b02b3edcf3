"""Checkpoints: one a round, whole or not at all. A round counts once its JSON stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from fedaffect.edge.errors import RunError
from fedaffect.edge.system.files import write_whole

_ARRAYS, _STATE = "arrays/", "state/"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that a run needs to go on after a round.

    Parameters
    ----------
    round : int
    arrays : mapping of str to float32 array
        Global parameters by name.
    state : mapping of str to array
        The strategy's memory, by the names of ``fedaffect.server.federation.strategies.state``.
    shape : mapping
        How that memory is put together.
    record : mapping
        The round's line of ``metrics.jsonl``.
    """

    round: int
    arrays: Mapping[str, NDArray[Any]]
    state: Mapping[str, NDArray[Any]]
    shape: Mapping[str, Mapping[str, Any]]
    record: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    folder : Path
        Holds ``round-00007.safetensors`` and ``round-00007.json`` of each committed round.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def commit(self, checkpoint: Checkpoint) -> None:
        """Write a round; until the last step of it the round before stays the newest.

        Raises
        ------
        RunError
            If the disk is full or the folder cannot be written.
        """
        tensors = {_ARRAYS + name: array for name, array in checkpoint.arrays.items()}
        tensors.update({_STATE + name: array for name, array in checkpoint.state.items()})
        # safetensors copies raw memory: a strided view would be written wrongly.
        data = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in tensors.items()})
        write_atomically(self._path(checkpoint.round, "safetensors"), data)
        about = {
            "round": checkpoint.round,
            "sha256": hashlib.sha256(data).hexdigest(),
            "strategy_state": checkpoint.shape,
            "record": checkpoint.record,
        }
        write_atomically(self._path(checkpoint.round, "json"), json.dumps(about).encode())

    def rounds(self) -> list[int]:
        """Committed rounds, ascending."""
        found = sorted(self.folder.glob("round-*.json"))
        return [int(p.stem.removeprefix("round-")) for p in found if p.with_suffix(".safetensors").is_file()]

    def load(self, round_number: int) -> Checkpoint:
        """Read a committed round.

        Raises
        ------
        RunError
            If it was never committed or is damaged.
        """
        path = self._path(round_number, "safetensors")
        try:
            about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise RunError(
                f"round {round_number} has no checkpoint in {self.folder}; it has {self._shown()}"
            ) from error
        except (OSError, ValueError) as error:
            raise self._damaged(round_number, error) from error
        if hashlib.sha256(data).hexdigest() != about.get("sha256"):
            raise self._damaged(round_number, "its hash differs")
        try:
            tensors = safetensors.numpy.load(data)
            return Checkpoint(
                round=int(about["round"]),
                arrays={n.removeprefix(_ARRAYS): t for n, t in tensors.items() if n.startswith(_ARRAYS)},
                state={n.removeprefix(_STATE): t for n, t in tensors.items() if n.startswith(_STATE)},
                shape=about["strategy_state"],
                record=about["record"],
            )
        except (safetensors.SafetensorError, KeyError) as error:
            raise self._damaged(round_number, error) from error

    def latest(self) -> Checkpoint | None:
        """The newest committed round, or None before the first."""
        rounds = self.rounds()
        return self.load(rounds[-1]) if rounds else None

    def keep_only(self, rounds: set[int]) -> None:
        """Drop all other rounds, the JSON first so that none is ever half there."""
        for round_number in self.rounds():
            if round_number not in rounds:
                self._path(round_number, "json").unlink(missing_ok=True)
                self._path(round_number, "safetensors").unlink(missing_ok=True)

    def _path(self, round_number: int, suffix: str) -> Path:
        return self.folder / f"round-{round_number:05d}.{suffix}"

    def _shown(self) -> str:
        rounds = self.rounds()
        return f"rounds {rounds[0]} to {rounds[-1]}" if rounds else "none"

    def _damaged(self, round_number: int, why: object) -> RunError:
        return RunError(
            f"the checkpoint of round {round_number} in {self.folder} is damaged ({why}); "
            f"delete its two files and resume from the round before"
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises
    ------
    RunError
        If the disk is full or the folder cannot be written; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> RunError:
    """The error for a file that the disk or its permissions refuse."""
    return RunError(
        f"cannot write {path} ({error.strerror or error}); make room or choose another place with --out, "
        f"then go on with --resume"
    )
