"""A region's node in its root's fleet: it takes orders, hands each to the region's own run, and answers with the sum.

Run as ``python -m fedaffect.server.fleet.regions.node FLEET_FOLDER``, beside the SuperNode whose tasks it takes.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from flwr.app import ConfigRecord, Context, Error, Message, MessageType

from fedaffect.client.device.errors import DeviceRefusedError, DeviceRevokedError
from fedaffect.client.device.executor import Executor
from fedaffect.client.device.ports import runtime_port
from fedaffect.client.device.service import FleetService
from fedaffect.client.flower_compat.names import ErrorCode
from fedaffect.client.flower_compat.tasks import TaskQueue
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.client.wire import CONFIG, REFUSED, RUN
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.files import read_private
from fedaffect.edge.system.processes import end_with_parent, stop_on_signals
from fedaffect.server.federation.regions.order import REGION
from fedaffect.server.federation.regions.packing import packed, unpacked
from fedaffect.server.fleet.api.operator_client import Operator
from fedaffect.server.fleet.errors import RegionError
from fedaffect.server.fleet.lasting_thread import LastingThread
from fedaffect.server.fleet.regions.joining import close_parts, note_state, region_of
from fedaffect.server.fleet.regions.orders import Orders
from fedaffect.server.fleet.runs.root_regions import REGION_RUN, WITHIN
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.json_log import log_to_stderr
from fedaffect.server.registry import Registry, devices, runs
from fedaffect.server.registry.retry import open_when_back

logger = logging.getLogger(__name__)

_REPORT_S: Final = 10.0
# What passing an answer up may take of the time that the root waits for it.
_PASSING_UP_S: Final = 1.0
# Of a root that says something else.
_LONGEST_S: Final = 86_400.0


class RegionAnswers:
    """Answers to the root's messages.

    Parameters
    ----------
    fleet : FleetFolder
        The region's.
    registry : Registry
        The region's.
    """

    def __init__(self, fleet: FleetFolder, registry: Registry) -> None:
        self._fleet, self._registry = fleet, registry
        self.answered = self.failed = 0

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer one message; an error reply where it is no order, or the order cannot be carried out."""
        try:
            reply = self._reply(message)
        except FedAffectError as error:
            self.failed += 1
            logger.warning("an order could not be carried out: %s", error)
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=message)
        self.answered += 1
        return reply

    def _reply(self, message: Message) -> Message:
        asked = message.content.config_records.get(CONFIG, ConfigRecord())
        about = message.content.config_records.get(REGION)
        if about is None or RUN not in asked:
            return Message(Error(REFUSED, "a region carries orders out, and this message is none"), reply_to=message)
        run_id = region_run_id(str(asked[RUN]))
        if message.metadata.message_type == MessageType.QUERY:
            runs.create(
                self._registry,
                run_id=run_id,
                config=_settings(str(asked[RUN]), about),
                data_statement="a region's part of a run of its root's fleet",
                actor="root",
            )
        run = runs.get(self._registry, run_id)
        if run.state != "open":
            raise RegionError(f"its part of this run is {run.state} ({run.reason or 'by its root'}); start another run")
        # Not from now on: an order may have waited while this process was away, and its root waits no longer for that.
        within_s = min(float(about[WITHIN]), _LONGEST_S) - _PASSING_UP_S  # type: ignore[arg-type]
        answer = self.orders(run_id).ask(unpacked(message.content), message.metadata.created_at + within_s)
        return Message(packed(answer), reply_to=message)

    def orders(self, run_id: str) -> Orders:
        """Those of one of the region's runs."""
        return Orders.of(self._fleet.path, run_id)


def region_run_id(root_run: str) -> str:
    """What a region calls its part of a root's run.

    Raises
    ------
    RegionError
        If the root's name of it is too long, or is none that a run may have.
    """
    run_id = f"root-{root_run}"
    # Folders and files are named by it; `root-` alone would make a path of one that begins otherwise.
    if not runs.RUN_ID.fullmatch(root_run) or not runs.RUN_ID.fullmatch(run_id):
        raise RegionError(
            "a root's run has a name of up to 59 letters, digits, dots, dashes and underscores; give it another --name"
        )
    return run_id


def _settings(root_run: str, about: ConfigRecord) -> dict[str, Any]:
    return {
        REGION_RUN: root_run,
        "rounds": int(about["rounds"]),  # type: ignore[arg-type]
        "gather-s": float(about["gather-s"]),  # type: ignore[arg-type]
        "own": bool(about["own"]),
    }


class Reports:
    """Tells the root how many devices there are, and asks it which runs are over.

    Parameters
    ----------
    fleet : FleetFolder
    registry : Registry
    answers : RegionAnswers
    """

    def __init__(self, fleet: FleetFolder, registry: Registry, answers: RegionAnswers) -> None:
        self._fleet, self._registry, self._answers = fleet, registry, answers

    def run(self) -> None:
        """Report until the process ends; a root or a database that is away is asked again."""
        while True:
            state = self.state()
            note_state(self._fleet, state=state, answered=self._answers.answered, failed=self._answers.failed)
            time.sleep(_REPORT_S)

    def state(self) -> str:
        """How one report went, in words."""
        try:
            self.report()
        except DeviceRevokedError as error:
            close_parts(self._registry, "the root has revoked this region")
            return f"is refused: {error}"
        except DeviceRefusedError as error:
            return f"is refused: {error}"
        except (FedAffectError, OSError) as error:
            logger.warning("%s", error)
            return f"cannot reach its root: {error}"
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            logger.exception("what the root answers is no answer to a report")
            return f"cannot read its root's answer ({type(error).__name__}); run the same version of fedaffect on both"
        return "is connected"

    def report(self) -> None:
        """One report."""
        folder = region_of(self._fleet)
        settings, key = folder.settings, DeviceKey.read(folder.key_path)
        # Before the root is asked: a run that is opened meanwhile is not known there yet.
        open_ = runs.every(self._registry, "open")
        with FleetService(settings.server, folder.authority_path, key, settings.id) as service:
            answer = service.post("/v1/region", self._devices())
        for run in open_:
            if (root_run := run.config.get(REGION_RUN)) is not None:
                known = answer["runs"].get(root_run, {"state": "unknown there", "committed": 0})
                if known["state"] != "open":
                    facts = {"state": str(known["state"]), "committed": int(known["committed"])}
                    self._answers.orders(run.id).close(facts)

    def _devices(self) -> dict[str, int]:
        enrolled = [device for device in devices.every(self._registry) if device.status == "enrolled"]
        with Operator.of(self._fleet) as operator:
            online = sum(device["online"] for device in operator.post("/v1/status")["devices"])
        return {
            "devices": len(enrolled),
            "online": online,
            "numbers": 1 + max((device.partition for device in enrolled), default=-1),
        }


def main(fleet: FleetFolder) -> None:
    """Answer this region's SuperNode until told to stop."""
    # A handler must not wait for the loop that it interrupts.
    stop_on_signals(lambda: os._exit(0))
    with open_when_back(fleet.settings.registry, subject="region", actor="region") as registry:
        Orders.forget_all(fleet.path)
        answers = RegionAnswers(fleet, registry)
        LastingThread("reports", Reports(fleet, registry, answers).run).start()
        queue = TaskQueue(f"127.0.0.1:{runtime_port()}", read_private(region_of(fleet).secret_path))
        Executor(queue, answers).run()


if __name__ == "__main__":
    log_to_stderr()
    end_with_parent()
    try:
        main(FleetFolder.open(Path(sys.argv[1])))
    except FedAffectError as error:
        logger.error("%s", error)
        raise SystemExit(2) from error
