"""`fedaffect edge feedback`: what a prediction should have been."""

from __future__ import annotations

import click

from edge_runtime.commands.asking import privacy_option
from edge_runtime.store import Journal, Receipt


@click.command()
@click.argument("request_id", metavar="REQUEST")
@click.argument("label")
@click.option("--consent", is_flag=True, help="The example may be learned from.")
@click.option("--upload", is_flag=True, help="With consent, its features travel to the cloud too.")
@privacy_option
def feedback(request_id: str, label: str, consent: bool, upload: bool, privacy: str) -> None:
    """Say what it really was: LABEL, of the prediction with the request id REQUEST.

    It labels the example that `predict --keep` kept. Unless --privacy is never, it also waits for the cloud.

    \b
      fedaffect edge predict --text "Well, fine." --keep
      fedaffect edge feedback REQUEST anger --consent
    """  # noqa: D301
    journal = Journal(upload_examples=upload)
    try:
        receipt = journal.feedback(request_id, label, consent=consent, privacy=privacy)
    finally:
        journal.close()
    click.echo(_sentence(receipt, label, consent))
    for note in receipt.notes:
        click.echo(f"note: {note}")


def _sentence(receipt: Receipt, label: str, consent: bool) -> str:
    here = f"labelled {label}, {'may' if consent else 'may not'} be learned from" if receipt.labelled else "noted"
    if not receipt.queued:
        return f"{here}; nothing leaves this device (--privacy features tells the cloud too)"
    what = " and ".join(receipt.queued)
    return f"{here}; waiting for the cloud: {what} (send with: fedaffect edge queue send --cloud ADDRESS)"
