"""`fedaffect edge watch`: camera and microphone, or a film, with live bars."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live

from fedaffect.edge.cli.asking import asking_options, open_runtime
from fedaffect.edge.cli.connection import Connection
from fedaffect.edge.cli.showing import bars
from fedaffect.edge.errors import DataError

if TYPE_CHECKING:
    from fedaffect.edge.adaptation import Policy
    from fedaffect.edge.media.capture import Camera, Microphone
    from fedaffect.edge.media.timed import Pictures, Sounds
    from fedaffect.edge.prediction import Prediction


@click.command()
@asking_options
@click.option("--video", type=click.Path(path_type=Path), help="A film instead of camera and microphone.")
@click.option("--camera", metavar="DEVICE", help="Such as v4l2:/dev/video2; 'none' does without.")
@click.option("--microphone", metavar="DEVICE", help="Such as alsa:hw:1; 'none' does without.")
@click.option("--text", help="Words that hold all the time.")
@click.option("--window-s", default=3.0, show_default=True, help="How much one answer looks back on.")
@click.option("--hop-s", default=0.5, show_default=True, help="Time between answers.")
@click.option("--smoothing-s", default=1.0, show_default=True, help="Time constant that steadies the answers; 0: none.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many answers.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each answer instead of bars.")
def watch(
    bundle_folder: Path | None,
    allow_unsigned: bool,
    personal: bool,
    adapt: bool | Policy,
    language: str,
    adapt_learns: bool,
    cloud: Connection | None,
    privacy: str,
    video: Path | None,
    camera: str | None,
    microphone: str | None,
    text: str | None,
    window_s: float,
    hop_s: float,
    smoothing_s: float,
    count: int | None,
    as_json: bool,
) -> None:
    """Camera and microphone, live bars in the terminal; stop with Ctrl-C."""
    from fedaffect.edge.media.capture import Camera, Microphone
    from fedaffect.edge.media.source import require_file

    if video is not None:
        require_file(video)
    console = Console(highlight=False)
    with open_runtime(
        bundle_folder,
        allow_unsigned,
        cloud,
        privacy,
        personal=personal,
        adapt=adapt,
        language=language,
        adapt_learns=adapt_learns,
    ) as runtime:
        pictures, sounds = _film(video) if video is not None else _devices(camera, microphone)
        try:
            answers = runtime.stream(pictures, sounds, text, window_s, hop_s, smoothing_s)
            if video is not None and console.is_terminal and not as_json:
                answers = _paced(answers, hop_s)
            _show(answers, console, as_json, count)
        finally:
            for source in (pictures, sounds):
                if isinstance(source, Camera | Microphone):
                    source.close()


def _film(video: Path) -> tuple[Pictures, Sounds | None]:
    from fedaffect.edge.media.sound import has_sound

    return video, video if has_sound(video) else None


def _devices(camera: str | None, microphone: str | None) -> tuple[Pictures | None, Sounds | None]:
    """What there is of both; what is missing is said, and only both missing is an error."""
    from fedaffect.edge.media.capture import Camera, Microphone

    start_s = monotonic()
    pictures: Camera | None = None
    sounds: Microphone | None = None
    missing: list[str] = []
    try:
        pictures = None if camera == "none" else Camera(camera, start_s)
    except DataError as error:
        missing.append(str(error))
    try:
        sounds = None if microphone == "none" else Microphone(microphone)
    except DataError as error:
        missing.append(str(error))
    if pictures is None and sounds is None:
        raise DataError(". ".join(missing) or "no camera and no microphone is wanted; leave one of the two 'none' out")
    for line in missing:
        click.echo(f"note: {line}", err=True)
    return pictures, sounds


def _paced(answers: Iterator[Prediction], hop_s: float) -> Iterator[Prediction]:
    """As fast as the film runs, not as fast as it can be computed."""
    due_s = monotonic()
    for answer in answers:
        sleep(max(0.0, due_s - monotonic()))
        due_s += hop_s
        yield answer


def _show(answers: Iterator[Prediction], console: Console, as_json: bool, count: int | None) -> None:
    if as_json or not console.is_terminal:
        for place, answer in enumerate(answers, start=1):
            click.echo(dumps(answer.to_json()))
            if place == count:
                return
        return
    with Live(console=console, auto_refresh=False) as live:
        for place, answer in enumerate(answers, start=1):
            live.update(bars(answer, alike=True), refresh=True)
            if place == count:
                return
