"""What the operator does with devices that enrolled: list, approve, group and label them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.server.fleet.api.messages import Approval, Grouping, Labelling, Selection
from fedaffect.server.fleet.api.report import device_facts
from fedaffect.server.registry import Registry, devices, groups

logger = logging.getLogger(__name__)


class OperatorsDevices:
    """The operator's side of a fleet's devices.

    Parameters
    ----------
    registry : Registry
    register : callable
        Makes a device known to Flower.
    """

    def __init__(self, registry: Registry, register: Callable[[devices.Device], None]) -> None:
        self._registry = registry
        self._register = register

    def select(self, wanted: Selection) -> dict[str, Any]:
        """Devices that fit, in the order they came."""
        return _listed(
            device
            for device in devices.every(self._registry)
            if (wanted.status is None or device.status == wanted.status)
            and (wanted.group is None or device.group == wanted.group)
            and (wanted.label is None or wanted.label in device.labels)
        )

    def approve(self, request: Approval) -> dict[str, Any]:
        """Let devices take part, here and then with Flower.

        Raises
        ------
        ConfigError
            If nobody is named.
        """
        named = list(request.devices)
        if request.waiting:
            named += [
                device.id
                for device in devices.every(self._registry)
                if device.status == "waiting" and request.group in (None, device.group)
            ]
        elif not named:
            raise ConfigError("no device is named; name some, or say --all for all that wait")
        approved = groups.approve(self._registry, named)
        for device in approved:
            try:
                self._register(device)
            except FedAffectError as error:
                logger.warning("%s is approved; Flower gets to know it later: %s", device.id, error)
        return _listed(approved)

    def group(self, request: Grouping) -> dict[str, Any]:
        """Put devices into a group."""
        return _listed(groups.set_group(self._registry, request.devices, request.group))

    def label(self, request: Labelling) -> dict[str, Any]:
        """Change devices' labels."""
        return _listed(groups.set_labels(self._registry, request.devices, request.add, request.remove))


def _listed(found: Iterable[devices.Device]) -> dict[str, Any]:
    return {"devices": [device_facts(device) for device in found]}
