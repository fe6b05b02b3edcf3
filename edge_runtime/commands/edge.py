"""`fedaffect edge`: what a device does."""

from __future__ import annotations

import click

from edge_runtime.commands.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "predict": ("edge_runtime.commands.predict:predict", "Emotion of a face, a voice, a sentence, or all of them."),
        "watch": ("edge_runtime.commands.watch:watch", "Camera and microphone, live bars in the terminal."),
        "bench": ("edge_runtime.commands.bench:bench", "How fast this device is, part by part."),
        "calibrate": ("edge_runtime.commands.calibrate:calibrate", "Choose when to ask the cloud; draw the curve."),
        "feedback": ("edge_runtime.commands.feedback:feedback", "Say what it really was."),
        "fetch": ("edge_runtime.commands.fetch:fetch", "Get a bundle from the cloud and use it from now on."),
        "examples": ("edge_runtime.commands.examples:examples", "What this device keeps to learn from."),
        "queue": ("edge_runtime.commands.queue:queue", "What waits for the network."),
    },
)
def edge() -> None:
    """Recognise emotion on this device; ask the cloud only where it pays."""
