"""`fedaffect edge queue`: what waits for the network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.table import Table

from fedaffect.edge.cli.connection import Connection, cloud_options
from fedaffect.edge.cli.output import stdout
from fedaffect.edge.cli.showing import sentence
from fedaffect.edge.cloud.errors import CloudUnreachable

if TYPE_CHECKING:
    from fedaffect.edge.store import Entry


# As Kind, whose module takes longer to import than a help should.
_KINDS = ("prediction", "example", "feedback")


@click.group()
def queue() -> None:
    """List, send or clear what waits for the network: feedback, examples, deferred predictions."""


@queue.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def list_entries(as_json: bool) -> None:
    """Show what waits, oldest first, and how many entries were let go."""
    from fedaffect.edge.store import Database, Queue

    with Database() as database:
        waiting = Queue(database)
        entries, dropped = waiting.entries(), waiting.dropped()
    if as_json:
        click.echo(json.dumps({"entries": [_facts(entry) for entry in entries], "dropped": dropped}, indent=2))
        return
    table = Table(title=f"{len(entries)} entries, {sum(e.size_bytes for e in entries):,} bytes", title_justify="left")
    for column in ("kind", "request", "bytes", "waits for", "next attempt", "attempts", "last said"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        due = "refused" if entry.refused else "now" if entry.due_in_s <= 0 else f"in {entry.due_in_s:.0f} s"
        table.add_row(
            entry.kind,
            entry.request_id,
            f"{entry.size_bytes:,}",
            f"{entry.age_s / 3600:.1f} h",
            due,
            str(entry.attempts),
            entry.last_error,
        )
    console = stdout()
    console.print(table)
    if dropped:
        console.print(f"let go so far: {', '.join(f'{count} ({reason})' for reason, count in dropped.items())}")


@queue.command()
@cloud_options("Send it there", required=True)
def send(cloud: Connection) -> None:
    """Send all that waits, whatever its back-off. Exits with 2 if the cloud is out of reach."""
    from fedaffect.edge.store import Database, Queue, Sender

    client = cloud.open()
    try:
        with Database() as database:
            waiting = Queue(database)
            waiting.retry_now()
            sent = Sender(waiting, client).drain()
    finally:
        client.close()
    click.echo(str(sent))
    if sent.stopped_by:
        raise CloudUnreachable(f"stopped before the end: {sent.stopped_by}")


@queue.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, by request.")
def answers(as_json: bool) -> None:
    """Show the late answers to predictions that had to wait, each once."""
    from fedaffect.edge.store import Database, Queue

    with Database() as database:
        late = Queue(database).take_answers()
    if as_json:
        click.echo(json.dumps({request_id: prediction.to_json() for request_id, prediction in late.items()}))
        return
    for request_id, prediction in late.items():
        click.echo(f"{request_id}: {sentence(prediction)}")
    if not late:
        click.echo("no late answers")


@queue.command()
@click.option("--kind", type=click.Choice(_KINDS), help="Only these.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(kind: str | None, yes: bool) -> None:
    """Delete what waits, for good; it is never sent then."""
    from fedaffect.edge.store import Database, Kind, Queue

    if not yes:
        click.confirm("What is cleared is never sent. Go on?", abort=True)
    with Database() as database:
        count = Queue(database).clear(Kind(kind) if kind else None)
    click.echo(f"{count} entries cleared")


def _facts(entry: Entry) -> dict[str, object]:
    return {
        "kind": entry.kind,
        "idempotency_key": entry.idempotency_key,
        "request_id": entry.request_id,
        "size_bytes": entry.size_bytes,
        "age_s": entry.age_s,
        "due_in_s": entry.due_in_s,
        "attempts": entry.attempts,
        "refused": entry.refused,
        "last_error": entry.last_error,
    }
