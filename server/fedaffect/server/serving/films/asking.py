"""A film can wait: an engine that is busy or away is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fedaffect.server.errors import DeadlinePassed, InvalidRequest, Overloaded, Unavailable
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.limits import now_s

# Behind live requests, whose deadlines are sooner.
_DEADLINE_MS: Final = 60_000.0
_AWAY_S: Final = 60.0
_RETRY_S: Final = 1.0
_LATE_TRIES: Final = 3

Result = TypeVar("Result")


async def until_answered(gateway: Gateway, ask: Callable[[float], Awaitable[Result]]) -> Result | str:
    """Ask until there is an answer, or a reason why there will be none.

    Parameters
    ----------
    gateway : Gateway
    ask : callable
        Told the deadline, on the clock of ``time.monotonic``.

    Raises
    ------
    Unavailable
        If no model is served for a minute, or the server stops.
    """
    late, away_s = 0, now_s() + _AWAY_S
    while True:
        try:
            return await ask(gateway.limits.deadline_s(now_s(), _DEADLINE_MS))
        except Overloaded as error:
            await asyncio.sleep(error.retry_after_s)
        except DeadlinePassed as error:
            late += 1
            if late == _LATE_TRIES:
                return str(error)
        except InvalidRequest as error:
            return str(error)
        except Unavailable:
            if gateway.draining or now_s() > away_s:
                raise
            await asyncio.sleep(_RETRY_S)
