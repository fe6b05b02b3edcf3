"""What a device remembers of secure sums from message to message, on its own disk and nobody else's to read.

It is there before the answer leaves, so that a trainer killed between two messages goes on where it was, and one killed
after unmasking never helps to unmask the round again. Flower's node, which keeps it in memory only, never sees it.
Light: imports no torch.
Secrets go when they were used, when the next attempt begins, or when an attempt has taken too long; what stays is which
round was unmasked. Files are deleted, not overwritten: a disk may keep what was deleted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.memory import Memory
from fedaffect.edge.system.files import private_folder, read_private, write_private

logger = logging.getLogger(__name__)

# Longer than the four stages of an attempt wait for anybody.
SECRETS_S: Final = 3600.0
# Runs of which a device knows what it helped to unmask.
_KEPT: Final = 64


class SumMemory:
    """One file a run, mode 0600.

    Parameters
    ----------
    folder : Path
    now : callable, optional
        Seconds since the epoch.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now

    def load(self, run: str) -> bytes | None:
        """What is remembered of a run's secure sums; None before the first."""
        self.expire()
        path = self._path(run)
        return read_private(path) if path.is_file() else None

    def save(self, run: str, memory: bytes) -> None:
        """Keep it, whole or not at all, before the answer that follows from it leaves.

        Raises
        ------
        RunError
            If it cannot be written: the answer must not leave then.
        """
        self._save(self._path(run), memory)

    def expire(self, older_s: float = SECRETS_S) -> None:
        """Delete the secrets of attempts without a message for so long."""
        for path in self._folder.glob("*.json"):
            # By the absolute difference, as the clock may have been set back.
            if abs(self._now() - path.stat().st_mtime) >= older_s:
                self._strip(path)

    def _strip(self, path: Path) -> None:
        try:
            memory = Memory.from_bytes(read_private(path))
        except SecAggError as error:
            # Its own run is refused because of it; others go on.
            logger.warning("%s: %s", path, error)
            return
        if not memory.forgotten:
            self._save(path, memory.without_secrets().to_bytes())

    def _save(self, path: Path, memory: bytes) -> None:
        private_folder(self._folder)
        write_private(path, memory, replace=True)
        files = sorted(self._folder.glob("*.json"), key=lambda each: each.stat().st_mtime_ns)
        for old in files[:-_KEPT]:
            old.unlink(missing_ok=True)

    def _path(self, run: str) -> Path:
        # A run's id comes from the server: it must not become a path elsewhere, nor two long ones the same.
        return self._folder / f"{sha256(run.encode()).hexdigest()}.json"
