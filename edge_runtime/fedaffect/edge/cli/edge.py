"""`fedaffect edge`: what a device does."""

from __future__ import annotations

import click

from fedaffect.edge.cli.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "predict": ("fedaffect.edge.cli.predict:predict", "Emotion of a face, a voice, a sentence, or all of them."),
        "converse": ("fedaffect.edge.cli.converse:converse", "Each turn of a conversation, with those before it."),
        "watch": ("fedaffect.edge.cli.watch:watch", "Camera and microphone, live bars in the terminal."),
        "bench": ("fedaffect.edge.cli.bench:bench", "How fast this device is, part by part."),
        "calibrate": ("fedaffect.edge.cli.calibrate:calibrate", "Choose when to ask the cloud; draw the curve."),
        "feedback": ("fedaffect.edge.cli.feedback:feedback", "Say what it really was."),
        "fetch": ("fedaffect.edge.cli.fetch:fetch", "Get a bundle from the cloud and use it from now on."),
        "adaptation": ("fedaffect.edge.cli.adaptation:adaptation", "How apps are told to answer to a person."),
        "personal": ("fedaffect.edge.cli.personal:personal", "What your own labels change."),
        "examples": ("fedaffect.edge.cli.examples:examples", "What this device keeps to learn from."),
        "queue": ("fedaffect.edge.cli.queue:queue", "What waits for the network."),
    },
)
def edge() -> None:
    """Recognise emotion on this device; ask the cloud only where it pays."""
