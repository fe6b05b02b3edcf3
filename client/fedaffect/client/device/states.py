"""What a device keeps from round to round of a run, on its own disk: Flower's node keeps it in memory only."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Final

from flwr.app import RecordDict

from fedaffect.client.flower_compat.records import record_from_bytes, record_to_bytes
from fedaffect.edge.system.files import private_folder, write_private

# Runs come and go; a device that takes part in one now and then keeps the newest.
_KEPT: Final = 4


class DeviceStates:
    """One file a run.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, run: str) -> RecordDict | None:
        """What the device kept in a run; None before its first round."""
        path = self._path(run)
        if not path.is_file():
            return None
        return record_from_bytes(path.read_bytes())

    def save(self, run: str, state: RecordDict) -> None:
        """Keep it, whole or not at all; of the runs before, the newest few stay."""
        private_folder(self._folder)
        write_private(self._path(run), record_to_bytes(state), replace=True)
        files = sorted(self._folder.glob("*.state"), key=lambda path: path.stat().st_mtime_ns)
        for path in files[:-_KEPT]:
            path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Keep nothing any more."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, run: str) -> Path:
        # A run's id comes from the server: it must not become a path elsewhere, nor two long ones the same.
        return self._folder / f"{sha256(run.encode()).hexdigest()}.state"
