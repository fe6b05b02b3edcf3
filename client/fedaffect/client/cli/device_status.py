"""`fedaffect device status`: what this device holds, shares and may do, on one screen."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fedaffect.client.cli.device_option import device_option, opened

if TYPE_CHECKING:
    from fedaffect.client.device.folder import DeviceFolder, DeviceSettings

# Of what was shared, the newest.
_SHOWN: Final = 3


@click.command()
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(device_path: Path | None, as_json: bool) -> None:
    """Show what this device holds, whether it would learn now, what it shared, its budget and its bundle."""
    facts = _facts(opened(device_path))
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    from rich.table import Table

    from fedaffect.edge.cli.output import stdout

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, words in _words(facts):
        table.add_row(name, words)
    stdout().print(table, highlight=False, markup=False, soft_wrap=True)


def _facts(folder: DeviceFolder) -> dict[str, Any]:
    from fedaffect.client.device.shared import shared_so_far
    from fedaffect.client.device.spending import ledger_of
    from fedaffect.client.device.updates import declined

    settings = folder.settings
    shared = shared_so_far(folder.shared_path)
    ledger = ledger_of(folder) if folder.ledger_path.is_file() else None
    return {
        "device": settings.name,
        "id": settings.id,
        "server": settings.server,
        "waiting": settings.waiting,
        "revoked": folder.revoked_path.exists(),
        "bundle": _bundle(settings),
        **_learning(settings),
        "declined": declined(folder),
        "shared": [asdict(one) for one in shared],
        "epsilon": {"spent": ledger.spent if ledger else 0.0, "of": ledger.budget[0] if ledger else settings.epsilon},
        "only_private": settings.only_private,
        "only_secagg": settings.only_secagg,
    }


def _bundle(settings: DeviceSettings) -> dict[str, Any] | None:
    from fedaffect.client.device.training_data import installed_bundle
    from fedaffect.edge.errors import BundleError

    try:
        bundle = installed_bundle(settings.profile)
    except BundleError as error:
        return {"version": None, "why": str(error)}
    labels = bundle.manifest.label_set
    return {"version": bundle.version, "labels": labels.name if labels else None}


def _learning(settings: DeviceSettings) -> dict[str, Any]:
    """What there is to learn from, and why it would not be learned from now."""
    from fedaffect.client.device.permission import Surroundings, refusal
    from fedaffect.client.device.training_data import training_data_of
    from fedaffect.edge.errors import FedAffectError
    from fedaffect.edge.store import Database, ExampleStore

    if settings.partition >= 0:
        return {"examples": None, "partition": settings.partition, "refusal": None}
    with Database(Path(settings.store) if settings.store else None) as database:
        kept = ExampleStore(database).examples()
    try:
        usable = training_data_of(settings)[1] or 0
        why = refusal(
            settings.rules,
            consent=settings.consent,
            examples=usable,
            surroundings=Surroundings.now(cores=os.cpu_count() or 1),
            moment=datetime.now(),
        )
    except FedAffectError as error:
        usable, why = 0, str(error)
    if settings.waiting:
        why = "it waits until the fleet's operator approves it"
    elif usable < settings.rules.min_examples and settings.consent:
        why = f"{usable} of {settings.rules.min_examples} examples are labelled, consented and of its bundle's encoders"
    return {
        "examples": {"kept": len(kept), "labelled": sum(e.label is not None for e in kept), "usable": usable},
        "refusal": why,
    }


def _words(facts: dict[str, Any]) -> list[tuple[str, str]]:
    bundle, held, shared = facts["bundle"], facts["examples"], facts["shared"]
    budget = facts["epsilon"]
    rules = [
        *(["only with noise of its own"] if facts["only_private"] else []),
        *(["only in masked sums"] if facts["only_secagg"] else []),
    ]
    would = "yes" if facts["refusal"] is None else f"no: {facts['refusal']}"
    return [
        ("device", f"{facts['device']} ({facts['id']}) of {facts['server']}"),
        ("bundle", f"{bundle['version']}, predicts {bundle['labels']}" if bundle["version"] else bundle["why"]),
        *([("declined", f"{facts['declined'][-1]}, which is worse for its user")] if facts["declined"] else []),
        (
            "examples",
            f"partition {facts['partition']} of the server's cohort"
            if held is None
            else f"{held['kept']} kept, {held['labelled']} labelled, {held['usable']} to learn from",
        ),
        ("would learn now", would + (f" ({', '.join(rules)})" if rules else "")),
        (
            "privacy",
            f"epsilon {budget['spent']:.3f} of {budget['of']:g} spent, {budget['of'] - budget['spent']:.3f} left",
        ),
        ("shared", "nothing yet" if not shared else f"{len(shared)} times, the newest:"),
        *(("", _line(one)) for one in shared[-_SHOWN:][::-1]),
    ]


def _line(one: dict[str, Any]) -> str:
    how = [*(["with noise"] if one["noisy"] else []), *(["masked"] if one["masked"] else [])]
    at = datetime.fromtimestamp(one["at_s"]).strftime("%Y-%m-%d %H:%M")
    of = f"run {one['run']}, round {one['round']}" if one["round"] else str(one["run"])
    return f"{at}  {one['what']} of {of}" + (f" ({', '.join(how)})" if how else "")
