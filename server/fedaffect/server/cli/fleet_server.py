"""`fedaffect fleet init`, `up` and `rotate`: the server's side."""

from __future__ import annotations

import json
import logging
import secrets
import shlex
from pathlib import Path

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.edge.errors import ConfigError
from fedaffect.server.cli.fleet_option import fleet_option
from fedaffect.server.cli.registry_option import registry_option
from fedaffect.server.fleet.ports import SERVICE_PORT, SUPERLINK_PORT


@click.command()
@fleet_option
@registry_option
@click.option("--name", default="fleet", show_default=True)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="Name or address that devices reach this machine by; may be given several times.  [default: localhost]",
)
@click.option("--listen", default=None, help="Address to listen at.  [default: all; 127.0.0.1 without --host]")
@click.option("--superlink-port", default=SUPERLINK_PORT, show_default=True)
@click.option("--service-port", default=SERVICE_PORT, show_default=True)
@click.option("--if-missing", is_flag=True, help="Leave a fleet that is there as it is.")
@json_option
def init(
    fleet_path: Path | None,
    registry_url: str | None,
    name: str,
    hosts: tuple[str, ...],
    listen: str | None,
    superlink_port: int,
    service_port: int,
    if_missing: bool,
    as_json: bool,
) -> None:
    """Make a fleet: authority, certificate, operator's token, settings; only you can read them."""
    from fedaffect.server.fleet.setup.folder import SETTINGS, FleetFolder, FleetSettings
    from fedaffect.server.registry import Registry, audit

    path = fleet_path or FleetFolder.default()
    if if_missing and (path / SETTINGS).is_file():
        found = FleetFolder.open(path)
        say(
            as_json,
            {"name": found.settings.name, "path": str(found.path)},
            f"the fleet in {found.path} is there already",
        )
        return
    local = ("localhost", "127.0.0.1")
    settings = FleetSettings(
        name=name,
        hosts=tuple(dict.fromkeys((*hosts, *local))),
        listen=listen or ("0.0.0.0" if hosts else "127.0.0.1"),  # noqa: S104 - devices are elsewhere
        superlink_port=superlink_port,
        service_port=service_port,
        registry=registry_url or "",
    )
    folder = FleetFolder.create(path, settings)
    with Registry.open(folder.settings.registry) as registry:
        audit.write(registry, "fleet.made", subject=name, actor="operator", hosts=list(settings.hosts))
    url = f"https://{settings.hosts[0]}:{service_port}"
    say(
        as_json,
        {"name": name, "path": str(folder.path), "url": url, "authority": str(folder.authority.certificate_path)},
        f"fleet {name} in {folder.path}; devices reach it at {url}",
        f"give devices {folder.authority.certificate_path}, and never {folder.authority.key_path}",
        f"next: fedaffect fleet up --fleet {shlex.quote(str(folder.path))}",
    )


@click.command()
@fleet_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def up(fleet_path: Path | None, as_json: bool) -> None:
    """Run the SuperLink, its gate and the aggregator service until interrupted; a process that ends is restarted."""
    from fedaffect.edge.system.findings import require
    from fedaffect.edge.system.processes import Supervisor, stop_on_signals
    from fedaffect.server.fleet.before_start import of_fleet
    from fedaffect.server.fleet.bringing_up import children_of, only_one, say_when_ready
    from fedaffect.server.fleet.setup.folder import FleetFolder

    folder = FleetFolder.open(fleet_path)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # One line a request of our own, about a look whether all is up.
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with only_one(folder):
        warnings = require(of_fleet(folder))
        supervisor = Supervisor(children_of(folder))
        stop_on_signals(supervisor.stop)

        def tell(line: str) -> None:
            click.echo(json.dumps({"says": line}, ensure_ascii=False) if as_json else line)

        for warning in warnings:
            tell(warning)
        tell(f"starting SuperLink and service of fleet {folder.settings.name}; logs in {folder.logs}")
        say_when_ready(folder, tell)
        supervisor.run()


@click.command()
@fleet_option
@click.option("--certificate", is_flag=True, help="A new server certificate; running servers load it.")
@click.option("--operator-token", is_flag=True, help="A new operator's token; the old one is refused at once.")
@json_option
def rotate(fleet_path: Path | None, certificate: bool, operator_token: bool, as_json: bool) -> None:
    """Renew the server's certificate or the operator's token without stopping the fleet."""
    from fedaffect.server.fleet.setup.folder import FleetFolder

    if not (certificate or operator_token):
        raise ConfigError("nothing to renew; give --certificate or --operator-token")
    from fedaffect.edge.system.files import write_private
    from fedaffect.server.checks import validity
    from fedaffect.server.registry import Registry, audit

    folder = FleetFolder.open(fleet_path)
    renewed: dict[str, str] = {}
    lines: list[str] = []
    with Registry.open(folder.settings.registry) as registry:
        if certificate:
            folder.renew_certificate()
            until = validity(folder.certificate_path)[1]
            audit.write(
                registry, "certificate.renewed", subject="server", actor="operator", not_after=until.isoformat()
            )
            renewed["certificate_until"] = until.isoformat()
            lines.append(f"the new certificate is valid until {until:%Y-%m-%d}")
        if operator_token:
            write_private(folder.token_path, (secrets.token_urlsafe(32) + "\n").encode(), replace=True)
            audit.write(registry, "operator.token-renewed", subject="operator", actor="operator")
            renewed["operator_token"] = str(folder.token_path)
            lines.append(f"the new token is in {folder.token_path}")
    say(as_json, renewed, *lines)
