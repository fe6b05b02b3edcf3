"""What the processes of a fleet compute, by what they are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

# The first that a command line holds names its kind.
_KINDS: Final[Mapping[str, str]] = {
    "flwr-serverapp": "serverapp",
    # One with what it starts for every message, which is over before anybody looks.
    "flwr-clientapp": "superexec",
    "flower-superexec": "superexec",
    "fedaffect.server.fleet.superlink.program": "superlink",
    "fedaffect.server.fleet.superlink.gate": "gate",
    "fedaffect.server.fleet.api.serve": "service",
    "fedaffect.client.device.supernode": "supernode",
    "flower-supernode": "supernode",
    "fedaffect.client.device.resident": "trainer",
}
_OTHERS: Final = "others"


def processor_seconds(processes: Iterable[int]) -> Mapping[str, float]:
    """Processor seconds up to now by kind, with those of children that are over and were waited for.

    Parameters
    ----------
    processes : iterable of int
        Their numbers; what is gone is left out.
    """
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    ticks: Counter[str] = Counter()
    for pid in processes:
        try:
            kind = kind_of(pid)
            # After the name, which may hold spaces: state is field 3, utime, stime, cutime and cstime are 14 to 17.
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        ticks[kind] += sum(map(int, fields[11:15]))
    return {kind: tick_s * count for kind, count in ticks.items()}


def kind_of(pid: int) -> str:
    """What a process is; OSError where it is gone."""
    line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return next((kind for text, kind in _KINDS.items() if text in line), _OTHERS)


def a_round(before: Mapping[str, float], after: Mapping[str, float], rounds: int) -> dict[str, float]:
    """Processor seconds of each kind a round, between two looks."""
    return {kind: round((after[kind] - before.get(kind, 0.0)) / rounds, 3) for kind in sorted(after)}
