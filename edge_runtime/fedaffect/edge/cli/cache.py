"""``fedaffect cache``: how much is kept of what can be made again, and deleting it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence

import click
from rich.table import Table

from fedaffect.edge.cli.output import stdout
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.cache import KINDS, Entry, entries, remove
from fedaffect.edge.system.folders import cache_folder

_PROFILES = ("edge", "cloud")
_SECONDS = {"h": 3600, "d": 86400, "w": 604800}


@click.group()
def cache() -> None:
    """Show and prune what can be made again: features, cohorts, bundles.

    \b
      fedaffect cache list                              sizes by kind
      fedaffect cache prune --older-than 30d            what was not written for 30 days
      fedaffect cache prune --kind cohorts --all        every cohort
    """  # noqa: D301


@cache.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list instead of a table.")
def list_cache(as_json: bool) -> None:
    """Show how much there is of each kind."""
    found = _entries()
    if as_json:
        facts = [
            {"kind": e.kind, "path": str(e.path), "bytes": e.size_bytes, "changed": e.changed, "in_use": e.in_use}
            for e in found
        ]
        click.echo(json.dumps(facts, indent=2))
        return
    table = Table(title=f"Cache {cache_folder()}", title_justify="left")
    for column in ("kind", "entries", "size", "in use"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind in KINDS:
        of_kind = [entry for entry in found if entry.kind == kind]
        in_use = sum(entry.in_use for entry in of_kind)
        table.add_row(kind, str(len(of_kind)), _size(of_kind), str(in_use))
    table.add_row("all", str(len(found)), _size(found), str(sum(entry.in_use for entry in found)))
    stdout().print(table)


@cache.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only this kind; repeatable.")
@click.option("--older-than", metavar="AGE", help="Only what was not written for so long, such as 12h, 30d or 4w.")
@click.option("--all", "everything", is_flag=True, help="Whatever its age.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
def prune(kinds: tuple[str, ...], older_than: str | None, everything: bool, dry_run: bool) -> None:
    """Delete entries of the cache; bundles and cohorts in use, keys and data of the user always stay."""
    if (older_than is None) != everything:
        raise ConfigError("say what to delete: --older-than 30d, or --all")
    before = time.time() - (_seconds(older_than) if older_than is not None else 0.0)
    chosen = [e for e in _entries() if (not kinds or e.kind in kinds) and (everything or e.changed < before)]
    going = [entry for entry in chosen if not entry.in_use and (dry_run or remove(entry))]
    for entry in going:
        click.echo(f"{'would delete' if dry_run else 'deleted'} {entry.path} ({_size([entry])})")
    kept = len(chosen) - len(going)
    said = f"{'would free' if dry_run else 'freed'} {_size(going)} in {len(going)} entries"
    click.echo(said + (f"; {kept} in use stay" if kept else ""))


def _entries() -> list[Entry]:
    from fedaffect.edge.bundle import BundleStore, usual_bundle_path

    in_use = [usual_bundle_path(profile) for profile in _PROFILES]
    for store in map(BundleStore.default, _PROFILES):
        # The current version, and the one before for rollback.
        in_use += [store.path_of(version) for version in store.versions()[:2]]
    return entries(cache_folder(), in_use)


def _seconds(age: str) -> float:
    match = re.fullmatch(r"(\d+)([hdw])", age.strip())
    if match is None:
        raise ConfigError(f"--older-than takes a number of hours, days or weeks, such as 12h, 30d or 4w, not {age!r}")
    return int(match[1]) * _SECONDS[match[2]]


def _size(of: Sequence[Entry]) -> str:
    size = float(sum(entry.size_bytes for entry in of))
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
