"""`fedaffect edge personal`: what this person's own labels change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click
from rich.table import Table

from fedaffect.edge.cli.asking import bundle_options, open_bundle
from fedaffect.edge.cli.output import stdout

_SHOWN: Final = 6


@click.group()
def personal() -> None:
    """Show or reset what `predict` and `watch` learned from your clips and what you said of answers; it stays here."""


@personal.command()
@bundle_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def show(bundle_folder: Path | None, allow_unsigned: bool, as_json: bool) -> None:
    """Show whether your voice is read as one that differs, from how many labels is learned, and what that changes.

    A voice that is far from all whom the shared model learned from is taken relative to the mean of its own clips, for
    which no labels are needed; labels that say otherwise end it.
    """
    from fedaffect.edge.personal import PersonalPart
    from fedaffect.edge.personal.learned import LEAST
    from fedaffect.edge.store import default_path

    bundle = open_bundle(bundle_folder, allow_unsigned)
    labels = bundle.label_set
    part = PersonalPart(default_path())
    try:
        made = part.made(bundle)
    finally:
        part.close()
    learned = made.learned
    if as_json:
        measured = learned.labels >= LEAST
        facts = {
            "clips": made.clips,
            "distance": dict(made.distances),
            "relative": list(made.offsets),
            "labels": learned.labels,
            "used": learned.head is not None,
            "shared_right": learned.shared_right if measured else None,
            "personal_right": learned.personal_right if measured else None,
            "said_for": {
                meant: dict(zip(labels.labels, row, strict=True))
                for meant, row in zip(labels.labels, learned.said_for, strict=bool(learned.said_for))
            },
        }
        click.echo(json.dumps(facts, indent=2))
        return
    for modality, distance in made.distances.items():
        click.echo(_distance_line(modality, distance, made.clips, modality in made.offsets))
    if learned.labels < LEAST:
        click.echo(
            f"{learned.labels} labelled examples that may be learned from; from {LEAST} on something is learned: "
            "fedaffect edge predict --keep, then: fedaffect edge feedback --consent"
        )
        return
    said = [label for label, row in zip(labels.labels, learned.said_for, strict=True) if any(row)]
    if len(said) == 1:
        click.echo(f"not used: all {learned.labels} labels are {said[0]}; label answers of another emotion too")
        return
    click.echo(
        f"from {learned.labels} labels; of those it had not seen it gets {learned.personal_right:.0%} right, "
        f"the shared model {learned.shared_right:.0%}"
    )
    if learned.head is None:
        click.echo("not used: that is not clearly better; more labels may make it so")
        return
    corrections = [
        (count, answered, meant)
        for meant, row in zip(labels.labels, learned.said_for, strict=True)
        for answered, count in zip(labels.labels, row, strict=True)
        if count and answered != meant
    ]
    table = Table(title="Used. What you put right most often", title_justify="left")
    for column in ("the shared model said", "it was", "times"):
        table.add_column(column)
    for count, answered, meant in sorted(corrections, reverse=True)[:_SHOWN]:
        table.add_row(answered, meant, str(count))
    stdout().print(table)


@personal.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Answer as everybody is answered, and learn from examples alone that are kept from now on.

    The examples stay, and the fleet may still learn from those that you allowed; see `edge examples forget`.
    """
    from fedaffect.edge.personal import start_anew
    from fedaffect.edge.store import Database

    if not yes:
        click.confirm("What was learned so far is not used any more. Go on?", abort=True)
    with Database() as database:
        start_anew(database)
    click.echo("nothing is personal any more; it begins again with the next example that is kept")


def _distance_line(modality: str, distance: float, clips: int, used: bool) -> str:
    from fedaffect.edge.bundle.population import FAR

    line = f"{modality}: by {clips} clips you are {distance:.1f} from those whom the shared model learned from"
    if used:
        return f"{line}, more than {FAR:g}: taken relative to your own mean"
    return f"{line}, {'but your labels say that it reads you well' if distance > FAR else 'as one of them'}"
