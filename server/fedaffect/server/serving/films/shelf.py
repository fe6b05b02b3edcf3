"""All films of a server: whose they are, how many, in which turn they are analysed, when they are forgotten."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import DataError
from fedaffect.server.errors import InvalidRequest, NotFound, Overloaded, ServingError, Unavailable
from fedaffect.server.serving.decoding.film import FilmReader
from fedaffect.server.serving.films.analysis import Analysis
from fedaffect.server.serving.films.film import Film
from fedaffect.server.serving.films.limits import FilmLimits, FilmSettings
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.limits import now_s
from fedaffect.server.serving.gateway.request_log import log_facts, log_unforeseen

_RETRY_S: Final = 30.0
_SWEEP_S: Final = 1.0


class Films:
    """Takes films in, has them analysed one after the other, and forgets them.

    Parameters
    ----------
    gateway : Gateway
        Its engine judges the windows.
    limits : FilmLimits, optional
    """

    def __init__(self, gateway: Gateway, limits: FilmLimits | None = None) -> None:
        self.limits = limits or FilmLimits()
        self._gateway = gateway
        self._films: dict[str, Film] = {}
        self._analyses: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(self.limits.at_once)
        self._threads = ThreadPoolExecutor(self.limits.at_once, "film")
        self._sweeper: asyncio.Task[None] | None = None

    def create(self, caller: str, size_bytes: int, settings: FilmSettings) -> Film:
        """Make room for a film.

        Raises
        ------
        RequestTooLarge
            If it is larger than a film may be.
        InvalidRequest
            If its windows are outside the limits.
        Overloaded
            If there are too many.
        Unavailable
            If no model is loaded, or there is no room on the disk.
        """
        self.limits.size(size_bytes)
        settings.check(self.limits, self._gateway.limits)
        if not self._gateway.ready():
            raise Unavailable("no model is loaded, so nothing can judge the film; wait until /readyz says ready")
        own = [film for film in self._films.values() if film.caller == caller]
        if len(own) >= self.limits.per_caller:
            over = [film for film in own if not film.expected_to_change]
            if not over:
                raise Overloaded(f"{self.limits.per_caller} films are under way; wait for one or give one up", _RETRY_S)
            self.forget(min(over, key=lambda film: film.touched_s))
        if sum(film.held_bytes for film in self._films.values()) + size_bytes > self.limits.all_bytes:
            raise Overloaded("the server holds as many films as it may; try again in a moment", _RETRY_S)
        film = Film(caller, size_bytes, settings, self.limits.example_bytes)
        self._films[film.id] = film
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())
        return film

    def find(self, caller: str, film_id: str) -> Film:
        """A caller's own film.

        Raises
        ------
        NotFound
            If there is none, or it is somebody else's.
        """
        film = self._films.get(film_id)
        if film is None or film.caller != caller:
            raise NotFound("no such film is here: it was forgotten, or the server was started again; send it again")
        film.touched_s = now_s()
        return film

    def example(self, caller: str, request_id: str) -> Mapping[str, pb.FeatureSequence]:
        """What the encoders made of a window of a caller's own films; nothing where that is not known."""
        own = (film for film in self._films.values() if film.caller == caller)
        return next((found for film in own if (found := film.examples.of(request_id))), {})

    async def append(self, film: Film, offset: int, chunks: AsyncIterator[bytes]) -> None:
        """As `Film.append`; a film that is complete is analysed in its turn."""
        try:
            await film.append(offset, chunks)
        finally:
            if film.state == "uploading" and film.received_bytes == film.size_bytes:
                film.state = "waiting"
                self._analyses[film.id] = asyncio.create_task(self._analyse(film))

    def forget(self, film: Film) -> None:
        """Give a film up, with all that is known of it."""
        self._films.pop(film.id, None)
        if (analysis := self._analyses.pop(film.id, None)) is not None:
            analysis.cancel()
        film.let_go()
        film.examples.close()

    async def close(self) -> None:
        """Give all of them up."""
        under_way = list(self._analyses.values())
        for film in list(self._films.values()):
            self.forget(film)
        if self._sweeper is not None:
            self._sweeper.cancel()
            under_way.append(self._sweeper)
        for task in under_way:
            with suppress(asyncio.CancelledError):
                await task
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _analyse(self, film: Film) -> None:
        began_s = now_s()
        try:
            async with self._places:
                film.state = "analysing"
                await self._with_reader(film)
            film.state = "done"
        except asyncio.CancelledError:
            film.state = "failed"
            raise
        except DataError as error:
            film.error = InvalidRequest(str(error))
        except ServingError as error:
            film.error = error
        except Exception as error:  # noqa: BLE001 the last place where it can be kept from the caller
            number = log_unforeseen(error, "film", "analyse")
            film.error = ServingError(f"the server failed; its operator finds the cause in the log as {number}")
        finally:
            film.let_go()
            film.touched_s = now_s()
            if film.error is not None:
                film.state = "failed"
            self._analyses.pop(film.id, None)
            facts = {"caller": film.caller, "bytes": film.size_bytes, "windows": len(film.timeline.windows)}
            outcome = "OK" if film.state == "done" else type(film.error).__name__ if film.error else "Cancelled"
            seconds = {"film_s": round(film.timeline.duration_s or 0.0, 1), "spent_s": round(now_s() - began_s, 1)}
            log_facts(logging.INFO, "film", facts | seconds | {"outcome": outcome})

    async def _with_reader(self, film: Film) -> None:
        number = film.hand_over()
        try:
            # At once and not on a thread: who is cancelled meanwhile would leave a process behind.
            reader = FilmReader(number)
        finally:
            os.close(number)
        try:
            await Analysis(
                self._gateway, film.caller, reader, film.timeline, film.examples, self.limits, self._threads
            ).run()
        finally:
            reader.close()

    async def _sweep(self) -> None:
        """Give up what nobody sends or asks for any more, until nothing is left."""
        while self._films:
            await asyncio.sleep(min(_SWEEP_S, self.limits.idle_s))
            for film in list(self._films.values()):
                most_s = {"uploading": self.limits.idle_s, "done": self.limits.kept_s, "failed": self.limits.kept_s}
                if now_s() - film.touched_s > most_s.get(film.state, float("inf")):
                    self.forget(film)
