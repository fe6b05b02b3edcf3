"""A device changes its own key and stays in the fleet; a change that was interrupted is resumed by the same command.

The new key is made beside the old one, registered with a request that the old one signs, put in its place, and the old
one is then revoked with a request that the new one signs. Until then both are valid. Light: imports no torch.
"""

from __future__ import annotations

from fedaffect.client.device.certifying import certify_if_due
from fedaffect.client.device.errors import DeviceRefusedError
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.service import FleetService
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.system.files import write_private

REGISTER, RETIRE = "/v1/device/key", "/v1/device/key/retire"


def rotate(folder: DeviceFolder) -> bool:
    """Change the device's key. A running device notices, and restarts its SuperNode with it.

    Parameters
    ----------
    folder : DeviceFolder

    Returns
    -------
    bool
        Whether this resumed a change that was interrupted.

    Raises
    ------
    DeviceRefusedError
        If the device was revoked, or its key is no longer valid.
    ServiceAway
        If the service or its SuperLink cannot be reached: both keys are kept, repeat the call.
    """
    begun = folder.rotating_path.exists()
    if not begun:
        # A key that an earlier change left is not used.
        folder.next_key_path.unlink(missing_ok=True)
        write_private(folder.rotating_path, b"")
    if not begun or folder.next_key_path.exists():
        _replace(folder)
    key = DeviceKey.read(folder.key_path)
    _say(folder, key, RETIRE, {"public_key": key.public})
    folder.rotating_path.unlink(missing_ok=True)
    with FleetService(folder.settings.server, folder.authority_path, key, folder.settings.id) as service:
        certify_if_due(folder, service)
    return begun


def _replace(folder: DeviceFolder) -> None:
    """Register the new key with the fleet, then replace the old one."""
    path = folder.next_key_path
    new = DeviceKey.read(path) if path.exists() else DeviceKey.make(path)
    said = {"public_key": new.public, "proof": new.prove(folder.settings.id)}
    try:
        _say(folder, DeviceKey.read(folder.key_path), REGISTER, said)
    except DeviceRefusedError as refused:
        # The old key may have expired since the fleet added the new one, which then signs for itself.
        try:
            _say(folder, new, RETIRE, {"public_key": new.public})
        except DeviceRefusedError:
            raise refused from None
    path.replace(folder.key_path)


def _say(folder: DeviceFolder, key: DeviceKey, path: str, said: dict[str, str]) -> None:
    settings = folder.settings
    with FleetService(settings.server, folder.authority_path, key, settings.id) as service:
        service.post(path, said)
