"""A device's folder: its key, its settings, the authority that it trusts; private to its user."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

from fedaffect.client.device.engine import AUTO, ENGINES
from fedaffect.client.device.permission import LearningRules
from fedaffect.client.protocol.names import checked_name
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.system.files import private_folder, read_private, write_private
from fedaffect.edge.system.folders import data_folder
from fedaffect.edge.system.toml_files import parse_toml, toml_text

# Environment variable: the folder of the device that a process belongs to.
DEVICE_VARIABLE: Final = "FEDAFFECT_DEVICE"
SETTINGS: Final = "device.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """Settings of a device, kept in ``device.toml``.

    Parameters
    ----------
    id, name : str
        As the fleet knows the device.
    number : int
        The partition id of its messages, from which its seeds derive, as the fleet gave it.
    server : str
        ``https://HOST:PORT`` of the aggregator service.
    superlink : str
        ``HOST:PORT`` of Flower's SuperLink.
    consent : bool
        Whether its user lets it learn from what was labelled.
    partition : int
        Of a cohort that the server prepared, for devices on the server's machine; -1 for its own examples.
    epsilon, delta : float
        Privacy budget of its lifetime, for rounds with noise of its own (``--dp local``).
    only_private : bool
        Whether no number about its examples leaves it without such noise: it refuses rounds without, and exact
        figures. Enrolment sets it for devices that learn from their own examples; the partition of a cohort that the
        server prepared is the server's already.
    only_secagg : bool
        Whether it refuses to train where its update would not be masked (``--secagg``), or where a neighbour's keys are
        not signed by a device that the fleet's authority certified.
    profile, store : str
        Whose bundle it runs, and its example store; empty for the usual place.
    rules : LearningRules
    engine : {"auto", "torch", "onnx"}
        What it learns with: torch, or the training step of its bundle, which needs none; auto takes torch where it is
        installed.
    waiting : bool
        Whether the fleet's operator has not approved it yet; it takes part in nothing until then.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}

    id: str
    name: str
    number: int
    server: str
    superlink: str
    consent: bool = False
    partition: int = -1
    epsilon: float = 8.0
    delta: float = 1e-5
    only_private: bool = True
    only_secagg: bool = False
    profile: str = "edge"
    store: str = ""
    rules: LearningRules = field(default_factory=LearningRules)
    engine: str = AUTO
    waiting: bool = False

    def __post_init__(self) -> None:
        checked_name(self.name, "device")
        if self.engine not in ENGINES:
            raise unknown_name("engine", self.engine, ENGINES)
        if not (self.epsilon >= 0 and 0 <= self.delta < 1):
            raise ConfigError(f"epsilon {self.epsilon:g} must be 0 or more, and delta {self.delta:g} in [0, 1)")

    def to_toml(self) -> str:
        """As TOML, which :meth:`from_toml` reads back equal."""
        return toml_text(asdict(self))

    @classmethod
    def from_toml(cls, data: bytes | str, where: str = SETTINGS) -> DeviceSettings:
        """Settings from TOML.

        Raises
        ------
        ConfigError
            If it is not TOML, has a key that is not a setting, or a value that does not fit.
        """
        from fedaffect.client.protocol.strict import read_values

        return read_values(cls, parse_toml(data, where), where)


@dataclass(frozen=True, slots=True)
class DeviceFolder:
    """The folder of a device; mode 0700.

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

    @classmethod
    def open(cls, path: Path | None = None) -> DeviceFolder:
        """The folder of an enrolled device, `default` if not given; nothing is made.

        Raises
        ------
        ConfigError
            If the device is not enrolled.
        """
        folder = cls((path or cls.default()).absolute())
        _ = folder.settings
        return folder

    @property
    def settings(self) -> DeviceSettings:
        """The device's settings.

        Raises
        ------
        ConfigError
            If it is not enrolled.
        """
        if not self.enrolled:
            raise ConfigError(f"{self.path} is not a device's folder; run fedaffect device enroll --device {self.path}")
        return DeviceSettings.from_toml(read_private(self.path / SETTINGS), str(self.path / SETTINGS))

    @property
    def enrolled(self) -> bool:
        """Whether the fleet has taken it in."""
        return (self.path / SETTINGS).is_file()

    def save(self, settings: DeviceSettings) -> None:
        """Write settings."""
        write_private(self.path / SETTINGS, settings.to_toml().encode(), replace=True)

    def change(self, **changes: Any) -> DeviceSettings:
        """Write the settings with some of them changed."""
        settings = replace(self.settings, **changes)
        self.save(settings)
        return settings

    def forget(self) -> None:
        """Delete the settings, the private keys and what vouches for them."""
        keys = (self.key_path, self.next_key_path, self.rotating_path, self.certificate_path)
        for path in (self.path / SETTINGS, *keys, self.revoked_path):
            path.unlink(missing_ok=True)

    @property
    def key_path(self) -> Path:
        """The device's private key; it never leaves the device."""
        return self.path / "device.key"

    @property
    def next_key_path(self) -> Path:
        """The private key that replaces it, while `fedaffect.client.device.rotating` is at work."""
        return self.path / "device.key.next"

    @property
    def rotating_path(self) -> Path:
        """Exists from the beginning of a change of keys to its end."""
        return self.path / "device.key.rotating"

    @property
    def revoked_path(self) -> Path:
        """What the fleet said when it refused this device for good; exists from then on."""
        return self.path / "revoked"

    @property
    def certificate_path(self) -> Path:
        """PEM of what the fleet's authority says about the device's key, for its neighbours in secure sums."""
        return self.path / "device.pem"

    @property
    def authority_path(self) -> Path:
        """PEM of the authority that signed the server's certificate."""
        return self.path / "authority.pem"

    @property
    def secret_path(self) -> Path:
        """Secret that SuperNode and trainer share, so that no other user of the machine gets the device's tasks."""
        return self.path / "run" / "runtime.secret"

    @property
    def flower_home(self) -> Path:
        """Flower's own folder."""
        return self.path / "flwr"

    @property
    def at_work_path(self) -> Path:
        """Lock of the process that has this device at work."""
        return self.path / "at-work.lock"

    @property
    def states(self) -> Path:
        """State of the device from round to round of a run."""
        return self.path / "states"

    @property
    def sums(self) -> Path:
        """State of secure sums: secrets of the one under way, and which rounds were unmasked."""
        return self.path / "sums"

    @property
    def ledger_path(self) -> Path:
        """Ledger of its privacy budget, across runs and fleets."""
        return self.path / "privacy.db"

    @property
    def declined_path(self) -> Path:
        """Bundles of the fleet that answered fewer of this device's examples right than the one before."""
        return self.path / "declined.json"

    @property
    def judged_path(self) -> Path:
        """How the newest bundle of the fleet that was compared did on this device's examples; it stays here."""
        return self.path / "judged.json"

    @property
    def followed_path(self) -> Path:
        """The bundle of the fleet that this device took up last."""
        return self.path / "followed"

    @property
    def shared_path(self) -> Path:
        """What left this device for its fleet, a line each."""
        return self.path / "shared.jsonl"

    @property
    def logs(self) -> Path:
        """The folder of log files."""
        return self.path / "logs"
