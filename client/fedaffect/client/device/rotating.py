"""A device changes its own key and stays in the fleet; whatever is killed in the middle, the same command goes on.

The new key is made beside the old one, registered with a request that the old one signs, put in its place, and the old
one is then revoked with a request that the new one signs. Until that both count. Light: imports no torch.
"""

from __future__ import annotations

from fedaffect.client.device.errors import DeviceRefusedError
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.service import FleetService
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.system.files import write_private

REGISTER, RETIRE = "/v1/device/key", "/v1/device/key/retire"


def rotate(folder: DeviceFolder) -> bool:
    """Change the device's key. A device at work notices, and its SuperNode starts anew with it.

    Parameters
    ----------
    folder : DeviceFolder

    Returns
    -------
    bool
        Whether this finished a change that was begun before.

    Raises
    ------
    DeviceRefusedError
        If the device was revoked, or its key no longer counts.
    ServiceAway
        If the service or its SuperLink cannot be reached: both keys are kept, say it again.
    """
    begun = folder.rotating_path.exists()
    if not begun:
        # A key of an earlier change is none of this one.
        folder.next_key_path.unlink(missing_ok=True)
        write_private(folder.rotating_path, b"")
    if not begun or folder.next_key_path.exists():
        _replace(folder)
    key = DeviceKey.read(folder.key_path)
    _say(folder, key, RETIRE, {"public_key": key.public})
    folder.rotating_path.unlink(missing_ok=True)
    return begun


def _replace(folder: DeviceFolder) -> None:
    """Have the fleet know the new key, then put it in the old one's place."""
    path = folder.next_key_path
    new = DeviceKey.read(path) if path.exists() else DeviceKey.make(path)
    said = {"public_key": new.public, "proof": new.prove(folder.settings.id)}
    try:
        _say(folder, DeviceKey.read(folder.key_path), REGISTER, said)
    except DeviceRefusedError as refused:
        # It may have run out since the fleet took the new one in, which then speaks for itself.
        try:
            _say(folder, new, RETIRE, {"public_key": new.public})
        except DeviceRefusedError:
            raise refused from None
    path.replace(folder.key_path)


def _say(folder: DeviceFolder, key: DeviceKey, path: str, said: dict[str, str]) -> None:
    settings = folder.settings
    with FleetService(settings.server, folder.authority_path, key, settings.id) as service:
        service.post(path, said)
