"""A client's answer to one message of the protocol, whatever brought the message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fedaffect.client.layout import ArrayLayout, Values
from fedaffect.client.secagg.encoding import Encoding
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.masks import Words
from fedaffect.client.secagg.memory import Memory
from fedaffect.client.secagg.protocol import (
    KEYS,
    MASKED,
    SHARES,
    STAGES,
    UNMASK,
    advertise,
    mask,
    receive,
    reveal,
    rounding_secret,
    share,
)
from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.signed_keys import Credentials
from fedaffect.client.update import Update

# Of the record that each message of the protocol carries for its client alone.
STAGE, RUN, ROUND, ATTEMPT, CLIENT = "stage", "run", "round", "attempt", "client"
THRESHOLD, PAYLOAD = "threshold", "payload"
# Of what a client keeps for itself.
MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back, and what stays.

    Parameters
    ----------
    memory : bytes
        To be kept before the answer leaves; holds secrets.
    payload : bytes
        The answer, of every stage but ``masked``; there it names those whose shares this client cannot use.
    vector : uint32 or uint16 array, shape (V,), optional
        The answer to ``masked``.
    """

    memory: bytes
    payload: bytes = b""
    vector: Words | None = None


def answer_stage(
    record: Mapping[str, Any],
    memory: bytes | None,
    train: Callable[[], tuple[ArrayLayout, Values, Update]],
    credentials: Credentials,
) -> Answer:
    """Answer one message of the protocol.

    Parameters
    ----------
    record : mapping
        The message's own record.
    memory : bytes, optional
        What it kept of the last one.
    train : callable
        Called in ``masked`` only; gives layout, the parameters that came and the update to be masked.
    credentials : Credentials
        Sign this client's keys, and judge its neighbours'.

    Raises
    ------
    SecAggError
        If the client refuses; see :mod:`fedaffect.client.secagg.protocol`.
    """
    session = session_of(record)
    try:
        stage, payload, client = str(record[STAGE]), bytes(record[PAYLOAD]), int(record[CLIENT])
    except (KeyError, TypeError, ValueError) as error:
        raise _foreign(error) from error
    kept = None if memory is None else Memory.from_bytes(memory)
    if stage == KEYS:
        return _plain(advertise(kept, session, client, credentials))
    if stage == SHARES:
        return _plain(share(kept, session, client, int(record[THRESHOLD]), payload, credentials))
    if stage == UNMASK:
        return _plain(reveal(kept, session, client, payload))
    if stage != MASKED:
        raise SecAggError(f"secure aggregation has no stage {stage!r}; its stages are {', '.join(STAGES)}")
    encoding = Encoding.from_record(record)
    # Before training, which takes longest.
    changed, accused = receive(kept, session, client, payload)
    if accused:
        return _plain((changed, accused))
    secret = rounding_secret(changed, session)
    layout, start, update = train()
    changed, vector = mask(changed, session, client, encoding.encode(layout, start, update, secret))
    return Answer(changed.to_bytes(), vector=vector)


def session_of(record: Mapping[str, Any]) -> Session:
    """Which attempt a message of the protocol belongs to.

    Raises
    ------
    SecAggError
        If it does not say.
    """
    try:
        return Session(str(record[RUN]), int(record[ROUND]), int(record[ATTEMPT]))
    except (KeyError, TypeError, ValueError) as error:
        raise _foreign(error) from error


def _foreign(error: Exception) -> SecAggError:
    return SecAggError(f"a message of secure aggregation lacks {error}; it is not from a fedaffect server")


def _plain(answered: tuple[Memory, bytes]) -> Answer:
    memory, payload = answered
    return Answer(memory.to_bytes(), payload)
