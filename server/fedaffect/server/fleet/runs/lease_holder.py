"""A run's lease, held as long as the process lives: acquired, renewed by a thread, released."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedaffect.edge.errors import FedAffectError, RunError
from fedaffect.server.registry import Registry, leases
from fedaffect.server.registry.errors import LeaseHeld, LeaseLost
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.retry import retry_while_away

logger = logging.getLogger("flwr")

LEASE_S: Final = 15.0
_RENEW_S: Final = 4.0
_WAIT_S: Final = 0.5
_LOST: Final = 3


@contextlib.contextmanager
def held_lease(registry: Registry, run_id: str, give_up_s: float = 4 * LEASE_S) -> Iterator[Lease]:
    """The lease of a run, renewed until the ``with`` ends.

    A process that loses it must write nothing more: it ends at once.

    Raises
    ------
    LeaseHeld
        If another process keeps it for longer than `give_up_s`.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    lease = _taken(registry, run_id, owner, give_up_s)
    over = threading.Event()
    renewal = threading.Thread(target=_renew, args=(registry, lease, over), name="lease", daemon=True)
    renewal.start()
    try:
        yield lease
    finally:
        over.set()
        renewal.join()
        with contextlib.suppress(FedAffectError):
            leases.release(registry, lease)


def _taken(registry: Registry, run_id: str, owner: str, give_up_s: float) -> Lease:
    until = time.monotonic() + give_up_s
    while True:
        try:
            return retry_while_away(lambda: leases.acquire(registry, run_id, owner, seconds=LEASE_S))
        except LeaseHeld:
            held = retry_while_away(lambda: leases.current(registry, run_id))
            if held is not None and is_dead(held.owner):
                # The process was killed before it released the lease.
                retry_while_away(functools.partial(leases.release, registry, held))
            elif time.monotonic() > until:
                raise
            else:
                time.sleep(_WAIT_S)


def is_dead(owner: str) -> bool:
    """Whether an owner was a process of this machine that is gone."""
    host, _, rest = owner.partition(":")
    number, _, _ = rest.partition(":")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        state = Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state in ("Z", "X")


def _renew(registry: Registry, lease: Lease, over: threading.Event) -> None:
    while not over.wait(_RENEW_S):
        try:
            leases.renew(registry, lease, seconds=LEASE_S)
        except LeaseLost as error:
            logger.error("%s", error)
            os._exit(_LOST)
        except FedAffectError as error:
            # Without the database nobody else can acquire the lease either.
            logger.warning("%s", error)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the run folder for this process, on this machine; the kernel releases it when the process is killed.

    Raises
    ------
    RunError
        If another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + LEASE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise RunError(f"{folder} is written to by another process; stop that one first") from error
                time.sleep(_WAIT_S)
        yield
    finally:
        os.close(descriptor)
