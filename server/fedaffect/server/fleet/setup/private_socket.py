"""Unix sockets in the fleet's private folder, which only processes of its own user reach."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedaffect.server.fleet.lasting_thread import LastingThread

# struct sockaddr_un has 108 bytes, one of them the end.
_LONGEST_PATH: Final = 107
# Of one telling: a reader that stops, or a teller that hangs, holds nobody up longer.
_TELL_S: Final = 2.0
_PIECE: Final = 65_536


def private_socket(path: Path) -> socket.socket:
    """A socket at a path, mode 0600; one that a killed process left behind makes way."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(short_path(path))
    finally:
        os.umask(before)
    return listener


def short_path(path: Path) -> str:
    """A path that fits into a socket's address, by way of an open descriptor of its folder where it is too long."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return str(path)
    return f"/proc/self/fd/{os.open(path.parent, os.O_PATH | os.O_DIRECTORY)}/{path.name}"


def tell_at(path: Path, what: Callable[[], bytes]) -> None:
    """Tell all who connect to a private socket something, and close the connection; from a thread that lasts.

    Parameters
    ----------
    path : Path
    what : callable
        Gives it, called for each caller.
    """

    def tell() -> None:
        with private_socket(path) as listener:
            listener.listen()
            while True:
                caller, _ = listener.accept()
                with caller:
                    caller.settimeout(_TELL_S)
                    try:
                        caller.sendall(what())
                    except OSError:
                        # Who hangs up does not want it.
                        continue

    LastingThread(f"teller at {path.name}", tell).start()


def heard_at(path: Path) -> bytes | None:
    """What `tell_at` tells in another process; None where nobody does."""
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_TELL_S)
            # Short whatever the folder is called.
            asking.connect(f"/proc/self/fd/{folder}/{path.name}")
            return b"".join(iter(lambda: asking.recv(_PIECE), b""))
    except OSError:
        return None
    finally:
        os.close(folder)
