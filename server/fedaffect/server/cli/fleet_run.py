"""`fedaffect fleet run`: have the fleet learn."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.edge.errors import ConfigError, RunError
from fedaffect.server.cli.fleet_option import fleet_option, operator_of

if TYPE_CHECKING:
    from fedaffect.server.fleet.api.operator_client import Operator

_LOOK_S: Final = 1.0
# A service that answers nothing for longer is not restarting.
_UNREACHABLE_S: Final = 600.0


@click.command()
@fleet_option
@click.option("--rounds", type=int, help="Rounds in all.  [default: 5]")
@click.option("--name", help="Name of the run.  [default: made from the settings]")
@click.option(
    "--start-from",
    metavar="BUNDLE|RUN|FILE|default",
    help="Weights of the first round.  [default: those of the bundle that devices have]",
)
@click.option(
    "--min-devices",
    type=click.IntRange(min=1),
    help="A round waits for so many devices that would train.  [default: 2; of a benchmark, half of a round's]",
)
@click.option(
    "--rollout",
    type=click.FloatRange(0, 100),
    help="Percent of devices that get the run's bundle; 0 to decide later.  [default: 100; of a benchmark, 0]",
)
@click.option(
    "--replay",
    metavar="[CORPUS=]DIR,…",
    help="Public corpora from which the server itself learns, so that what was known stays; '' for none.  "
    "[default: those in the folder public of the fleet]",
)
@click.option(
    "--guard",
    metavar="[CORPUS=]DIR,…",
    help="Public corpora on which the run is measured before and after.  [default: those of --replay]",
)
@click.option(
    "--guard-loss",
    type=click.FloatRange(0, 100),
    help="Points of UAR that it may lose there, or no bundle is made of it.  [default: 1]",
)
@click.option("--dataset", help="A benchmark: devices enrolled with --partition learn their share of this corpus.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Its folder, in its official layout.")
@click.option("--partition", help="How the corpus becomes clients.")
@click.option(
    "--cohort-folder",
    type=click.Path(path_type=Path, exists=True),
    help="A cohort that is prepared already, on the server's machine.",
)
@click.option("--strategy", help="fedavg, fedprox, fedadam, scaffold, …  [default: fedavg]")
@click.option("--clients-per-round", type=int, help="Devices asked in a round, at most.")
@click.option("--group", help="Only devices of this group take part.  [default: all]")
@click.option("--seed", type=int, help="Seed of all random choices.  [default: 0]")
@click.option(
    "--config", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Settings of a run in TOML."
)
@click.option(
    "--set",
    "more",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other setting of a run, by the name of its flag in simulate; repeatable.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    help="Seconds that a round waits for enough devices before the run ends as failed.  [default: five times 600]",
)
@click.option("--data-statement", default="", help="Whose data the run learns from, under which terms.")
@click.option("--wait", is_flag=True, help="Return when the run has ended.")
@json_option
def run(
    fleet_path: Path | None, more: tuple[str, ...], data_statement: str, wait: bool, as_json: bool, **flags: Any
) -> None:
    """Have devices learn from their own examples; the fleet resumes the run after crashes until it has ended.

    Label set, modalities, model, encoders and starting weights are those of the bundle that devices have. Devices that
    say that they would train are asked; what they learned becomes a bundle, and goes to devices. Noise of their own
    (--dp local at epsilon 2) is added unless --set dp=none.

    A run over a corpus that the server has (--dataset) is a benchmark. Submitting the same settings under the same
    --name again changes nothing.

    \b
      fedaffect fleet run --wait
      fedaffect fleet run --rounds 3 --min-devices 10 --set secagg=true --rollout 10
      fedaffect fleet run --rounds 10 --dataset meld --data-dir MELD
    """  # noqa: D301
    settings = _settings(flags, more)
    with operator_of(fleet_path) as operator:
        answer = operator.post("/v1/runs", {"settings": settings, "data_statement": data_statement})
        words = f"run {answer['run']} is {answer['state']}: {answer['learns']}; see fedaffect fleet status"
        click.echo(words, err=as_json)
        found = _wait(operator, answer["run"], err=as_json) if wait else answer
    if as_json:
        say(as_json, found)


def _settings(flags: dict[str, Any], more: tuple[str, ...]) -> dict[str, Any]:
    from fedaffect.server.federation.settings import settings_in

    config: Path | None = flags.pop("config")
    settings: dict[str, Any] = settings_in(config) if config is not None else {}
    for key, value in flags.items():
        if value is not None and key == "start_from":
            settings["start-from"] = _starting_point(value)
        elif value is not None and key in ("replay", "guard"):
            settings[key] = ",".join(_corpus(one) for one in value.split(",") if one.strip())
        elif value is not None:
            settings[key.replace("_", "-")] = str(value.absolute()) if isinstance(value, Path) else value
    for pair in more:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair[:60]} is not KEY=VALUE; write it such as --set lr=0.01")
        settings[key.strip()] = _value(text.strip())
    return settings


def _starting_point(name: str) -> str:
    """As the service finds it, which stands in another folder."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() and name != "default" else name


def _corpus(said: str) -> str:
    """As the service finds it, which stands in another folder."""
    name, equals, folder = said.strip().rpartition("=")
    return f"{name}{equals}{_starting_point(folder)}"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _wait(operator: Operator, run_id: str, *, err: bool = False) -> dict[str, Any]:
    """Show the run's rounds until it has ended, and return what it was; a service that restarts is asked again."""
    from fedaffect.server.fleet.errors import FleetError

    shown, reason, unreachable_since = -1, "", None
    while True:
        try:
            status = operator.post("/v1/status")
            found = next(r for r in status["runs"] if r["id"] == run_id)
        except FleetError as error:
            now = time.monotonic()
            if unreachable_since is None:
                unreachable_since = now
                click.echo(f"{error}; waiting for it", err=True)
            if now - unreachable_since > _UNREACHABLE_S:
                raise
            time.sleep(_LOOK_S)
            continue
        unreachable_since = None
        if found["committed"] != shown:
            shown = found["committed"]
            click.echo(f"{shown} of {found['rounds']} rounds", err=err)
        if found["state"] == "open" and found["reason"] != reason:
            reason = found["reason"]
            click.echo(f"run {run_id} {reason}" if reason else f"run {run_id} goes on", err=err)
        if found["state"] in ("failed", "cancelled"):
            raise RunError(f"run {run_id} is {found['state']}: {found['reason']}")
        if found["state"] == "finished":
            click.echo(f"run {run_id} is finished{_result(status, run_id, found['reason'])}", err=err)
            return {**found, "bundle": _version(status, run_id)}
        time.sleep(_LOOK_S)


def _result(status: dict[str, Any], run_id: str, reason: str) -> str:
    """What became of a run: its bundle, and whom that goes to; or why there is none."""
    if reason:
        return f": {reason}"
    version = _version(status, run_id)
    if version is None:
        return ""
    rollout = next((r for r in status["rollouts"] if r["version"] == version), None)
    goes = (
        f"goes to {rollout['percent']:g} % of devices" if rollout else f"waits for: fedaffect fleet rollout {version}"
    )
    return f"; bundle {version} {goes}"


def _version(status: dict[str, Any], run_id: str) -> str | None:
    return next((model["version"] for model in status.get("models", ()) if model["run"] == run_id), None)
