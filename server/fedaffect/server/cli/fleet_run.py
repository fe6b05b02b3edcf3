"""`fedaffect fleet run`: have the fleet learn."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import click

from fedaffect.edge.errors import ConfigError, RunError
from fedaffect.server.cli.fleet_option import fleet_option
from fedaffect.server.fleet.api.operator_client import Operator
from fedaffect.server.fleet.setup.folder import FleetFolder

_LOOK_S: Final = 1.0


@click.command()
@fleet_option
@click.option("--rounds", type=int, help="Rounds in all.")
@click.option("--name", help="Of the run.  [default: made from the settings]")
@click.option("--dataset", help="Corpus that the server evaluates on, and that says the labels.  [default: synthetic]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Its folder, in its official layout.")
@click.option("--partition", help="How the corpus becomes clients.")
@click.option(
    "--cohort-folder", type=click.Path(path_type=Path, exists=True), help="A cohort that is prepared already."
)
@click.option("--strategy", help="fedavg, fedprox, fedadam, scaffold, …  [default: fedavg]")
@click.option("--clients-per-round", type=int, help="Devices asked in a round.")
@click.option("--seed", type=int, help="Decides everything that is drawn.  [default: 0]")
@click.option("--config", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Settings as TOML.")
@click.option("--set", "more", multiple=True, metavar="KEY=VALUE", help="Any other setting of a run; repeatable.")
@click.option("--data-statement", default="", help="Whose data it learns from, under which terms.")
@click.option("--wait", is_flag=True, help="Return when the run is over.")
def run(fleet_path: Path | None, more: tuple[str, ...], data_statement: str, wait: bool, **flags: Any) -> None:
    """Submit a run; the fleet goes on with it through crashes until it is over.

    The same settings under the same --name again are the same run.

    \b
      fedaffect fleet run --rounds 10 --dataset meld --data-dir MELD --wait
      fedaffect fleet run --rounds 5 --set local-epochs=2 --set lr=0.01
    """  # noqa: D301
    settings = _settings(flags, more)
    with Operator.of(FleetFolder.open(fleet_path)) as operator:
        answer = operator.post("/v1/runs", {"settings": settings, "data_statement": data_statement})
        click.echo(f"run {answer['run']} is {answer['state']}; see fedaffect fleet status")
        if wait:
            _wait(operator, answer["run"])


def _settings(flags: dict[str, Any], more: tuple[str, ...]) -> dict[str, Any]:
    from fedaffect.server.federation.settings import settings_in

    config: Path | None = flags.pop("config")
    settings: dict[str, Any] = settings_in(config) if config is not None else {}
    for key, value in flags.items():
        if value is not None:
            settings[key.replace("_", "-")] = str(value.absolute()) if isinstance(value, Path) else value
    for pair in more:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair} is not KEY=VALUE")
        settings[key.strip()] = _value(text.strip())
    return settings


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _wait(operator: Operator, run_id: str) -> None:
    shown = -1
    while True:
        found = next(r for r in operator.post("/v1/status")["runs"] if r["id"] == run_id)
        if found["committed"] != shown:
            shown = found["committed"]
            click.echo(f"{shown} of {found['rounds']} rounds")
        if found["state"] == "failed":
            raise RunError(f"run {run_id} failed: {found['reason']}")
        if found["state"] == "finished":
            return
        time.sleep(_LOOK_S)
