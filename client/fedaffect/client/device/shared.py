"""What a device shared with its fleet, and when: for its user to see; the server never gets this file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fedaffect.edge.system.files import append_whole, write_private

# Beyond so many lines, the older half goes.
_MOST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Shared:
    """Something that left the device.

    Parameters
    ----------
    at_s : float
        Seconds since 1970.
    what : str
        ``update``, ``figures`` on its examples, or ``report`` of a new bundle.
    run : str
        The run, or the bundle that was reported on.
    round : int
        0 of a report.
    masked, noisy : bool
        Whether the server saw it in a sum only; whether it had noise of the device's own.
    """

    at_s: float
    what: str
    run: str
    round: int
    masked: bool
    noisy: bool


def note_shared(path: Path, shared: Shared) -> None:
    """Write a line down, readable by the device's user only."""
    if not path.exists():
        write_private(path, b"")
    append_whole(path, (json.dumps(asdict(shared)) + "\n").encode())
    lines = path.read_bytes().splitlines(keepends=True)
    if len(lines) > _MOST:
        write_private(path, b"".join(lines[-_MOST // 2 :]), replace=True)


def shared_so_far(path: Path) -> list[Shared]:
    """All that is written down, oldest first; a line that was cut short is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().split(os.linesep.encode()):
        try:
            found.append(Shared(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found
