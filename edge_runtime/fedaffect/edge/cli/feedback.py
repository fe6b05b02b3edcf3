"""`fedaffect edge feedback`: what a prediction should have been."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from fedaffect.edge.cli.connection import Connection, cloud_options, permitted, privacy_option
from fedaffect.edge.cli.facts import json_option, say
from fedaffect.edge.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fedaffect.edge.store import Example, Journal, Receipt, Sent


@click.command()
@click.argument("said", metavar="[REQUEST] [LABEL]", nargs=-1)
@click.option("--last", is_flag=True, help="Of the newest answer that was kept, in place of REQUEST.")
@click.option("--right", is_flag=True, help="It was what was answered, in place of LABEL.")
@click.option("--consent", is_flag=True, help="The example may be learned from.")
@click.option("--upload", is_flag=True, help="With consent, its features travel to the cloud too.")
@cloud_options("Send it there at once, and what else waits")
@privacy_option
@json_option
def feedback(
    said: tuple[str, ...],
    last: bool,
    right: bool,
    consent: bool,
    upload: bool,
    cloud: Connection | None,
    privacy: str,
    as_json: bool,
) -> None:
    """Say what it really was: LABEL, of the prediction with the request id REQUEST.

    It labels the example that `predict --keep` kept. Unless --privacy is never, it also waits for the cloud.

    \b
      fedaffect edge predict --text "Well, fine." --keep
      fedaffect edge feedback --last anger --consent
      fedaffect edge feedback --last --right --consent
    """  # noqa: D301
    from fedaffect.edge.store import Journal, Sender

    cloud = permitted(cloud, privacy)
    client = None if cloud is None else cloud.open()
    journal = Journal(upload_examples=upload)
    try:
        request_id, label, of = _meant(journal, said, last, right)
        receipt = journal.feedback(request_id, label, consent=consent, privacy=privacy)
        sent = None if client is None else Sender(journal.queue, client, privacy).drain()
    finally:
        journal.close()
        if client is not None:
            client.close()
    lines = [_sentence(receipt, label, consent, sent)]
    if last and of is not None:
        # Whatever was asked since, and not kept, is not meant.
        at = datetime.fromtimestamp(of.added_s).strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"of the answer {of.predicted}, kept at {at}")
    notes = [*receipt.notes, *_no_place(label)]
    facts = {"request_id": request_id, "label": label, "consent": consent, "labelled": receipt.labelled}
    queued = {"queued": [str(kind) for kind in receipt.queued], "notes": notes}
    say(as_json, facts | queued, *lines, *(f"note: {note}" for note in notes))


def _meant(journal: Journal, said: tuple[str, ...], last: bool, right: bool) -> tuple[str, str, Example | None]:
    """Of which request what is said, and its example, if it is kept."""
    wanted = [name for name, given in (("REQUEST (or --last)", last), ("LABEL (or --right)", right)) if not given]
    if len(said) != len(wanted):
        raise ConfigError(f"give {' and '.join(wanted) or 'neither REQUEST nor LABEL'}, not {len(said)} words")
    words = list(said)
    if last:
        kept = journal.examples.examples()
        if not kept:
            raise DataError("no answer was kept; ask with: fedaffect edge predict --keep")
        example = kept[-1]
    else:
        request_id = words.pop(0)
        found = journal.examples.find(request_id)
        if found is None and right:
            raise DataError(f"there is no example {request_id!r}; see: fedaffect edge examples list")
        if found is None:
            return request_id, words[0], None
        example = found
    return example.request_id, example.predicted if right else words[0], example


def _no_place(label: str) -> list[str]:
    """That the bundle in use cannot answer the label; nothing where there is no bundle to ask."""
    from fedaffect.edge.bundle import Manifest, usual_bundle_path
    from fedaffect.edge.errors import BundleError

    try:
        labels = Manifest.read(usual_bundle_path()).label_set
    except BundleError:
        return []
    return [] if labels is None or labels.index(label) is not None else [labels.without_place_for(label)]


def _sentence(receipt: Receipt, label: str, consent: bool, sent: Sent | None) -> str:
    here = f"labelled {label}, {'may' if consent else 'may not'} be learned from" if receipt.labelled else "noted"
    if not receipt.queued:
        return f"{here}; nothing leaves this device (--privacy features tells the cloud too)"
    if sent is not None and not sent.stopped_by:
        return f"{here}; {sent}"
    what = " and ".join(receipt.queued)
    why = f"{sent.stopped_by}; send" if sent is not None else "send"
    return f"{here}; waiting for the cloud: {what} ({why} with: fedaffect edge queue send --cloud ADDRESS)"
