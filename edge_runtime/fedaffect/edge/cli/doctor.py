"""`fedaffect doctor`: what this machine lacks for what it is to do, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fedaffect.edge.cli.facts import json_option, say

if TYPE_CHECKING:
    from fedaffect.edge.system.findings import Finding

ROLES: Final = ("device", "cloud", "fleet", "researcher")
# As text, as this room imports no other.
_SERVER, _STARTS = "fedaffect.server.support.checks", "fedaffect.server.checks"
_MARKS: Final = {"good": "ok     ", "warning": "warning", "missing": "MISSING"}


@click.command()
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    help="What this machine is to be; may be given several times.  [default: device]",
)
@click.option("--gpu", is_flag=True, help="It is to compute on a GPU.")
@click.option(
    "--fleet",
    "fleet_path",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="FEDAFFECT_FLEET",
    help="The fleet's folder, for --role fleet; that in the data folder if not given.",
)
@click.option(
    "--registry",
    "registry_url",
    metavar="URL",
    envvar="FEDAFFECT_REGISTRY",
    help="The cloud's database, for --role cloud; that in the data folder if not given.",
)
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    roles: tuple[str, ...],
    gpu: bool,
    fleet_path: Path | None,
    registry_url: str | None,
    as_json: bool,
) -> None:
    """Say what this machine lacks, and the command that mends it; nothing is changed.

    \b
      fedaffect doctor
      fedaffect doctor --role cloud --role fleet --gpu
      fedaffect doctor --role fleet --json

    The exit code is 0 where nothing is missing; warnings do not change it.
    """  # noqa: D301
    found = list(examine(roles or ("device",), gpu=gpu, fleet=fleet_path, registry=registry_url))
    lines = [f"{_MARKS[each.state]}  {each.what}: {each.says}{_mend(each)}" for each in found]
    missing = sum(each.state == "missing" for each in found)
    lines.append(f"{missing} missing" if missing else "nothing is missing")
    say(as_json, {"missing": missing, "findings": [asdict(each) for each in found]}, *lines)
    context.exit(1 if missing else 0)


def _mend(finding: Finding) -> str:
    return f"\n         {finding.mend}" if finding.mend and finding.state != "good" else ""


def examine(
    roles: Iterable[str], *, gpu: bool = False, fleet: Path | None = None, registry: str | None = None
) -> Iterator[Finding]:
    """Look at a machine.

    Parameters
    ----------
    roles : iterable of str
    gpu : bool
        Whether one is wanted.
    fleet : Path, optional
        The fleet's folder.
    registry : str, optional
        URL of the cloud's database.

    Yields
    ------
    Finding
        Each thing once, whatever number of roles want it.
    """
    seen = set()
    for role in roles:
        for finding in _of_role(role, gpu, fleet, registry):
            if (key := (finding.what, finding.says)) not in seen:
                seen.add(key)
                yield finding


def _of_role(role: str, gpu: bool, fleet: Path | None, registry: str | None) -> Iterator[Finding]:
    from fedaffect.edge.cli import findings
    from fedaffect.edge.system.findings import Finding

    yield findings.python_here()
    extras = {"device": (), "cloud": ("server",), "fleet": ("server",), "researcher": ("simulation",)}[role]
    lacking = list(findings.packages_of(*extras))
    yield from lacking
    yield from findings.disks()
    yield findings.memory({"device": 0.5, "cloud": 2.0, "fleet": 1.0, "researcher": 4.0}[role])
    yield findings.media()
    if role != "fleet":
        yield findings.bundle()
    if role == "device" or any(each.state == "missing" for each in lacking):
        # What else is to be looked at needs those packages.
        return
    of_server, of_starts = import_module(_SERVER), import_module(_STARTS)
    on_gpu: list[Callable[[], Any]] = [of_starts.gpu] if gpu else []
    looks: dict[str, list[Callable[[], Any]]] = {
        "cloud": [
            of_server.cloud_model,
            of_server.web_runtime,
            lambda: of_starts.database(registry),
            lambda: of_server.port(8080, "REST", "http://127.0.0.1:8080/livez"),
            lambda: of_server.port(8081, "gRPC", "http://127.0.0.1:8080/livez"),
            *on_gpu,
        ],
        "fleet": [lambda: of_server.fleet_in(fleet)],
        "researcher": [of_server.weights, *on_gpu],
    }
    for look in looks[role]:
        found = look()
        yield from [found] if isinstance(found, Finding) else found
