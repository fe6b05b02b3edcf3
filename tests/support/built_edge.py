"""The bundle that ``fedaffect bundle build`` makes, which takes a minute: built once for all test processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class BuiltEdge:
    """What a user has who built it: a cache with the bundle, and the key that signed it.

    Parameters
    ----------
    folder : Path
        Holds both.
    """

    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """Under which programs find both; tests share the cache, so no test may change the bundle in it."""
        return {f"FEDAFFECT_{kind}": str(self.folder / kind.lower()) for kind in ("CACHE", "CONFIG")}

    def build(self) -> None:
        """Build it as a user does, unless another test process did, or does so now and is waited for."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = self.folder / "done"
            if done.exists():
                return
            command = (sys.executable, "-c", "from fedaffect.edge.cli.main import main; main()", "bundle", "build")
            said = subprocess.run(
                command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
            )
            assert said.returncode == 0, said.stderr
            done.touch()


def built_edge_in(factory: pytest.TempPathFactory) -> BuiltEdge:
    """The one of this run of the tests."""
    folder = factory.getbasetemp()
    # The folders of the test processes lie beside each other.
    edge = BuiltEdge((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "built-edge")
    edge.build()
    return edge
