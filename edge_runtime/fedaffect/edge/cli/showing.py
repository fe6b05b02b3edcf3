"""A prediction for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from fedaffect.edge.prediction import Prediction

_BAR: int = 30
_NAMES = {"text": "words", "audio": "voice", "video": "face"}


def sentence(prediction: Prediction) -> str:
    """One line: what, how sure, from what, where, how fast, why there."""
    senses = " and ".join(_NAMES.get(modality, modality) for modality in prediction.modalities)
    place = "this device" if prediction.source == "edge" else "the cloud"
    words = f"{prediction.label} {prediction.confidence:.0%}, from {senses}, by {place}"
    line = f"{words} in {prediction.latency_ms:.0f} ms ({prediction.offload_reason})"
    if prediction.transcript is not None:
        line += f', heard "{prediction.transcript}" in {prediction.transcription_ms or 0:.0f} ms more'
    return line


def bars(prediction: Prediction, alike: bool = False) -> Group:
    """The sentence, a bar for each label, and the notes.

    Parameters
    ----------
    prediction : Prediction
    alike : bool
        Keep the labels in their own order, so that live bars do not jump.
    """
    table = Table.grid(padding=(0, 1))
    shares = list(prediction.probabilities.items())
    if not alike:
        shares.sort(key=lambda pair: -pair[1])
    for label, share in shares:
        style = "bold green" if label == prediction.label else "dim"
        table.add_row(Text(label, style), Text("█" * round(_BAR * share) or "▏", style), Text(f"{share:6.1%}", style))
    notes = [Text(f"note: {note}", "yellow") for note in prediction.notes]
    return Group(Text(sentence(prediction), "bold"), table, *notes)
