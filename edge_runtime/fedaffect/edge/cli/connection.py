"""Options that commands share which talk to the cloud: where it is, who asks, and how the way is secured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.offload import PRIVACIES

if TYPE_CHECKING:
    from fedaffect.edge.cloud.client import CloudClient, TlsSettings

Command = Callable[..., Any]

_PEM: Final = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Connection:
    """Which cloud, and how to reach it.

    Parameters
    ----------
    address : str
        ``grpc[s]://HOST:PORT`` or ``http[s]://…``.
    api_key : str, optional
    tls : TlsSettings, optional
    named : bool
        Whether the command line names it, not only the environment.
    """

    address: str
    api_key: str | None
    tls: TlsSettings | None
    named: bool

    def open(self) -> CloudClient:
        """A client; nothing is sent yet.

        Raises
        ------
        ConfigError
            If the address is none, or TLS settings do not fit it.
        """
        # Here, not above: grpcio and httpx take a third of a second to import.
        from fedaffect.edge.cloud import connect

        return connect(self.address, self.api_key, self.tls)


def cloud_options(what: str, required: bool = False) -> Callable[[Command], Command]:
    """Add the options that say where the cloud is; the command takes them as ``cloud``, a `Connection` or None.

    Parameters
    ----------
    what : str
        What the command wants of the cloud, for its help.
    required : bool
        Whether the command can do nothing without one.
    """
    from fedaffect.edge.cloud.client import TlsSettings

    options = (
        click.option(
            "--cloud",
            metavar="ADDRESS",
            envvar="FEDAFFECT_CLOUD",
            required=required,
            help=f"{what}: grpc[s]://HOST:PORT or http[s]://…; or $FEDAFFECT_CLOUD.",
        ),
        click.option(
            "--api-key",
            envvar="FEDAFFECT_API_KEY",
            help="For the cloud; better given as $FEDAFFECT_API_KEY, as arguments are seen.",
        ),
        click.option("--authority", type=_PEM, help="PEM of the authority that vouches for the cloud."),
        click.option("--certificate", type=_PEM, help="PEM of this device's certificate, for mutual TLS."),
        click.option("--key", type=_PEM, help="PEM of its private key."),
    )

    def decorate(command: Command) -> Command:
        @wraps(command)
        def connected(
            *,
            cloud: str | None,
            api_key: str | None,
            authority: Path | None,
            certificate: Path | None,
            key: Path | None,
            **others: Any,
        ) -> Any:
            tls = TlsSettings(authority, certificate, key) if authority or certificate or key else None
            if cloud is None and tls is not None:
                raise ConfigError("--authority, --certificate and --key secure the way to a cloud; add --cloud ADDRESS")
            named = click.get_current_context().get_parameter_source("cloud") is ParameterSource.COMMANDLINE
            return command(cloud=None if cloud is None else Connection(cloud, api_key, tls, named), **others)

        decorated: Command = connected
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


privacy_option = click.option(
    "--privacy",
    type=click.Choice(sorted(PRIVACIES)),
    default="never",
    show_default=True,
    help="What may leave this device.",
)


def permitted(cloud: Connection | None, privacy: str) -> Connection | None:
    """The cloud, if anything may travel there; one that only the environment names is then left alone.

    Raises
    ------
    ConfigError
        If the command line names one, and nothing may leave the device.
    """
    if cloud is not None and privacy == "never":
        if cloud.named:
            raise ConfigError("--cloud is never asked with --privacy never; add --privacy features or --privacy raw")
        return None
    return cloud
