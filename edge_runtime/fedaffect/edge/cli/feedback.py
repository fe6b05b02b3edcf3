"""`fedaffect edge feedback`: what a prediction should have been."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fedaffect.edge.cli.connection import Connection, cloud_options, permitted, privacy_option

if TYPE_CHECKING:
    from fedaffect.edge.store import Receipt, Sent


@click.command()
@click.argument("request_id", metavar="REQUEST")
@click.argument("label")
@click.option("--consent", is_flag=True, help="The example may be learned from.")
@click.option("--upload", is_flag=True, help="With consent, its features travel to the cloud too.")
@cloud_options("Send it there at once, and what else waits")
@privacy_option
def feedback(request_id: str, label: str, consent: bool, upload: bool, cloud: Connection | None, privacy: str) -> None:
    """Say what it really was: LABEL, of the prediction with the request id REQUEST.

    It labels the example that `predict --keep` kept. Unless --privacy is never, it also waits for the cloud.

    \b
      fedaffect edge predict --text "Well, fine." --keep
      fedaffect edge feedback REQUEST anger --consent
    """  # noqa: D301
    from fedaffect.edge.store import Journal, Sender

    cloud = permitted(cloud, privacy)
    client = None if cloud is None else cloud.open()
    journal = Journal(upload_examples=upload)
    try:
        receipt = journal.feedback(request_id, label, consent=consent, privacy=privacy)
        sent = None if client is None else Sender(journal.queue, client, privacy).drain()
    finally:
        journal.close()
        if client is not None:
            client.close()
    click.echo(_sentence(receipt, label, consent, sent))
    for note in receipt.notes:
        click.echo(f"note: {note}")


def _sentence(receipt: Receipt, label: str, consent: bool, sent: Sent | None) -> str:
    here = f"labelled {label}, {'may' if consent else 'may not'} be learned from" if receipt.labelled else "noted"
    if not receipt.queued:
        return f"{here}; nothing leaves this device (--privacy features tells the cloud too)"
    if sent is not None and not sent.stopped_by:
        return f"{here}; {sent}"
    what = " and ".join(receipt.queued)
    why = f"{sent.stopped_by}; send" if sent is not None else "send"
    return f"{here}; waiting for the cloud: {what} ({why} with: fedaffect edge queue send --cloud ADDRESS)"
