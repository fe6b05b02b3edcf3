"""Devices that a fleet must keep out, and that try to take part all the same as long as a ``with`` lasts."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType
from typing import Final

from tests.support.small_fleet import SmallFleet

from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.system.files import private_folder, write_private

UNREGISTERED, REVOKED = "unregistered", "revoked"
# Flower's SuperNode gives up when it is refused; each start takes seconds of a core.
_AGAIN_S: Final = 5.0


class Intruders:
    """A device with a key that the fleet never saw, and one whose key it has revoked, each at an honest partition.

    Both run Flower's own SuperNode, which nobody keeps from trying; it is started again whenever it gives up.

    Parameters
    ----------
    fleet : SmallFleet
    partition : int
        Whose place they would take.
    """

    def __init__(self, fleet: SmallFleet, partition: int) -> None:
        self._fleet = fleet
        self._partition = partition
        self._over = threading.Event()
        self._trying = threading.Thread(target=self._try, name="intruders", daemon=True)
        self.starts: Counter[str] = Counter()

    def __enter__(self) -> Intruders:
        stranger = private_folder(self._fleet.folder / UNREGISTERED)
        DeviceKey.make(stranger / "device.key")
        authority = (self._fleet.path / "authority" / "ca.pem").read_bytes()
        write_private(stranger / "authority.pem", authority, replace=True)
        self._fleet.enroll(REVOKED, self._partition)
        self._fleet.start(REVOKED)
        self._fleet.online(1)
        self._fleet.command("fleet", "revoke", REVOKED, "--fleet", str(self._fleet.path))
        self._fleet.stop(REVOKED)
        self._trying.start()
        return self

    def _try(self) -> None:
        while not self._over.wait(_AGAIN_S):
            for name in (UNREGISTERED, REVOKED):
                if not self._fleet.lives(name):
                    self._fleet.start_plain(name, self._partition)
                    self.starts[name] += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._trying.join()
