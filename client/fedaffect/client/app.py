"""Flower's entry to the client: messages in, messages out.

Flower starts a process for every message, so nothing heavy is imported here before a message is answered. A fleet's
device does not come by here: its resident trainer answers in `fedaffect.client.device.resident`.
"""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

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
    from fedaffect.client.flower_messages import answer_message

    return answer_message(message, context)
