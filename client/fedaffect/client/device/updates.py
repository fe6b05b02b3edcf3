"""Bundles from the fleet: fetched, checked, installed, evaluated on the device's own examples, rolled back.

The key that signs the fleet's bundles is trusted at enrolment; a bundle with another signature is not installed, nor
one older than what is in use, unless the fleet has withdrawn that.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedaffect.client.device.errors import DeviceRefusedError
from fedaffect.client.device.events import OnEvent, nobody
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.service import FleetService
from fedaffect.client.device.shared import Shared, note_shared
from fedaffect.client.device.spending import noisy_count
from fedaffect.client.privacy.ledger import BudgetError
from fedaffect.edge.bundle import Bundle, BundleStore, usual_bundle_path
from fedaffect.edge.calibration.from_examples import predictions_of_examples
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.examples_renewal import renew_examples
from fedaffect.edge.store import Database, ExampleStore
from fedaffect.edge.system.files import write_private

logger = logging.getLogger(__name__)

_METRIC: Final = "accuracy"
# As a rollout's.
_TOLERANCE: Final = 0.02
_REMEMBERED: Final = 50
_WITHDRAWN: Final = "the fleet took it back"


@dataclass(frozen=True, slots=True)
class Counted:
    """How many of a device's own examples two bundles answer right; it never leaves as it is without ``--any``.

    Parameters
    ----------
    before, after : int
        Of the bundle that the device had, and of the new one.
    examples : int
    """

    before: int
    after: int
    examples: int

    @property
    def is_worse(self) -> bool:
        """Whether the new one loses this user more than an example and more than two in a hundred."""
        return self.before - self.after > max(1.0, _TOLERANCE * self.examples)

    def __str__(self) -> str:
        return f"{self.before} of {self.examples} examples right before, {self.after} after"


class Updates:
    """Keeps a device at the bundle that its fleet names.

    Parameters
    ----------
    folder : DeviceFolder
    store : BundleStore, optional
        The usual one of the device's profile if not given.
    on_event : callable, optional
        Told of ``bundle`` and ``left``: see `fedaffect.client.device.events`.
    """

    def __init__(self, folder: DeviceFolder, store: BundleStore | None = None, on_event: OnEvent = nobody) -> None:
        self._folder = folder
        self._on_event = on_event
        self._store = store or BundleStore.default(folder.settings.profile)

    def follow(self, service: FleetService, answer: dict[str, Any]) -> None:
        """Follow the fleet's answer: roll back a bundle that was withdrawn, or install the one offered.

        Raises
        ------
        BundleError
            If the bundle is not sound or not of the fleet; the one in use stays.
        """
        current, version = self._store.current(), answer.get("bundle")
        withdrawn = answer.get("withdrawn", ())
        if current is not None and current.version in withdrawn:
            before = self._store.versions()[1:2]
            none = not before or before[0] in withdrawn
            if none and version and version not in withdrawn and version not in declined(self._folder):
                self._take_up(service, str(version), current, allow_older=True)
            else:
                self._go_back(current, _WITHDRAWN)
            return
        if not version or (current is not None and current.version == version):
            return
        if version in declined(self._folder) or version == left_by_its_user(self._folder, self._store):
            return
        self._take_up(service, str(version), current)

    def _take_up(
        self, service: FleetService, version: str, before: Bundle | None, *, allow_older: bool = False
    ) -> None:
        tar = self._folder.path / "run" / "bundle.tar"
        try:
            service.download(f"/v1/device/bundles/{version}", tar)
            taken = self._store.install(tar, allow_older=allow_older)
        finally:
            tar.unlink(missing_ok=True)
        write_private(self._folder.followed_path, taken.version.encode(), replace=True)
        logger.info("bundle %s is in use now", taken.version)
        self._renew(taken)
        before = before or _built(self._folder.settings.profile)
        counted = None if before is None else self._compare(before, taken)
        self._on_event("bundle", {"version": taken.version, **({} if counted is None else asdict(counted))})
        if counted is None:
            return
        judged = {"version": taken.version, **asdict(counted)}
        write_private(self._folder.judged_path, json.dumps(judged).encode(), replace=True)
        self._report(service, taken, counted)
        current = self._store.current(verify=False)
        if counted.is_worse and current is not None and current.version == taken.version:
            logger.warning("bundle %s is worse for this device's user: %s", taken.version, counted)
            _decline(self._folder, taken.version)
            self._go_back(taken, "it is worse for this device's user")

    def _report(self, service: FleetService, taken: Bundle, counted: Counted) -> None:
        """Report the metric of both on this device's labelled examples, and roll back if asked to."""
        figures = self._as_it_may_leave(taken.version, counted)
        if figures is None:
            return
        noisy = self._folder.settings.only_private
        note_shared(
            self._folder.shared_path, Shared(time.time(), "report", taken.version, 0, masked=False, noisy=noisy)
        )
        try:
            answer = service.post("/v1/device/evaluation", {"version": taken.version, **figures})
        except DeviceRefusedError as error:
            # The bundle goes to everybody by now, so that nobody asks.
            logger.info("%s", error)
            return
        if answer.get("state") == "rolled-back":
            self._go_back(taken, _WITHDRAWN)

    def _compare(self, before: Bundle, taken: Bundle) -> Counted | None:
        settings = self._folder.settings
        if not settings.consent:
            # Even how often a bundle was right is something about its user.
            return None
        with Database(Path(settings.store) if settings.store else None) as database:
            examples = ExampleStore(database)
            try:
                one, other = (predictions_of_examples(examples, bundle) for bundle in (before, taken))
            except (DataError, BundleError) as error:
                logger.info("the new bundle is not compared: %s", error)
                return None
        if len(one.labels) != len(other.labels):
            return None
        was, now = (int(np.sum(found.logits.argmax(1) == found.labels)) for found in (one, other))
        return Counted(was, now, len(one.labels))

    def _renew(self, bundle: Bundle) -> None:
        """Encode examples again that a bundle before made features of, by other encoders."""
        store = self._folder.settings.store
        with Database(Path(store) if store else None) as database:
            renewal = renew_examples(ExampleStore(database), bundle)
        if renewal.renewed or renewal.left:
            logger.info("%s", renewal)

    def _as_it_may_leave(self, version: str, counted: Counted) -> dict[str, Any] | None:
        """Accuracies; with noise, only by how much they differ, as that is what the fleet decides by."""
        was, now, examples = counted.before, counted.after, counted.examples
        if not self._folder.settings.only_private:
            return {"metric": _METRIC, "before": was / examples, "after": now / examples, "examples": examples}
        try:
            more, deviation = noisy_count(self._folder, f"bundle {version}", now - was)
        except BudgetError as error:
            logger.info("nothing is reported of the new bundle: %s", error)
            return None
        half = min(1.0, max(-1.0, more / examples)) / 2
        return {
            "metric": _METRIC,
            "before": 0.5 - half,
            "after": 0.5 + half,
            "examples": examples,
            "noise": min(1.0, deviation / examples),
        }

    def _go_back(self, bundle: Bundle, why: str) -> None:
        # Offered again, it is taken again: nobody here left it.
        self._folder.followed_path.unlink(missing_ok=True)
        try:
            back = self._store.rollback()
            logger.warning("bundle %s was rolled back; %s is in use again", bundle.version, back.version)
            self._on_event("left", {"version": bundle.version, "why": why})
            self._renew(back)
        except BundleError as error:
            logger.warning("bundle %s was rolled back, and there is no earlier one: %s", bundle.version, error)


