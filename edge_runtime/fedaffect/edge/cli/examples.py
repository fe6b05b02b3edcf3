"""`fedaffect edge examples`: what this device keeps to learn from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table

from fedaffect.edge.cli.asking import bundle_options, open_bundle, open_runtime
from fedaffect.edge.cli.facts import json_option, say
from fedaffect.edge.cli.output import stdout
from fedaffect.edge.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fedaffect.edge.labelled_clips import LabelledClip

_UNITS_S: Final = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


@click.group()
def examples() -> None:
    """List, import, renew, export or forget the examples that this device keeps: features, never media unless asked."""


@examples.command("list")
@click.option("--labelled", is_flag=True, help="Only those that a person has labelled.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list instead of a table.")
def list_examples(labelled: bool, as_json: bool) -> None:
    """Show what is kept, oldest first."""
    from fedaffect.edge.store import Database, ExampleStore, default_path
    from fedaffect.edge.store.export import example_facts

    with Database() as database:
        found = [example for example in ExampleStore(database).examples() if example.label or not labelled]
    if as_json:
        click.echo(json.dumps([example_facts(example) for example in found], indent=2))
        return
    table = Table(title=f"Examples in {default_path()}", title_justify="left")
    for column in ("id", "request", "added", "modalities", "answered", "label", "may be learned from"):
        table.add_column(column, overflow="fold")
    for example in found:
        table.add_row(
            str(example.id),
            example.request_id,
            datetime.fromtimestamp(example.added_s).strftime("%Y-%m-%d %H:%M"),
            " ".join(example.encoder_keys) + (" + media" if example.has_media else ""),
            f"{example.predicted} {example.confidence:.2f}",
            example.label or "",
            "yes" if example.label and example.consent else "no",
        )
    stdout().print(table)


@examples.command("import")
@click.argument("source", metavar="FOLDER|TABLE", type=click.Path(path_type=Path))
@click.option("--speaker", help="Only clips of this person.")
@click.option("--consent", is_flag=True, help="They may be learned from.")
@bundle_options
@json_option
def import_examples(
    source: Path, speaker: str | None, consent: bool, bundle_folder: Path | None, allow_unsigned: bool, as_json: bool
) -> None:
    """Keep labelled clips that are there already as examples, as if each had been asked about and corrected.

    FOLDER holds a folder for each emotion; TABLE (.csv, .tsv) has the columns label, and file or text, and may have
    speaker and time. Clips that were imported before are not kept twice. `simulate --dataset folder` learns from the
    same folder.

    \b
      fedaffect edge examples import clips/ --consent
      fedaffect edge examples import clips.csv --speaker ana --consent
    """  # noqa: D301
    from fedaffect.edge.examples_import import import_clips
    from fedaffect.edge.labelled_clips import read_labelled_clips
    from fedaffect.edge.store import Journal
    from fedaffect.edge.system.progress import working

    found = read_labelled_clips(source)
    clips = [clip for clip in found.clips if speaker is None or clip.speaker == speaker]
    if not clips:
        raise DataError(f"no clip of {source} is of speaker {speaker!r}; it has {_speakers(found.clips)}")
    journal = Journal(keep_examples=True)
    with (
        open_runtime(bundle_folder, allow_unsigned, None, "never", journal=journal) as runtime,
        working("reading clips", len(clips)) as done,
    ):
        imported = import_clips(runtime, journal, clips, consent=consent, done=done)
        labels = runtime.bundle.label_set
    notes = [f"{name} is no picture, sound, film or text by its name; left out" for name in found.left_out]
    notes += [f"{name} is left out: {why}" for name, why in imported.refused.items()]
    strange = sorted({clip.label for clip in clips if labels.index(clip.label) is None})
    notes += [labels.without_place_for(label) for label in strange]
    if not (imported.kept or imported.known):
        for note in notes:
            click.echo(f"note: {note}")
        raise DataError(f"none of {len(clips)} clips could be used; see the notes above")
    learned = "may be learned from" if consent else "may not be learned from; add --consent"
    other = f", {imported.relabelled} of them with another label before" if imported.relabelled else ""
    known = f", {imported.known} were there already{other}" if imported.known else ""
    counts = {"kept": imported.kept, "known": imported.known, "relabelled": imported.relabelled}
    say(
        as_json,
        {**counts, "consent": consent, "notes": notes},
        *(f"note: {note}" for note in notes),
        f"{imported.kept} examples kept{known}; they {learned}",
    )


@examples.command()
@bundle_options
def renew(bundle_folder: Path | None, allow_unsigned: bool) -> None:
    """Encode examples again by the bundle in use that another bundle's encoders made, where their media were kept."""
    from fedaffect.edge.examples_renewal import renew_examples
    from fedaffect.edge.store import Database, ExampleStore

    with Database() as database:
        click.echo(str(renew_examples(ExampleStore(database), open_bundle(bundle_folder, allow_unsigned))))


@examples.command()
@click.argument("target", metavar="FILE.npz", type=click.Path(path_type=Path, dir_okay=False))
def export(target: Path) -> None:
    """Write all examples to FILE.npz, readable by you only."""
    from fedaffect.edge.store import Database, ExampleStore
    from fedaffect.edge.store.export import export_examples

    if target.suffix != ".npz":
        raise ConfigError(f"{target} is to be an .npz file; name it {target.with_suffix('.npz')}")
    with Database() as database:
        count = export_examples(ExampleStore(database), target)
    click.echo(f"{count} examples in {target}")


@examples.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--older-than", metavar="AGE", help="All added longer ago: 90m, 12h, 30d or 8w.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(ids: tuple[str, ...], older_than: str | None, everything: bool, yes: bool) -> None:
    """Delete examples for good, and what of theirs waits to be sent.

    ID is the number or the request that `list` shows.

    \b
      fedaffect edge examples forget 17 18
      fedaffect edge examples forget --older-than 30d
      fedaffect edge examples forget --all --yes
    """  # noqa: D301
    from fedaffect.edge.store import Database, ExampleStore

    if not (ids or older_than or everything):
        raise ConfigError("say what to forget: ids, --older-than 30d, or --all")
    age_s = seconds_of_age(older_than) if older_than else None
    if not yes:
        click.confirm("Forgotten examples cannot be brought back. Go on?", abort=True)
    with Database() as database:
        store = ExampleStore(database)
        known: dict[str, int] = {}
        for example in store.examples():
            known |= {str(example.id): example.id, example.request_id: example.id}
        if missing := [id for id in ids if id not in known]:
            raise DataError(f"there is no example {', '.join(missing)}; see: fedaffect edge examples list")
        count = store.forget([known[id] for id in ids], older_than_s=age_s, everything=everything)
    click.echo(f"{count} examples forgotten")


def _speakers(clips: Iterable[LabelledClip]) -> str:
    names = sorted({clip.speaker for clip in clips if clip.speaker})
    return ", ".join(names) if names else "no speakers"


def seconds_of_age(age: str) -> float:
    """Seconds of ``90m``, ``12h``, ``30d`` or ``8w``.

    Raises
    ------
    ConfigError
    """
    match = re.fullmatch(r"(\d{1,6})([mhdw])", age)
    if match is None:
        raise ConfigError(f"{age!r} is no age; write 90m, 12h, 30d or 8w")
    return int(match[1]) * _UNITS_S[match[2]]
