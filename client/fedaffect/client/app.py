"""Flower's face of the client: messages in, messages out.

Flower starts a process for every message, so nothing heavy is imported here: torch alone would take seconds. Where a
resident trainer runs on the device the message is handed to it; anywhere else it is answered in this process.
"""

from __future__ import annotations

import os

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedaffect.client.device.handover import TRAINER_SOCKET, hand_over

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train this client's partition from the arrays that came."""
    return _answer(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate the arrays that came on this client's own rows of a split, or on those it trains with."""
    return _answer(message, context)


@app.query()
def query(message: Message, context: Context) -> Message:
    """Say who this node is: its partition, and how many examples it holds."""
    return _answer(message, context)


def _answer(message: Message, context: Context) -> Message:
    if trainer := os.environ.get(TRAINER_SOCKET):
        return hand_over(trainer, message, context)
    from fedaffect.client.answering import answer

    return answer(message, context)
