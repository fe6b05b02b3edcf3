"""The operator's folder of a fleet: settings, authority, certificate, token, databases, runs."""

from __future__ import annotations

import os
import secrets
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import private_folder, read_private, write_private
from fedaffect.edge.system.folders import data_folder
from fedaffect.server.fleet.setup.authority import SERVER_DAYS, Authority

# Environment variable: the folder of the fleet that a process belongs to.
FLEET_VARIABLE: Final = "FEDAFFECT_FLEET"
SETTINGS: Final = "fleet.toml"
# Flower's own defaults are taken by whatever else runs Flower on the machine.
SUPERLINK_PORT: Final = 9440
SERVICE_PORT: Final = 9441


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What ``fleet.toml`` says.

    Parameters
    ----------
    name : str
    hosts : tuple of str
        Names and addresses that devices reach the servers by; the certificate names them.
    listen : str
        Address that the servers listen at.
    superlink_port, service_port : int
    registry : str
        URL of the registry's database.
    operators : tuple of str
        Addresses from which Flower's Control and Runtime APIs may be used. The open edition of Flower knows no
        operators' accounts: whoever reaches those APIs can start runs and register nodes.
    largest_update_mb : float
        Requests to the SuperLink above this are refused.
    strangers_per_minute, all_strangers_per_minute : int
        How often the service listens to enrolments and to requests that it refuses, from one address and altogether.
        What an enrolled device signed, or the operator sent, is not counted.
    """

    name: str = "fleet"
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    listen: str = "0.0.0.0"  # noqa: S104 - devices are elsewhere; what only operators may do is asked from `operators`
    superlink_port: int = SUPERLINK_PORT
    service_port: int = SERVICE_PORT
    registry: str = ""
    operators: tuple[str, ...] = ("127.0.0.1", "::1")
    largest_update_mb: float = 64.0
    strangers_per_minute: int = 60
    all_strangers_per_minute: int = 600

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ConfigError("a fleet wants the names that devices reach its server by; give --host")
        for port in (self.superlink_port, self.service_port):
            if not 0 < port < 65536:
                raise ConfigError(f"{port} is no port; give one from 1 to 65535")
        if self.superlink_port == self.service_port:
            raise ConfigError("SuperLink and aggregator service cannot share a port; give two")
        if self.largest_update_mb <= 0:
            raise ConfigError("largest_update_mb must be above 0, or no update would ever arrive")
        if min(self.strangers_per_minute, self.all_strangers_per_minute) < 1:
            raise ConfigError("strangers_per_minute must be 1 or more, or no device could ever enrol")

    def to_toml(self) -> str:
        """As TOML, which :meth:`from_toml` reads back equal."""
        lines = []
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, tuple):
                value = "[" + ", ".join(_quoted(item) for item in value) + "]"
            elif isinstance(value, str):
                value = _quoted(value)
            lines.append(f"{name.replace('_', '-')} = {value}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> FleetSettings:
        """Settings from TOML.

        Raises
        ------
        ConfigError
            If it is not TOML or has a key that is no setting.
        """
        try:
            given: dict[str, Any] = {
                k.replace("-", "_"): tuple(v) if isinstance(v, list) else v for k, v in tomllib.loads(text).items()
            }
            return cls(**given)
        except (tomllib.TOMLDecodeError, TypeError) as error:
            raise ConfigError(f"the fleet's {SETTINGS} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class FleetFolder:
    """Where everything of a fleet lies; mode 0700.

    Parameters
    ----------
    path : Path
    settings : FleetSettings
    """

    path: Path
    settings: FleetSettings

    @classmethod
    def default(cls) -> Path:
        """``$FEDAFFECT_FLEET``, or ``fleet`` in the server's data folder."""
        given = os.environ.get(FLEET_VARIABLE)
        return Path(given) if given else data_folder() / "fleet"

    @classmethod
    def create(cls, path: Path, settings: FleetSettings) -> FleetFolder:
        """A new fleet: authority, server certificate, operator's token, settings.

        Raises
        ------
        RunError
            If there is a fleet already, or the folder cannot be written.
        """
        path = private_folder(path.absolute())
        if not settings.registry:
            registry = f"sqlite:///{path / 'registry.db'}"
            settings = FleetSettings(**{**{n: getattr(settings, n) for n in settings.__slots__}, "registry": registry})
        folder = cls(path, settings)
        Authority.create(path / "authority", settings.name)
        folder.renew_certificate()
        write_private(folder.token_path, (secrets.token_urlsafe(32) + "\n").encode())
        private_folder(folder.flower_home)
        write_private(folder.flower_home / "config.toml", folder.flower_config().encode())
        # Last: a folder without it is not taken for a fleet.
        write_private(path / SETTINGS, settings.to_toml().encode())
        return folder

    @classmethod
    def open(cls, path: Path | None = None) -> FleetFolder:
        """The fleet in a folder, `default` if not given.

        Raises
        ------
        ConfigError
            If there is none.
        """
        path = (path or cls.default()).absolute()
        if not (path / SETTINGS).is_file():
            raise ConfigError(f"{path} has no {SETTINGS}; make a fleet there: fedaffect fleet init --fleet {path}")
        return cls(path, FleetSettings.from_toml(read_private(path / SETTINGS).decode()))

    def renew_certificate(self, hosts: Sequence[str] = (), *, days: float = SERVER_DAYS) -> None:
        """Put a new server certificate in place; running servers take it up by themselves."""
        certificate, key = self.authority.issue(hosts or self.settings.hosts, days=days)
        # One file for both, as two cannot be replaced at once; the certificate alone is for who only reads it.
        write_private(self.server_pem, key + certificate, replace=True)
        write_private(self.certificate_path, certificate, replace=True)
        write_private(self.key_path, key, replace=True)

    @property
    def authority(self) -> Authority:
        """Vouches for the servers."""
        return Authority(self.path / "authority")

    @property
    def server_pem(self) -> Path:
        """Private key and certificate of the servers."""
        return self.path / "server.pem"

    @property
    def certificate_path(self) -> Path:
        """The servers' certificate."""
        return self.path / "server.crt"

    @property
    def key_path(self) -> Path:
        """The servers' private key."""
        return self.path / "server.key"

    @property
    def token_path(self) -> Path:
        """The operator's token."""
        return self.path / "operator.token"

    def operator_token(self) -> str:
        """What the operator shows to the service."""
        return read_private(self.token_path).decode().strip()

    @property
    def flower_home(self) -> Path:
        """Flower's own folder; ``FLWR_HOME=… flwr`` finds the fleet there."""
        return self.path / "flwr"

    @property
    def runs(self) -> Path:
        """Where run folders lie."""
        return self.path / "runs"

    @property
    def logs(self) -> Path:
        """Where processes write."""
        return self.path / "logs"

    @property
    def superlink(self) -> str:
        """Where this machine reaches the SuperLink."""
        return f"127.0.0.1:{self.settings.superlink_port}"

    @property
    def service(self) -> str:
        """Where this machine reaches the aggregator service."""
        return f"https://127.0.0.1:{self.settings.service_port}"

    def flower_config(self) -> str:
        """Flower's ``config.toml``: the connection that ``flwr run`` and ``flwr supernode`` take."""
        return (
            '[superlink]\ndefault = "fleet"\n\n[superlink.fleet]\n'
            f"address = {_quoted(self.superlink)}\n"
            f"root-certificates = {_quoted(str(self.authority.certificate_path))}\n"
        )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
