"""`fedaffect fleet cancel`, `logs` and `report`: commands about one run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.edge.errors import RunError
from fedaffect.server.cli.fleet_option import fleet_option, operator_of
from fedaffect.server.json_log import readable

# How lines of logs begin, as JSON and as the SuperLink writes them.
_TIME: Final = re.compile(r'(?:\{"time": ")?(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)[,.](\d{3})')

if TYPE_CHECKING:
    from fedaffect.server.fleet.setup.folder import FleetFolder


@click.command()
@click.argument("run")
@fleet_option
@click.option("--reason", default="the operator cancelled it", show_default=True)
@json_option
def cancel(run: str, fleet_path: Path | None, reason: str, as_json: bool) -> None:
    """End RUN: nothing that devices still send for it counts, and no bundle is made of it."""
    with operator_of(fleet_path) as operator:
        answer = operator.post(f"/v1/runs/{quote(run, safe='')}/cancel", {"reason": reason})
    say(as_json, answer, f"run {answer['run']} is {answer['state']}: {answer['reason']}")


@click.command()
@click.argument("run", required=False)
@fleet_option
@click.option("--lines", default=200, show_default=True, type=click.IntRange(min=1), help="The newest so many.")
@click.option("--follow", "-f", "following", is_flag=True, help="Go on with what comes, until interrupted.")
@json_option
def logs(run: str | None, fleet_path: Path | None, lines: int, following: bool, as_json: bool) -> None:
    """Show what RUN says of its rounds, oldest line first; without RUN, what the fleet's processes say.

    A run's log holds what its aggregator did, whatever process of Flower executed it. Without RUN, lines of SuperLink,
    gate and service stand below each other, each with the name of its process.
    """
    folder = _folder(fleet_path)
    if run is None:
        paths = {name: folder.logs / f"{name}.log" for name in ("superlink", "gate", "service")}
    else:
        paths = {run: folder.logs / f"run-{run}.log"}
        if Path(run).name != run or not paths[run].is_file():
            raise _unknown(run, sorted(p.stem.removeprefix("run-") for p in folder.logs.glob("run-*.log")))
    newest = [(name, line) for name, path in paths.items() for line in _newest(path, lines)]
    if run is None:
        # By their time, where they begin with one; what does not belongs to the line above it.
        newest = _by_time(newest)[-lines:]
    said = [_told(name, line, run) for name, line in newest]
    path = paths[run] if run is not None else folder.logs
    say(as_json, {"run": run, "path": str(path), "lines": said}, *said)
    if following:
        from fedaffect.server.fleet.following import follow

        for name, line in follow(paths):
            click.echo(_told(name, line, run))


def _told(name: str, line: str, run: str | None) -> str:
    return readable(line) if run is not None else f"{name}: {readable(line)}"


def _newest(path: Path, lines: int) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:] if path.is_file() else []


def _by_time(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    times: list[str] = []
    before: tuple[str, str] = ("", "")
    for name, line in lines:
        found = _TIME.match(line)
        moment = " ".join(found.groups()) if found else before[1] if before[0] == name else ""
        before = name, moment
        times.append(moment)
    return [line for _, line in sorted(zip(times, lines, strict=True), key=lambda pair: pair[0])]


@click.command()
@click.argument("run")
@fleet_option
@json_option
def report(run: str, fleet_path: Path | None, as_json: bool) -> None:
    """Say where the page of finished RUN lies: curves, devices, privacy, as simulations have it."""
    from fedaffect.server.federation.run_folder import PAGE, SUMMARY

    folder = _folder(fleet_path)
    path = folder.runs / run
    if Path(run).name != run or not path.is_dir():
        raise _unknown(run, sorted(p.name for p in folder.runs.glob("[!.]*")))
    if not (path / PAGE).is_file():
        if (path / SUMMARY).is_file():
            raise RunError(f"run {run} has no {PAGE}: pip install 'fedaffect[simulation]' on the fleet's machine")
        raise RunError(f"run {run} has no report before it is finished; see fedaffect fleet logs {run}")
    say(as_json, {"run": run, "page": str(path / PAGE), "summary": str(path / SUMMARY)}, str(path / PAGE))


def _folder(fleet_path: Path | None) -> FleetFolder:
    from fedaffect.server.fleet.setup.folder import FleetFolder

    return FleetFolder.open(fleet_path)


def _unknown(run: str, known: list[str]) -> RunError:
    from fedaffect.edge.errors import nearest

    near = nearest(run, known)
    said = f"did you mean {near!r}?" if near else "see fedaffect fleet status"
    return RunError(f"no run {run!r} has begun here; {said}")
