"""`fedaffect edge predict`: the emotion of a face, a voice, a sentence, or all of them."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from fedaffect.edge.cli.asking import asking_options, open_runtime
from fedaffect.edge.cli.connection import Connection
from fedaffect.edge.cli.showing import attention_table, bars
from fedaffect.edge.errors import ConfigError

if TYPE_CHECKING:
    from fedaffect.edge.adaptation import Policy
    from fedaffect.edge.store import Journal

_FILE = click.Path(path_type=Path)


@click.command()
@asking_options
@click.option("--video", type=_FILE, help="A film (MP4, WebM, …); its sound is used too, unless --audio is given.")
@click.option("--audio", type=_FILE, help="A sound (WAV, FLAC, OGG, M4A, …).")
@click.option("--image", type=_FILE, help="A picture (JPEG, PNG, …), of a person or of a face.")
@click.option("--text", help="The words.")
@click.option("--transcribe", is_flag=True, help="Find the words in the sound where no --text is given.")
@click.option("--deadline-ms", type=click.FloatRange(min=1), help="Wait for the cloud no longer than this in all.")
@click.option("--keep", is_flag=True, help="Keep the features as an example, to be labelled by: edge feedback.")
@click.option("--defer", is_flag=True, help="Where the cloud is out of reach, let the question wait for it.")
@click.option("--attention", is_flag=True, help="Also which modality attends to which on this device; all in --json.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of bars.")
def predict(
    bundle_folder: Path | None,
    allow_unsigned: bool,
    personal: bool,
    adapt: bool | Policy,
    language: str,
    adapt_learns: bool,
    cloud: Connection | None,
    privacy: str,
    video: Path | None,
    audio: Path | None,
    image: Path | None,
    text: str | None,
    transcribe: bool,
    deadline_ms: float | None,
    keep: bool,
    defer: bool,
    attention: bool,
    as_json: bool,
) -> None:
    """Emotion of a face, a voice, a sentence, or all of them."""
    from fedaffect.edge.media.source import require_file
    from fedaffect.edge.runtime.intake import sample_of

    if video is not None and image is not None:
        raise ConfigError("--video and --image are both pictures of one face; give one of them")
    if video is None and audio is None and image is None and text is None:
        raise ConfigError("nothing to go by; give --video, --audio, --image or --text, or several")
    if defer and cloud is None:
        raise ConfigError("--defer lets a question wait for a cloud, and there is none; add --cloud ADDRESS")
    if defer and privacy == "never":
        raise ConfigError("--defer lets a question leave this device later; add --privacy features or --privacy raw")
    # A runtime leaves out what it cannot use; a path that somebody mistyped is to be corrected instead.
    for path in (video, audio, image):
        if path is not None:
            require_file(path)
    sample = sample_of(text=text, audio=audio, video=video if image is None else image, sample_id="predict")
    journal = _journal(keep, defer) if keep or defer else None
    with open_runtime(
        bundle_folder, allow_unsigned, cloud, privacy, transcribe, journal, personal, adapt, language, adapt_learns
    ) as runtime:
        prediction = runtime.predict(sample, deadline_ms)
        attended = runtime.attention(sample) if attention else None
    if as_json:
        shown = {} if attended is None else {"attention": attended.to_json()}
        click.echo(dumps(prediction.to_json() | shown))
    else:
        console = Console(highlight=False)
        console.print(bars(prediction))
        if attended is not None:
            console.print(attention_table(attended))
        if journal is not None:
            click.echo(f"request {prediction.request_id}")


def _journal(keep: bool, defer: bool) -> Journal:
    # Here, not above: what is not remembered needs no store.
    from fedaffect.edge.store import Journal

    return Journal(keep_examples=keep, defer_predictions=defer)
