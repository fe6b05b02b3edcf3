"""What clients keep between rounds, two versions of it, so that a repeated round starts where it first did."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor

from client.task import ClientState
from edge_runtime.errors import RunError


def newest_before(states: Mapping[int, ClientState], round: int) -> ClientState | None:
    """The newest state that an earlier round left."""
    earlier = [number for number in states if number < round]
    return states[max(earlier)] if earlier else None


def last_two(states: Mapping[int, ClientState], new: ClientState) -> dict[int, ClientState]:
    """The new state and the newest one before its round; all others are forgotten."""
    before = newest_before(states, new.round)
    return {state.round: state for state in (before, new) if state is not None}


class StateFolder:
    """States of simulated clients, one file a client.

    Parameters
    ----------
    folder : Path
        Created when first written to; the folder around it must be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, client: int, round: int) -> ClientState | None:
        """What ``client`` starts ``round`` with."""
        return newest_before(self._read(client), round)

    def save(self, client: int, state: ClientState) -> None:
        """Keep a new state; the file changes whole or not at all."""
        tensors = {
            f"{number}/{name}": tensor.contiguous()
            for number, kept in last_two(self._read(client), state).items()
            for name, tensor in kept.tensors.items()
        }
        # Not its parents: a worker that outlives its run must not bring back the run's deleted folder.
        self.folder.mkdir(exist_ok=True)
        part = self.folder / f".{client}.{os.getpid()}"
        safetensors.torch.save_file(tensors, part)
        part.replace(self._path(client))

    def _path(self, client: int) -> Path:
        return self.folder / f"{client}.safetensors"

    def _read(self, client: int) -> dict[int, ClientState]:
        path = self._path(client)
        if not path.is_file():
            return {}
        try:
            tensors = safetensors.torch.load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            raise RunError(f"the kept state {path} is damaged ({error}); start the run anew") from error
        return unpack_states(tensors)


def unpack_states(tensors: Mapping[str, Tensor]) -> dict[int, ClientState]:
    """States by round, from tensors named ``round/name``."""
    by_round: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition("/")
        by_round.setdefault(int(number), {})[name] = tensor
    return {number: ClientState(number, kept) for number, kept in by_round.items()}
