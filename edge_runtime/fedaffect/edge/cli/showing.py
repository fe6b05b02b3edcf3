"""A prediction for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from fedaffect.edge.adaptation import Adaptation
    from fedaffect.edge.attention import Attention
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
    adapted = [] if prediction.adaptation is None else [adaptation_line(prediction.adaptation)]
    return Group(Text(sentence(prediction), "bold"), table, *adapted, *notes)


def adaptation_line(adaptation: Adaptation) -> Text:
    """What an app is told to do, on the theme's accent colour."""
    line = Text(f" {adaptation.response} ", "reverse")
    line.append(f" {adaptation.theme} colours, {adaptation.tone} tone, {adaptation.pace} pace", "not reverse")
    if adaptation.cues:
        line.append(f": {' '.join(adaptation.cues)}", "not reverse")
    if adaptation.note:
        line.append(f" ({adaptation.note})", "yellow not reverse")
    return line


def attention_table(attention: Attention) -> Table:
    """How much each sense attends to each, of the cross-modal attention, on average over tokens and heads."""
    names = [_NAMES.get(modality, modality) for modality in attention.tokens]
    table = Table("attention of", *(f"to {name}" for name in names), box=None, pad_edge=False)
    for name, row in zip(names, attention.between(), strict=True):
        table.add_row(name, *(f"{share:.1%}" for share in row))
    return table
