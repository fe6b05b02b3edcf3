"""A place that one process at a time works in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedaffect.edge.errors import RunError


@contextmanager
def only_one(lock: Path, taken: str) -> Iterator[None]:
    """Hold a lock file as long as the ``with`` lasts; it goes with the process, too.

    Parameters
    ----------
    lock : Path
        Made where it is not there.
    taken : str
        What the error says where another process holds it.

    Raises
    ------
    RunError
    """
    # Here, because Windows has no such module.
    import fcntl

    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(taken) from None
        yield


def is_held(lock: Path) -> bool:
    """Whether a process holds it."""
    if not lock.exists():
        return False
    try:
        with only_one(lock, ""):
            return False
    except RunError:
        return True
