"""What clients keep between rounds, two versions of it, so that a repeated round starts where it first did."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedaffect.client.layout import Values
from fedaffect.client.update import ClientState
from fedaffect.edge.errors import RunError
from fedaffect.edge.system.files import replacing

# In a file's metadata: the first round that ever left a state.
_FIRST = "first-round"


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
        """What ``client`` starts ``round`` with; None before its first.

        Raises
        ------
        RunError
            If it had something by then that newer rounds have displaced, or the file is damaged.
        """
        path = self.file_of(client)
        first, states = _read(path)
        _require_not_displaced(path, first, states, round)
        return newest_before(states, round)

    def require(self, round: int) -> None:
        """Check that every client can start ``round`` as it first did.

        Raises
        ------
        RunError
            As :meth:`load`, for any client.
        """
        for path in sorted(self.folder.glob("*.safetensors")):
            with _opened(path) as stored:
                rounds = {int(key.partition("/")[0]) for key in stored.keys()}  # noqa: SIM118 - no mapping
                _require_not_displaced(path, _first(stored), rounds, round)

    def save(self, client: int, state: ClientState) -> None:
        """Keep a new state; the file changes whole or not at all."""
        first, states = _read(self.file_of(client))
        tensors = {
            f"{number}/{name}": tensor.contiguous()
            for number, kept in last_two(states, state).items()
            for name, tensor in kept.tensors.items()
        }
        first = min({state.round, *states} if first is None else {state.round, first})
        # Not its parents: a worker that outlives its run must not bring back the run's deleted folder.
        self.folder.mkdir(exist_ok=True)
        import safetensors.torch

        with replacing(self.file_of(client)) as part:
            safetensors.torch.save_file(tensors, part, metadata={_FIRST: str(first)})

    def file_of(self, client: int) -> Path:
        """Where a client's states lie, if it has any."""
        return self.folder / f"{client}.safetensors"


def _read(path: Path) -> tuple[int | None, dict[int, ClientState]]:
    """The first round that ever left a state, None where the file does not say, and the states kept."""
    if not path.is_file():
        return None, {}
    with _opened(path) as stored:
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - no mapping
        return _first(stored), unpack_states(tensors)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as stored:
            yield stored
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"the kept state {path} is damaged ({error}); start the run again") from error


def _first(stored: Any) -> int | None:
    first = (stored.metadata() or {}).get(_FIRST)
    return None if first is None else int(first)


def _require_not_displaced(path: Path, first: int | None, kept: Collection[int], round: int) -> None:
    # A client first drawn in a round that is now repeated kept nothing before it, and starts with nothing again.
    if first is not None and first < round and all(number >= round for number in kept):
        raise RunError(
            f"{path} no longer has what its client kept before round {round}; "
            f"put back the checkpoint of round {min(kept)} or a later one, or start the run again"
        )


def unpack_states(tensors: Mapping[str, Values]) -> dict[int, ClientState]:
    """States by round, from tensors named ``round/name``."""
    by_round: dict[int, dict[str, Values]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition("/")
        by_round.setdefault(int(number), {})[name] = tensor
    return {number: ClientState(number, kept) for number, kept in by_round.items()}
