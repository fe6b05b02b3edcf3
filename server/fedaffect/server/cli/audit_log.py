"""`fedaffect audit verify`, `head`, `list` and `archive`: the registry's audit log."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from fedaffect.edge.cli.output import stdout
from fedaffect.server.cli.registry_option import registry_option

# What an archive's entry says of thousands of devices is for --json.
_LONGEST: Final = 200


@click.command()
@click.option(
    "--expect",
    "--head",
    "expected",
    metavar="ID:HASH|FILE",
    help="A head noted before, as `fedaffect audit head` printed it, or a file that holds it.",
)
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Also a file that entries were archived in; may be given several times.",
)
@registry_option
def verify(expected: str | None, archives: tuple[Path, ...], registry_url: str | None) -> None:
    """Recompute the audit log's chain.

    Finds entries that were changed, moved, taken out or cut off the end, and says which is the first; and devices and
    keys that are not as the log tells it. The chain has no key: somebody who may write the database could forge a
    whole new one. To find that too, note the head elsewhere from time to time (fedaffect audit head) and give it.

    \b
      fedaffect audit verify
      fedaffect audit verify --head /mnt/elsewhere/head
      fedaffect audit verify --archive audit-2026.jsonl
    """  # noqa: D301
    from fedaffect.server.registry import Registry, retention
    from fedaffect.server.registry import audit as log

    if expected is not None and Path(expected).is_file():
        expected = Path(expected).read_text(encoding="utf-8", errors="replace")
    wanted = log.Head.parse(expected) if expected is not None else None
    with Registry.open(registry_url) as registry:
        found = log.verify(registry, wanted)
        older = [retention.verify_archive(registry, path) for path in archives]
    table = Table("what", "entries", "up to", "hash", "state")
    for each in older:
        table.add_row(str(each.path), str(each.entries), str(each.last.id), each.last.hash[:16], "unchanged")
    table.add_row("audit log", str(found.entries), str(found.head.id), found.head.hash[:16], "unchanged")
    console = stdout()
    console.print(table)
    if found.archived and not older:
        console.print(f"entries 1 to {found.archived} are archived; verify them with --archive FILE")
    console.print(
        "it still contains the head that was expected"
        if wanted is not None
        else f"to find a forged log too, keep this elsewhere: {found.head}",
        soft_wrap=True,
    )


@click.command()
@registry_option
def head(registry_url: str | None) -> None:
    """Print where the log ends, as ID:HASH, for `fedaffect audit verify --expect`."""
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import audit as log

    with Registry.open(registry_url) as registry:
        click.echo(str(log.head(registry)))


@click.command("list")
@click.option("--action", default="", metavar="PREFIX", help="Only actions that begin so: device, round.committed.")
@click.option("--subject", default="", metavar="PREFIX", help="Only what happened to this: a device, RUN/ROUND.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object an entry, with hashes.")
@registry_option
def list_entries(action: str, subject: str, limit: int, as_json: bool, registry_url: str | None) -> None:
    """Show what happened, the newest last."""
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import audit as log

    with Registry.open(registry_url) as registry:
        found = list(log.entries(registry, action=action, subject=subject, limit=limit))
    if as_json:
        for entry in found:
            said = asdict(entry) | {"at": entry.at.isoformat(), "details": json.loads(entry.details)}
            click.echo(json.dumps(said, ensure_ascii=False))
        return
    table = Table("entry", "when (UTC)", "who", "what", "to what", "details")
    for entry in found:
        details = ", ".join(f"{name} {_short(value)}" for name, value in json.loads(entry.details).items())
        when = f"{entry.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(entry.id), when, *map(_shown, (entry.actor, entry.action, entry.subject, details)))
    stdout().print(table if found else "nothing of that kind is in the audit log")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--older-than", "days", type=click.FloatRange(min=0), required=True, metavar="DAYS", help="How old.")
@registry_option
def archive(file: Path, days: float, registry_url: str | None) -> None:
    """Move entries older than so many days into FILE, as JSON lines.

    The log goes on from an anchor and stays verifiable; FILE is verified with fedaffect audit verify --archive FILE.
    Keep it: nothing else has those entries.
    """
    from fedaffect.server.registry import Registry, retention

    with Registry.open(registry_url) as registry:
        done = retention.archive(registry, file, before=datetime.now(UTC) - timedelta(days=days))
    click.echo(f"{done.entries} entries up to {done.last.id} lie in {done.path} (sha256 {done.sha256[:16]}…); keep it")


def _short(value: object) -> str:
    said = str(value)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def _shown(said: str) -> Text:
    # Devices chose some of these words: no markup, and nothing that a terminal would obey.
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in said))
