"""A device at work: the resident trainer and Flower's SuperNode kept alive, and the fleet asked now and then.

What the fleet answers when asked: whether the device is still enrolled, and which bundle it should run.
"""

from __future__ import annotations

import logging
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from fedaffect.client.device.certifying import certify_if_due
from fedaffect.client.device.errors import DeviceRefusedError, DeviceRevokedError, ServiceAway
from fedaffect.client.device.events import OnEvent, nobody
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.ports import RUNTIME_PORT, free_port
from fedaffect.client.device.service import FleetService
from fedaffect.client.device.shared import shared_so_far
from fedaffect.client.device.spending import part_to_report, spent_by_run
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.files import private_folder, write_private
from fedaffect.edge.system.only_one import only_one
from fedaffect.edge.system.processes import Child, Supervisor

logger = logging.getLogger(__name__)

_ASK_EVERY_S: Final = 30.0
_SOON_S: Final = 2.0
# While it waits for the operator's approval.
_WAITING_S: Final = 10.0
_LATELY_S: Final = 120.0
_LOOK_S: Final = 0.5


def children_of(folder: DeviceFolder) -> list[Child]:
    """The two processes of a device."""
    private_folder(folder.flower_home)
    private_folder(folder.secret_path.parent)
    write_private(folder.secret_path, secrets.token_bytes(32), replace=True)
    flower = {"FLWR_HOME": str(folder.flower_home)}
    meeting = {RUNTIME_PORT: str(free_port()), "OMP_NUM_THREADS": "1"}
    return [
        Child(
            "trainer",
            (sys.executable, "-m", "fedaffect.client.device.resident", str(folder.path)),
            flower | meeting,
            folder.logs / "trainer.log",
        ),
        Child(
            "supernode",
            (sys.executable, "-m", "fedaffect.client.device.supernode", str(folder.path)),
            flower | meeting,
            folder.logs / "supernode.log",
        ),
    ]


class DeviceAtWork:
    """Runs a device until it is stopped, or its fleet no longer has it.

    Parameters
    ----------
    folder : DeviceFolder
    offered : callable, optional
        Called with the fleet's service and what it answered, to take up a bundle that it offers.
    on_event : callable, optional
        Told of ``shared``, ``approved`` and ``revoked``: see `fedaffect.client.device.events`.
    """

    def __init__(
        self,
        folder: DeviceFolder,
        offered: Callable[[FleetService, dict[str, Any]], None] | None = None,
        on_event: OnEvent = nobody,
    ) -> None:
        self._folder = folder
        self._offered = offered
        self._supervisor = Supervisor(children_of(folder))
        self._stop = threading.Event()
        self._approved = threading.Event()
        if not folder.settings.waiting:
            self._approved.set()
        self._reported = 0
        self._on_event = on_event
        self._told_until_s = time.time()
        self._told_of: tuple[int, int] | None = None
        self.refused: DeviceRefusedError | None = None

    def run(self) -> None:
        """Work.

        Raises
        ------
        DeviceRefusedError
            If the fleet revoked the device; the message says why.
        RunError
            If another process has it at work: the two would take each other's rounds.
        """
        with only_one(
            self._folder.at_work_path, f"device {self._folder.settings.name!r} is at work already; end that one first"
        ):
            self._work()

    def _work(self) -> None:
        if self._folder.rotating_path.exists():
            logger.warning(
                "a change of this device's key was begun and not finished, and the old key soon counts no more; "
                "say: fedaffect device rotate --device %s",
                self._folder.path,
            )
        asking = threading.Thread(target=self._ask, name="fleet", daemon=True)
        asking.start()
        threading.Thread(target=self._watch_key, name="key", daemon=True).start()
        # Flower does not know it before; what asks the fleet notes that it does.
        while not (self._approved.wait(_LOOK_S) or self._stop.is_set()):
            pass
        self._supervisor.run()
        if self.refused is not None:
            raise self.refused

    def stop(self) -> None:
        """Have :meth:`run` end."""
        self._stop.set()
        self._supervisor.stop()

    def _watch_key(self) -> None:
        """Restart the SuperNode when the device's key was changed: it reads it once."""
        key = self._folder.key_path
        known = key.read_bytes()
        while not self._stop.wait(_LOOK_S):
            if key.is_file() and (found := key.read_bytes()) != known:
                known = found
                logger.info("the device has a new key")
                self._supervisor.restart("supernode")

    def _ask(self) -> None:
        while not self._stop.is_set():
            key = self._key()
            try:
                self._ask_once()
            except DeviceRefusedError as error:
                if self._key() != key:
                    # It was asked with a key that the device changed meanwhile.
                    continue
                if isinstance(error, DeviceRevokedError):
                    write_private(self._folder.revoked_path, str(error).encode(), replace=True)
                    self._on_event("revoked", {"why": str(error)})
                self.refused = error
                self.stop()
                return
            except ServiceAway as error:
                logger.warning("%s", error)
            except FedAffectError as error:
                logger.error("%s", error)
            self._wait()

    def _wait(self) -> None:
        """Until the fleet is to be asked again: soon where this device shared something, for what came of it."""
        began = time.monotonic()
        usual_s = _ASK_EVERY_S if self._approved.is_set() else _WAITING_S
        while not self._stop.wait(_LOOK_S):
            self._tell_what_was_shared()
            waited = time.monotonic() - began
            if waited > (_SOON_S if self._shared_lately() else usual_s):
                return

    def _tell_what_was_shared(self) -> None:
        """The trainer, another process, writes it down."""
        path = self._folder.shared_path
        if self._on_event is nobody or not path.exists():
            return
        # Not against the clock: a file's time may lie a few milliseconds behind it.
        found = path.stat()
        if (state := (found.st_mtime_ns, found.st_size)) == self._told_of:
            return
        self._told_of = state
        for one in shared_so_far(path):
            if one.at_s > self._told_until_s:
                self._told_until_s = one.at_s
                self._on_event("shared", asdict(one))

    def _shared_lately(self) -> bool:
        path = self._folder.shared_path
        return path.exists() and time.time() - path.stat().st_mtime < _LATELY_S

    def _key(self) -> bytes:
        path = self._folder.key_path
        return path.read_bytes() if path.is_file() else b""

    def _ask_once(self) -> None:
        settings = self._folder.settings
        key = DeviceKey.read(self._folder.key_path)
        with FleetService(settings.server, self._folder.authority_path, key, settings.id) as service:
            part, reported = part_to_report(spent_by_run(self._folder), self._reported)
            answer = service.post("/v1/device", {"consent": settings.consent, "privacy": part})
            self._reported = reported
            if settings.waiting:
                self._folder.change(waiting=False)
                logger.info("the fleet's operator has approved this device")
                self._on_event("approved", {})
            self._approved.set()
            certify_if_due(self._folder, service)
            if self._offered is not None:
                self._offered(service, answer)
