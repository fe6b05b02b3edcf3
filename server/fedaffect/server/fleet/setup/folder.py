"""The operator's folder of a fleet: settings, authority, certificate, token, databases, runs."""

from __future__ import annotations

import math
import os
import re
import secrets
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from fedaffect.client.protocol.names import checked_name
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import private_folder, read_private, write_private
from fedaffect.edge.system.folders import data_folder
from fedaffect.edge.system.toml_files import parse_toml, toml_text
from fedaffect.server.environment import FLEET_VARIABLE
from fedaffect.server.fleet.ports import SERVICE_PORT, SUPERLINK_PORT

if TYPE_CHECKING:
    from fedaffect.server.fleet.setup.authority import Authority

SETTINGS: Final = "fleet.toml"
# What a certificate can name (RFC 1123); other scripts as their A-labels.
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9][A-Za-z0-9._-]{0,250}")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _key(field: str) -> str:
    """The key of a field in the file."""
    return field.replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """Settings of a fleet, kept in ``fleet.toml``.

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
        Addresses from which Flower's Control and Runtime APIs may be used. The open edition of Flower has no accounts
        for operators: a caller that reaches those APIs can start runs and register nodes.
    largest_update_mb : float
        Requests to the SuperLink above this are refused.
    least_devices : int
        Of a fleet that is a region: it passes no sum over fewer devices up, since one over a single device is its
        update.
    connections_per_address, connections : int
        Open connections that each server holds, of one address (of IPv6 a /64) and altogether. Each device holds up to
        three; behind a gateway all of them have its address.
    unauthenticated_per_minute, all_unauthenticated_per_minute : int
        How many enrolments and refused requests the service answers, from one address and altogether. What an
        enrolled device signed, or the operator sent, is not counted.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "strict": True,
        "extra": "forbid",
        "allow_inf_nan": False,
        "alias_generator": _key,
    }

    name: str = "fleet"
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    listen: str = "0.0.0.0"  # noqa: S104 - devices are elsewhere; what only operators may do is asked from `operators`
    superlink_port: int = SUPERLINK_PORT
    service_port: int = SERVICE_PORT
    registry: str = ""
    operators: tuple[str, ...] = ("127.0.0.1", "::1")
    largest_update_mb: float = 64.0
    least_devices: int = 2
    connections_per_address: int = 256
    connections: int = 4096
    unauthenticated_per_minute: int = 60
    all_unauthenticated_per_minute: int = 600

    def __post_init__(self) -> None:
        checked_name(self.name, "fleet")
        if not self.hosts or not all(self.hosts):
            raise ConfigError("a fleet needs the names by which devices reach its server; give --host")
        for host in (*self.hosts, self.listen):
            if not _is_address(host) and not _HOST.fullmatch(host):
                raise ConfigError(f"{host[:80]!a} is no host; give a name such as fleet.example.org, or an address")
        for operator in self.operators:
            if not _is_address(operator):
                raise ConfigError(f"{operator[:80]!a} in operators is no address; give one such as 192.0.2.7")
        for port in (self.superlink_port, self.service_port):
            if not 0 < port < 65536:
                raise ConfigError(f"{port} is not a port; give one from 1 to 65535")
        if self.superlink_port == self.service_port:
            raise ConfigError("SuperLink and aggregator service cannot share a port; give two")
        if not 0 < self.largest_update_mb < math.inf:
            raise ConfigError("largest-update-mb must be above 0 and finite")
        if self.least_devices < 1:
            raise ConfigError("least-devices must be 1 or more; with 1 the root may see a single device's update")
        if not 1 <= self.connections_per_address <= self.connections:
            raise ConfigError("connections-per-address must be 1 or more, and connections no less than that")
        if min(self.unauthenticated_per_minute, self.all_unauthenticated_per_minute) < 1:
            raise ConfigError("unauthenticated-per-minute must be 1 or more, or no device could enrol")

    def to_toml(self) -> str:
        """As TOML, which :meth:`from_toml` reads back equal."""
        return toml_text({_key(name): value for name, value in asdict(self).items()})

    @classmethod
    def from_toml(cls, data: bytes | str, where: str = SETTINGS) -> FleetSettings:
        """Settings from TOML.

        Raises
        ------
        ConfigError
            If it is not TOML, has a key that is not a setting, or a value that does not fit.
        """
        from fedaffect.client.protocol.strict import read_values

        return read_values(cls, parse_toml(data, where), where)


@dataclass(frozen=True, slots=True)
class FleetFolder:
    """The folder of a fleet; mode 0700.

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
        from fedaffect.server.fleet.setup.authority import Authority

        path = private_folder(path.absolute())
        if not settings.registry:
            registry = f"sqlite:///{path / 'registry.db'}"
            settings = replace(settings, registry=registry)
        folder = cls(path, settings)
        Authority.create(path / "authority", settings.name)
        folder.renew_certificate()
        write_private(folder.token_path, (secrets.token_urlsafe(32) + "\n").encode())
        private_folder(folder.flower_home)
        write_private(folder.flower_home / "config.toml", folder.flower_config().encode())
        # Last: a folder without it is not a fleet.
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
        return cls(path, FleetSettings.from_toml(read_private(path / SETTINGS), str(path / SETTINGS)))

    def renew_certificate(self, *, days: float | None = None) -> None:
        """Replace the server certificate; running servers load the new one."""
        certificate, key = self.authority.issue(self.settings.hosts, days=days)
        # One file for both, as two cannot be replaced at once; the certificate alone is for readers.
        write_private(self.server_pem, key + certificate, replace=True)
        write_private(self.certificate_path, certificate, replace=True)
        write_private(self.key_path, key, replace=True)

    @property
    def authority(self) -> Authority:
        """The certificate authority of the servers."""
        from fedaffect.server.fleet.setup.authority import Authority

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
        """The token that the operator sends to the service."""
        return read_private(self.token_path).decode().strip()

    @property
    def flower_home(self) -> Path:
        """Flower's own folder; ``FLWR_HOME=… flwr`` connects to the fleet."""
        return self.path / "flwr"

    @property
    def runs(self) -> Path:
        """The folder of the run folders."""
        return self.path / "runs"

    @property
    def public(self) -> Path:
        """Where the operator may put public corpora, a folder each: runs replay them unless told otherwise."""
        return self.path / "public"

    @property
    def logs(self) -> Path:
        """The folder of log files."""
        return self.path / "logs"

    @property
    def superlink_socket(self) -> Path:
        """Socket of the SuperLink, for its gate alone."""
        return self.path / "superlink.sock"

    @property
    def gate_figures(self) -> Path:
        """Socket at which the gate tells its figures, for the service alone."""
        return self.path / "gate.sock"

    @property
    def superlink(self) -> str:
        """Address of the SuperLink's gate on this machine."""
        return f"127.0.0.1:{self.settings.superlink_port}"

    @property
    def service(self) -> str:
        """Address of the aggregator service on this machine."""
        return f"https://127.0.0.1:{self.settings.service_port}"

    def flower_config(self) -> str:
        """Flower's ``config.toml``: the connection that ``flwr run`` and ``flwr supernode`` take."""
        connection = {"address": self.superlink, "root-certificates": str(self.authority.certificate_path)}
        return toml_text({"superlink": {"default": "fleet", "fleet": connection}})