def judged(folder: DeviceFolder) -> dict[str, Any] | None:
    """The bundle that was compared last, as `Counted` with its ``version``; None before the first."""
    if not folder.judged_path.is_file():
        return None
    found: dict[str, Any] = json.loads(folder.judged_path.read_bytes())
    return found


def declined(folder: DeviceFolder) -> list[str]:
    """Versions that this device does not take again, oldest first."""
    if not folder.declined_path.is_file():
        return []
    return [str(version) for version in json.loads(folder.declined_path.read_bytes())]


def left_by_its_user(folder: DeviceFolder, store: BundleStore) -> str | None:
    """The fleet's bundle that this device took up last, where its user has another one in use since; else None.

    It is not taken up again: that would undo what a person chose, and each report of it costs budget.
    """
    if not folder.followed_path.is_file():
        return None
    followed, kept = folder.followed_path.read_text(encoding="utf-8"), store.versions()
    return followed if followed in kept[1:] else None


def _decline(folder: DeviceFolder, version: str) -> None:
    versions = [*declined(folder), version][-_REMEMBERED:]
    write_private(folder.declined_path, json.dumps(versions).encode(), replace=True)


def _built(profile: str) -> Bundle | None:
    try:
        return Bundle.load(usual_bundle_path(profile))
    except BundleError:
        return None
