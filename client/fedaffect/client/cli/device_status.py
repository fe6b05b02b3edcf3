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

_ENGINES: Final = {"torch": "torch", "onnx": "ONNX Runtime, by its bundle's training step"}
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
    from fedaffect.client.device.updates import declined, judged, left_by_its_user
    from fedaffect.edge.bundle import BundleStore
    from fedaffect.edge.system.only_one import is_held

    settings, revoked = folder.settings, folder.revoked_path.exists()
    shared = shared_so_far(folder.shared_path)
    ledger = ledger_of(folder) if folder.ledger_path.is_file() else None
    return {
        "device": settings.name,
        "id": settings.id,
        "server": settings.server,
        "at_work": is_held(folder.at_work_path),
        "waiting": settings.waiting,
        "revoked": revoked,
        "bundle": _bundle(settings),
        **_learning(settings),
        **({"refusal": "the fleet revoked it"} if revoked else {}),
        "judged": judged(folder),
        "declined": declined(folder),
        "left": left_by_its_user(folder, BundleStore.default(settings.profile)),
        "shared": [asdict(one) for one in shared],
        "epsilon": {"spent": ledger.spent if ledger else 0.0, "of": ledger.budget[0] if ledger else settings.epsilon},
        "only_private": settings.only_private,
        "only_secagg": settings.only_secagg,
    }


def _bundle(settings: DeviceSettings) -> dict[str, Any] | None:
    from fedaffect.client.device.training_data import installed_bundle
    from fedaffect.edge.bundle import usual_bundle_path
    from fedaffect.edge.errors import BundleError

    try:
        bundle = installed_bundle(settings.profile)
    except BundleError as error:
        if not usual_bundle_path(settings.profile).is_dir():
            return {"version": None, "why": "none yet: device start fetches the fleet's, bundle install takes a tar"}
        return {"version": None, "why": str(error)}
    labels = bundle.manifest.label_set
    return {"version": bundle.version, "labels": labels.name if labels else None}


def _learning(settings: DeviceSettings) -> dict[str, Any]:
    """What there is to learn from, and why it would not be learned from now."""
    from fedaffect.client.device.engine import engine_of
    from fedaffect.client.device.permission import Surroundings, refusal
    from fedaffect.client.device.training_data import OwnExamples, training_data_of
    from fedaffect.client.local_examples import left_out
    from fedaffect.edge.errors import BundleError, FedAffectError
    from fedaffect.edge.store import Database, ExampleStore

    engine = engine_of(settings.engine)
    if settings.partition >= 0:
        return {"examples": None, "partition": settings.partition, "refusal": None, "engine": engine}
    with Database(Path(settings.store) if settings.store else None) as database:
        kept = ExampleStore(database).examples()
    others = (0, 0)
    try:
        data, count = training_data_of(settings)
        usable = count or 0
        own = data if isinstance(data, OwnExamples) else None
        others = left_out(kept, own.labels, own.encoder_keys) if own else others
        problem = own.learner.problem if own else None
        why = problem or refusal(
            settings.rules,
            consent=settings.consent,
            examples=usable,
            surroundings=Surroundings.now(cores=os.cpu_count() or 1),
            moment=datetime.now(),
        )
    except BundleError:
        own, usable, why = None, 0, "it has no bundle to learn with"
    except FedAffectError as error:
        own, usable, why = None, 0, str(error)
    if settings.waiting:
        why = "it waits until the fleet's operator approves it"
    elif own is not None and own.lacking and settings.consent:
        why = own.lacking
    elif own is not None and usable < settings.rules.min_examples and settings.consent:
        why = f"{usable} of {settings.rules.min_examples} examples are labelled, consented and of its bundle's encoders"
    return {
        "examples": {
            "kept": len(kept),
            "labelled": sum(e.label is not None for e in kept),
            "usable": usable,
            "other_labels": others[0],
            "other_encoders": others[1],
        },
        "refusal": why,
        "engine": engine,
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
        *([("for its user", _judged(facts["judged"]))] if facts["judged"] else []),
        *([("declined", f"{facts['declined'][-1]}, which is worse for its user")] if facts["declined"] else []),
        *([("left", f"{facts['left']}; back to it: fedaffect bundle rollback")] if facts["left"] else []),
        (
            "examples",
            f"partition {facts['partition']} of the server's cohort"
            if held is None
            else f"{held['kept']} kept, {held['labelled']} labelled, {held['usable']} to learn from",
        ),
        *([("left out", _others(held))] if held and (held["other_labels"] or held["other_encoders"]) else []),
        ("learns with", _ENGINES[facts["engine"]]),
        ("at work", "yes" if facts["at_work"] else "no: fedaffect device start"),
        ("would learn now", would + (f" ({', '.join(rules)})" if rules else "")),
        (
            "privacy",
            f"epsilon {budget['spent']:.3f} of {budget['of']:g} spent, {budget['of'] - budget['spent']:.3f} left",
        ),
        ("shared", "nothing yet" if not shared else f"{len(shared)} times, the newest:"),
        *(("", _line(one)) for one in shared[-_SHOWN:][::-1]),
    ]


def _judged(one: dict[str, Any]) -> str:
    change = one["after"] - one["before"]
    how = "better" if change > 0 else "worse" if change < 0 else "the same"
    return f"{one['version']} is {how}: {one['after']} of {one['examples']} examples right, {one['before']} before it"


def _others(held: dict[str, Any]) -> str:
    labels = f"{held['other_labels']} with labels that the bundle does not predict"
    encoders = f"{held['other_encoders']} of other encoders: fedaffect edge examples renew"
    return "; ".join(
        words for words, count in ((labels, held["other_labels"]), (encoders, held["other_encoders"])) if count
    )


def _line(one: dict[str, Any]) -> str:
    how = [*(["with noise"] if one["noisy"] else []), *(["masked"] if one["masked"] else [])]
    at = datetime.fromtimestamp(one["at_s"]).strftime("%Y-%m-%d %H:%M")
    of = f"run {one['run']}, round {one['round']}" if one["round"] else str(one["run"])
    return f"{at}  {one['what']} of {of}" + (f" ({', '.join(how)})" if how else "")
