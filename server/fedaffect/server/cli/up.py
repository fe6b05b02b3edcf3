"""`fedaffect up` and `fedaffect down`: all of it on this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from fedaffect.edge.cli.facts import json_option, say

_LOOK_S: Final = 0.25

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where all of it lives, and goes on from.  [default: system in the data folder]",
)


@click.command()
@_folder
@click.option("--devices", type=click.IntRange(0, 8), default=2, show_default=True, help="0: no fleet either.")
@click.option("--rest-port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Page and REST.")
@click.option("--grpc-port", type=click.IntRange(1, 65535), default=8081, show_default=True)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Run folders of simulations that the page shows.",
)
@click.option(
    "--database",
    type=click.Choice(("postgresql", "sqlite")),
    help="Kept from the first time on.  [default: PostgreSQL where it is installed, a cluster of its own]",
)
@click.option(
    "--detach", is_flag=True, help="Come back once it is ready, or where it is up already; fedaffect down ends it."
)
@json_option
def up(
    folder: Path | None,
    devices: int,
    rest_port: int,
    grpc_port: int,
    runs: Path,
    database: str | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Bring up a whole system for this machine: page, inference server, a fleet with devices.

    With PostgreSQL, Prometheus and Grafana, where these are installed. All of it listens at 127.0.0.1 only and needs no
    key. What it writes stays in --folder, and the next `up` goes on from there. The page's operator account has its
    password in a file that only you can read.

    \b
      fedaffect bundle build --if-missing       the bundle that devices begin with
      fedaffect up                              until Ctrl-C
      fedaffect up --detach --devices 0         page and inference server alone, in the background
      fedaffect down
    """  # noqa: D301
    from fedaffect.edge.bundle import Bundle, usual_bundle_path
    from fedaffect.edge.system.processes import stop_on_signals
    from fedaffect.server.demo.system import LocalSystem, Wanted

    system = LocalSystem(folder or LocalSystem.default_folder())
    bundle = Bundle.load(usual_bundle_path())
    if detach:
        if not system.is_up:
            _in_background(system)
        _show(system, as_json)
        return
    stop_on_signals(system.stop)

    def tell(line: str) -> None:
        click.echo(line, err=True)
        if line.startswith("ready"):
            _show(system, as_json)

    wanted = Wanted(devices=devices, rest_port=rest_port, grpc_port=grpc_port, runs=runs, database=database)
    system.run(bundle, wanted, tell)


@click.command()
@_folder
@json_option
def down(folder: Path | None, as_json: bool) -> None:
    """End what `fedaffect up` brought up on this machine; nothing that it wrote is deleted."""
    from fedaffect.server.demo.system import LocalSystem

    system = LocalSystem(folder or LocalSystem.default_folder())
    system.end()
    say(as_json, {"folder": str(system.folder)}, f"down; all of it is kept in {system.folder}")


def _in_background(system: Any) -> None:
    """Start this command again without --detach, and wait until the system is up."""
    from fedaffect.edge.errors import RunError
    from fedaffect.server.demo.machines import FEDAFFECT

    system.folder.mkdir(parents=True, exist_ok=True)
    arguments = [each for each in sys.argv[1:] if each not in ("--detach", "--json")]
    log = system.folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - this command itself
            (*FEDAFFECT, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    told = 0
    while process.poll() is None:
        # What it shows once it is ready is shown by this process, too.
        lines = log.read_text(encoding="utf-8", errors="replace").partition("\nready")[0].splitlines()
        for line in lines[told:]:
            if not line.startswith("error: "):
                click.echo(line, err=True)
        told = len(lines)
        if system.is_up:
            return
        time.sleep(_LOOK_S)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [f"see {log}"]
    raise RunError(lines[-1].removeprefix("error: "))


def _show(system: Any, as_json: bool) -> None:
    state = system.state
    fleet = f"fleet     fedaffect fleet status --fleet {state['fleet']}" if state["fleet"] else "fleet     none"
    say(
        as_json,
        state,
        f"page      {state['page']}",
        f"REST      {state['rest']}",
        f"gRPC      {state['grpc']}",
        fleet,
        f"database  {state['database']}",
        f"figures   {state['prometheus'] or 'none'}",
        f"drawn     {state['grafana'] or 'none'}",
        f"account   {state['account']}, password in {state['password_file']}",
        "end it    fedaffect down",
    )
