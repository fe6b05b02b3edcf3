"""A stream or a film stays with the version that answered before, as long as that is served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.sample import Waveform
from fedaffect.server.errors import NotFound
from fedaffect.server.serving.engines.engine import Answer, Engine
from fedaffect.server.serving.engines.following import Follower, Unanswered
from fedaffect.server.serving.gateway.gateway import Gateway, Question, Reply, RequestContext


class OneVersion:
    """Asks window by window: what is shown must not flicker between two versions.

    Parameters
    ----------
    gateway : Gateway
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._version = ""

    async def predict(self, context: RequestContext, question: Question) -> Reply:
        """Ask the version that answered before, and where it was replaced, the one that the split chooses.

        Raises
        ------
        ServingError
            As of `Gateway.predict`.
        """
        try:
            reply = await self._gateway.predict(context, replace(question, model_version=self._version))
        except NotFound:
            if not self._version:
                raise
            self._version = ""
            reply = await self._gateway.predict(context, question)
        self._version = reply.answer.model_version
        return reply


class Followed:
    """Follows with one version, and where it is replaced, with another from there on; a `Follower`.

    Parameters
    ----------
    engine : Engine
    caller : str
    window_s : float

    Raises
    ------
    ServingError
        As of `Engine.follow`.
    """

    def __init__(self, engine: Engine, caller: str, window_s: float) -> None:
        self._engine = engine
        self._caller = caller
        self._window_s = window_s
        self._follower: Follower = engine.follow(caller, window_s)

    def hear(self, sound: Waveform, end_s: float) -> None:
        """Take sound that ends at a time and follows what came before."""
        self._follower.hear(sound, end_s)

    def say(self, text: str, at_s: float) -> None:
        """Take words."""
        self._follower.say(text, at_s)

    @asynccontextmanager
    async def turn(self, since_s: float) -> AsyncIterator[None]:
        """Wait for a turn."""
        async with AsyncExitStack() as turn:
            try:
                await turn.enter_async_context(self._follower.turn(since_s))
            except NotFound:
                self._follow_again()
                await turn.enter_async_context(self._follower.turn(since_s))
            yield

    async def answer(
        self, end_s: float, deadline_s: float, picture: NDArray[np.uint8] | None = None
    ) -> Answer | Unanswered:
        """Answer the window that ends at a time; of one that is followed anew, what comes from now on."""
        try:
            return await self._follower.answer(end_s, deadline_s, picture)
        except NotFound:
            self._follow_again()
            return await self._follower.answer(end_s, deadline_s, picture)

    def close(self) -> None:
        """Forget the stream."""
        self._follower.close()

    def _follow_again(self) -> None:
        self._follower.close()
        self._follower = self._engine.follow(self._caller, self._window_s)
