"""Messages to a SuperLink that answers late: pushed again instead of ending the ServerApp."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import httpx
from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

_GIVE_UP_S: Final = 120.0
_FIRST_S: Final = 0.5
_LONGEST_S: Final = 10.0

logger = logging.getLogger("flwr")


def push_messages(grid: Grid, messages: Sequence[Message], give_up_s: float = _GIVE_UP_S) -> list[str]:
    """Push messages, and again where the SuperLink was too slow to say that it has them.

    Flower asks again by itself where an answer does not come within ten seconds. An object that the SuperLink had
    stored by then is not wanted any more, which Flower takes for a failure. Messages and objects are named by their
    content, so pushing them once more stores only what is missing.

    Parameters
    ----------
    grid : Grid
    messages : sequence of Message
    give_up_s : float
        How long to go on, in seconds.

    Returns
    -------
    list of str
        Ids of the messages, in their order.

    Raises
    ------
    ObjectPushError, httpx.TransportError
        If the SuperLink does not take them for so long.
    """
    attempts = Retrying(
        retry=retry_if_exception_type((ObjectPushError, httpx.TransportError)),
        wait=wait_exponential_jitter(multiplier=_FIRST_S, max=_LONGEST_S, jitter=_FIRST_S),
        stop=stop_after_delay(give_up_s),
        before_sleep=before_sleep_log(logger, logging.WARNING),
        reraise=True,
    )
    return [str(message_id) for message_id in attempts(grid.push_messages, messages)]
