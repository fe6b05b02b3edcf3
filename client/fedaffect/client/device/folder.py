"""A device's folder: its key, its settings, the authority it believes; private to its user."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from fedaffect.client.device.permission import LearningRules
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import private_folder, read_private, write_private
from fedaffect.edge.system.folders import data_folder

# Environment variable: the folder of the device that a process belongs to.
DEVICE_VARIABLE: Final = "FEDAFFECT_DEVICE"
SETTINGS: Final = "device.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """What ``device.toml`` says.

    Parameters
    ----------
    id, name : str
        As the fleet knows the device.
    number : int
        Its place in the order of enrolment: the partition id of its messages, from which its seeds derive.
    server : str
        ``https://HOST:PORT`` of the aggregator service.
    superlink : str
        ``HOST:PORT`` of Flower's SuperLink.
    consent : bool
        Whether its user lets it learn from what was labelled.
    partition : int
        Of a cohort that the server prepared, for devices on the server's machine; -1 for its own examples.
    epsilon, delta : float
        What it may spend of privacy over its lifetime, on rounds with noise of its own (``--dp local``).
    only_private : bool
        Whether it says no to rounds without such noise.
    profile, store : str
        Whose bundle it runs, and its example store; empty for the usual place.
    rules : LearningRules
    """

    id: str
    name: str
    number: int
    server: str
    superlink: str
    consent: bool = False
    partition: int = -1
    epsilon: float = 8.0
    delta: float = 1e-5
    only_private: bool = False
    profile: str = "edge"
    store: str = ""
    rules: LearningRules = field(default_factory=LearningRules)

    def to_toml(self) -> str:
        """As TOML, which :meth:`from_toml` reads back equal."""
        own = [f"{f.name} = {_toml(getattr(self, f.name))}" for f in fields(self) if f.name != "rules"]
        rules = [f"{f.name} = {_toml(getattr(self.rules, f.name))}" for f in fields(self.rules)]
        return "\n".join([*own, "", "[rules]", *rules]) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> DeviceSettings:
        """Settings from TOML.

        Raises
        ------
        ConfigError
            If it is not TOML or has a key that is no setting.
        """
        try:
            given: dict[str, Any] = tomllib.loads(text)
            return cls(**{**given, "rules": LearningRules(**given.get("rules", {}))})
        except (tomllib.TOMLDecodeError, TypeError) as error:
            raise ConfigError(f"the device's {SETTINGS} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class DeviceFolder:
    """Where everything of a device lies; mode 0700.

    Parameters
    ----------
    path : Path
    """

    path: Path

    @classmethod
    def default(cls) -> Path:
        """``$FEDAFFECT_DEVICE``, or ``device`` beside the device's examples."""
        given = os.environ.get(DEVICE_VARIABLE)
        if given:
            return Path(given)
        return data_folder() / "device"

    @classmethod
    def at(cls, path: Path | None = None) -> DeviceFolder:
        """The folder, made private; `default` if not given."""
        return cls(private_folder((path or cls.default()).absolute()))

    @property
    def settings(self) -> DeviceSettings:
        """What the device was told.

        Raises
        ------
        ConfigError
            If it is not enrolled.
        """
        if not self.enrolled:
            raise ConfigError(f"{self.path} is no enrolled device; fedaffect device enroll --device {self.path} …")
        return DeviceSettings.from_toml(read_private(self.path / SETTINGS).decode())

    @property
    def enrolled(self) -> bool:
        """Whether the fleet has taken it in."""
        return (self.path / SETTINGS).is_file()

    def save(self, settings: DeviceSettings) -> None:
        """Keep settings."""
        write_private(self.path / SETTINGS, settings.to_toml().encode(), replace=True)

    def change(self, **changes: Any) -> DeviceSettings:
        """Keep settings with some of them changed."""
        settings = replace(self.settings, **changes)
        self.save(settings)
        return settings

    def forget(self) -> None:
        """Leave the fleet: the settings go, and the private key with them."""
        for path in (self.path / SETTINGS, self.key_path, self.next_key_path, self.rotating_path):
            path.unlink(missing_ok=True)

    @property
    def key_path(self) -> Path:
        """The device's private key; it never leaves the device."""
        return self.path / "device.key"

    @property
    def next_key_path(self) -> Path:
        """The private key that is to take its place, while `fedaffect.client.device.rotating` is at it."""
        return self.path / "device.key.next"

    @property
    def rotating_path(self) -> Path:
        """There from the beginning of a change of keys to its end."""
        return self.path / "device.key.rotating"

    @property
    def authority_path(self) -> Path:
        """PEM of the authority that vouches for the server."""
        return self.path / "authority.pem"

    @property
    def socket_path(self) -> Path:
        """Where the resident trainer listens."""
        return self.path / "run" / "trainer.sock"

    @property
    def secret_path(self) -> Path:
        """What SuperNode and trainer share, so that no other user of the machine gets the device's tasks."""
        return self.path / "run" / "runtime.secret"

    @property
    def flower_home(self) -> Path:
        """Flower's own folder."""
        return self.path / "flwr"

    @property
    def states(self) -> Path:
        """What the device keeps from round to round of a run."""
        return self.path / "states"

    @property
    def sums(self) -> Path:
        """What it remembers of secure sums: secrets of the one under way, and which rounds were unmasked."""
        return self.path / "sums"

    @property
    def ledger_path(self) -> Path:
        """What it has spent of privacy, across runs and fleets."""
        return self.path / "privacy.db"

    @property
    def logs(self) -> Path:
        """Where its processes write."""
        return self.path / "logs"


def _toml(value: Any) -> str:
    # JSON's strings, numbers and booleans are TOML's.
    return json.dumps(value, ensure_ascii=True)
