"""`fedaffect server registry`: backups, exports and retention of what the cloud remembers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from fedaffect.edge.cli.output import stdout
from fedaffect.server.cli.registry_option import registry_option

if TYPE_CHECKING:
    from fedaffect.server.registry import backup as backups


@click.group()
def registry() -> None:
    """Back up, restore, export and prune the registry.

    \b
      fedaffect server registry migrate
      fedaffect server registry backup /backups/monday
      fedaffect server registry check /backups/monday
      fedaffect server registry restore /backups/monday --registry sqlite:////var/lib/fedaffect/new.db
    """  # noqa: D301


@registry.command(short_help="Bring the tables to this version's form.")
@registry_option
def migrate(registry_url: str | None) -> None:
    """Bring the tables to the form of this version, and make them where there are none.

    Every program does so when it opens the registry. Before an upgrade of several machines, this does it once, and says
    what is wrong before anything new starts. Nothing is changed where the tables are of this version already.
    """
    from fedaffect.server.registry import Registry

    with Registry.open(registry_url) as opened:
        click.echo(f"the tables of {opened.name} are those of this version")


@registry.command(short_help="Copy the whole registry into a folder, while it is used.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--portable",
    is_flag=True,
    help="As JSON lines that SQLite and PostgreSQL both take, to go from one to the other.",
)
@registry_option
def backup(folder: Path, portable: bool, registry_url: str | None) -> None:
    """Copy the whole registry into the new folder FOLDER, while it is used.

    SQLite is copied by its own backup, PostgreSQL by pg_dump where that is installed. The copy is checked before the
    folder appears: hashes, rows, and the chain of the audit log.
    """
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import backup as backups

    with Registry.open(registry_url) as opened:
        made = backups.make(opened, folder, as_portable=portable)
    _show(made)
    click.echo(f"the registry lies in {folder}; it holds hashes of secrets, keep it where only you can read it")


@registry.command(short_help="Check a backup by restoring it for a moment.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def check(folder: Path) -> None:
    """Check a backup: hashes, and by restoring it for a moment, rows and the audit log's chain."""
    from fedaffect.server.registry import backup as backups

    _show(backups.check(folder))
    click.echo(f"{folder} is as it was made")


@registry.command(short_help="Put a backup into an empty database.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@registry_option
def restore(folder: Path, registry_url: str | None) -> None:
    """Put the backup FOLDER into the empty database that --registry names.

    Stop servers and aggregators first. Aggregators must acquire their runs again and go on from the newest round in the
    backup. Devices keep ledgers of their own, so what they spent since then is not forgotten.
    """
    from fedaffect.server.registry import backup as backups
    from fedaffect.server.registry import default_url

    url = registry_url or default_url()
    found = backups.restore(folder, url)
    _show(found)
    click.echo("everything is there, and the audit log's chain holds")


@registry.command(short_help="Write every table as JSON lines, to be read.")
@click.argument("folder", type=click.Path(path_type=Path))
@registry_option
def export(folder: Path, registry_url: str | None) -> None:
    """Write every table as JSON lines into FOLDER, to be read and analysed.

    Without hashes of secrets and without the features of feedback; it cannot be restored, a backup can.
    """
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import backup as backups

    with Registry.open(registry_url) as opened:
        rows = backups.export(opened, folder)
    click.echo(f"{sum(rows.values())} rows of {len(rows)} tables lie in {folder}")


@registry.command(short_help="Delete old participations, feedback and tokens.")
@click.option("--older-than", "days", type=click.FloatRange(min=0), required=True, metavar="DAYS", help="How old.")
@registry_option
def prune(days: float, registry_url: str | None) -> None:
    """Delete participations in closed rounds, feedback, and enrolment tokens that ran out, older than so many days.

    Runs, rounds and the privacy ledger stay. The audit log is shortened with fedaffect audit archive.
    """
    from fedaffect.server.registry import Registry, retention

    with Registry.open(registry_url) as opened:
        done = retention.prune(opened, timedelta(days=days))
    click.echo(
        f"deleted {done.participations} participations, {done.feedback} feedback, "
        f"{done.enrolment_tokens} enrolment tokens older than {days:g} days"
    )


@registry.command(short_help="Delete somebody's feedback and kept sessions.")
@click.option("--request", "requests", multiple=True, metavar="ID", help="What was said of this request; repeatable.")
@click.option("--caller", default="", metavar="KEY", help="All that came with the API key of this id.")
@registry_option
def erase(requests: tuple[str, ...], caller: str, registry_url: str | None) -> None:
    """Delete feedback of requests or of a caller, with its features: fedaffect server learn uses it no more.

    With --caller, sessions that were kept with that key too.

    Neither trains on it nor measures with it: both are drawn from the registry each time. A version that learned from
    it before keeps what it learned; --from of that command names a version to start from instead.
    """
    from fedaffect.server.registry import Registry, feedback, kept_sessions

    with Registry.open(registry_url) as opened:
        count = feedback.erase(opened, request_ids=requests, caller=caller)
        kept = kept_sessions.erase_of(opened, caller) if caller else 0
    click.echo(f"deleted {count} pieces of feedback" + (f" and {kept} kept sessions" if caller else ""))


def _show(found: backups.Backup) -> None:
    table = Table("table", "rows")
    for name, number in found.rows.items():
        if number:
            table.add_row(name, str(number))
    console = stdout()
    console.print(table)
    console.print(f"form {found.form}, made {found.created}, audit log up to {found.head}", soft_wrap=True)
