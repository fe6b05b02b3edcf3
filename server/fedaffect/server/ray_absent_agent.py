"""Runs where Ray starts its dashboard's agent: says that there is none, as Ray's own does without its dependencies.

Ray's scheduler of a machine registers it only once that agent, or this, has said at which ports it listens. Ray's own
imports all of Ray, aiohttp and the dashboard for that. Started by path, with nothing but the standard library.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

# As `ray.dashboard.agent` writes them: one file a port, with -1 for what is not there.
_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
_ABSENT = "-1"


def main() -> None:
    """Write the files, then live as long as what started it, which would end if this did."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--session-dir", type=Path, required=True)
    parser.add_argument("--node-id", required=True)
    args, _ = parser.parse_known_args()
    parent = os.getppid()
    if not _is_scheduler(parent):
        # It ended before this began, which then would wait for ever on whoever took it in.
        return
    for name in _PORTS:
        path = args.session_dir / f"{name}_{args.node_id}"
        written = path.with_name(f".{path.name}")
        written.write_text(_ABSENT)
        written.replace(path)
    while os.getppid() == parent:
        time.sleep(1)


def _is_scheduler(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("raylet")
    except OSError:
        return pid != 1


if __name__ == "__main__":
    main()
