"""`fedaffect edge converse`: a conversation, each turn judged with those before it."""

from __future__ import annotations

from csv import DictReader
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from fedaffect.edge.cli.asking import bundle_options, open_runtime
from fedaffect.edge.errors import DataError, nearest

if TYPE_CHECKING:
    from fedaffect.edge.sample import Sample

_COLUMNS = ("speaker", "text", "audio", "video")


@click.command()
@bundle_options
@click.argument("turns", metavar="TURNS.csv", type=click.File(encoding="utf-8-sig"))
@click.option("--transcribe", is_flag=True, help="Find the words in the sound where a turn has no text.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a turn instead of a line.")
def converse(bundle_folder: Path | None, allow_unsigned: bool, turns: TextIO, transcribe: bool, as_json: bool) -> None:
    """Emotion of each turn of a conversation, by a fusion that remembers who said what before.

    TURNS.csv has a header of speaker, text, audio and video, whichever there are, and a line a turn; files are beside
    it or absolute. A dash reads turns from standard input and answers each as it comes.
    """
    name = getattr(turns, "name", None)
    folder = Path(name).parent if isinstance(name, str) and name != "<stdin>" else Path()
    rows = DictReader(iter(turns.readline, ""), strict=True)
    _check_header(rows.fieldnames)
    with open_runtime(bundle_folder, allow_unsigned, None, "never", transcribe) as runtime:
        conversation = runtime.conversation()
        for row in rows:
            speaker = row.get("speaker") or "somebody"
            prediction = conversation.say(_sample(row, folder, rows.line_num), speaker)
            if as_json:
                click.echo(dumps({"speaker": speaker, **prediction.to_json()}))
            else:
                notes = "".join(f"; {note}" for note in prediction.notes)
                click.echo(f"{speaker}: {prediction.label} {prediction.confidence:.0%}{notes}")


def _check_header(names: object) -> None:
    found = list(names) if isinstance(names, list) else []
    strange = next((name for name in found if name not in _COLUMNS), None)
    if strange is not None or len(found) < 1 or found == ["speaker"]:
        hint = f"; did you mean {near}?" if strange and (near := nearest(strange, _COLUMNS)) else ""
        raise DataError(f"the first line names the columns: some of {', '.join(_COLUMNS)}{hint}")


def _sample(row: dict[str, str | None], folder: Path, line: int) -> Sample:
    from fedaffect.edge.media.source import require_file
    from fedaffect.edge.runtime.intake import sample_of

    media = {kind: folder / named for kind in ("audio", "video") if (named := row.get(kind))}
    for path in media.values():
        require_file(path)
    text = row.get("text") or None
    if text is None and not media:
        raise DataError(f"line {line} has neither words nor a file; give text, audio or video")
    return sample_of(text=text, **media, sample_id=f"turn-{line}")
