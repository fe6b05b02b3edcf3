"""All films of a server: whose they are, how many, in which turn they are analysed, when they are forgotten."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import DataError
from fedaffect.server.errors import InvalidRequest, NotFound, Overloaded, ServingError, Unavailable
from fedaffect.server.serving.decoding.film import FilmReader
from fedaffect.server.serving.films.analysis import Analysis
from fedaffect.server.serving.films.film import Film, no_room
from fedaffect.server.serving.films.limits import FilmLimits, FilmSettings
from fedaffect.server.serving.films.uploads import Uploads
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.limits import now_s
from fedaffect.server.serving.gateway.request_log import log_facts, log_unforeseen

_RETRY_S: Final = 30.0
_SWEEP_S: Final = 1.0
_LOOK_S: Final = 0.5
# So many servers may be killed while they analyse a film before the next one takes it for the cause.
_MOST_ATTEMPTS: Final = 3


class Films:
    """Takes films in, has them analysed one after the other, and forgets them.

    Parameters
    ----------
    gateway : Gateway
        Its engine judges the windows.
    limits : FilmLimits, optional
    uploads : Uploads, optional
        Where their bytes go until they are analysed; into files without a name where left out.
    """

    def __init__(self, gateway: Gateway, limits: FilmLimits | None = None, uploads: Uploads | None = None) -> None:
        self.limits = limits or FilmLimits()
        self._gateway = gateway
        self._films: dict[str, Film] = {}
        self._analyses: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(self.limits.at_once)
        self._threads = ThreadPoolExecutor(self.limits.at_once, "film")
        self._uploads = uploads or Uploads()
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = False

    def resume(self) -> None:
        """Go on with what an earlier server had begun, as far as it is not too old."""
        if not self._uploads.open():
            log_facts(
                logging.WARNING,
                "the folder of uploads cannot be written, or another server uses it: films are forgotten at the end",
                {},
            )
        for kept in self._uploads.kept():
            complete = kept.received_bytes == kept.size_bytes
            # Nobody sends what is complete: it is old by the time that it waits and is analysed.
            too_old = kept.idle_s > (self.limits.kept_s if complete else self.limits.idle_s)
            if too_old or kept.file.attempts >= _MOST_ATTEMPTS:
                facts = {"caller": kept.caller, "bytes": kept.size_bytes, "idle_s": round(kept.idle_s)}
                attempts = {"attempts": kept.file.attempts}
                log_facts(logging.WARNING, "a film of an earlier server was given up", facts | attempts)
                kept.file.delete()
                continue
            film = Film(kept.caller, kept.size_bytes, kept.settings, kept.file, self.limits.example_bytes, kept.id)
            film.received_bytes = kept.received_bytes
            film.touched_s = now_s() - kept.idle_s
            self._take(film)
            if complete:
                self._begin_analysis(film)

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
        film_id = secrets.token_hex(16)
        try:
            file = self._uploads.begin(film_id, caller, size_bytes, settings)
        except OSError as error:
            raise no_room(error) from None
        film = Film(caller, size_bytes, settings, file, self.limits.example_bytes, film_id)
        self._take(film)
        return film

    def _take(self, film: Film) -> None:
        self._films[film.id] = film
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())

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
        """What the encoders made of a window of a caller's own films; nothing where that is not known.

        May be called on any thread, since it reads files.
        """
        own = [film for film in list(self._films.values()) if film.caller == caller]
        return next((found for film in own if (found := film.examples.of(request_id))), {})

    async def append(self, film: Film, offset: int, chunks: AsyncIterator[bytes]) -> None:
        """As `Film.append`; a film that is complete is analysed in its turn."""
        try:
            await film.append(offset, chunks)
        finally:
            if film.state == "uploading" and film.received_bytes == film.size_bytes:
                self._begin_analysis(film)

    def _begin_analysis(self, film: Film) -> None:
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
        """Give all of them up; those that are not analysed yet stay where the next server finds them, if anywhere."""
        self._closing = True
        under_way = list(self._analyses.values())
        for film in self._films.values():
            if (analysis := self._analyses.get(film.id)) is not None:
                analysis.cancel()
            film.put_down()
            film.examples.close()
        self._films.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            under_way.append(self._sweeper)
        for task in under_way:
            with suppress(asyncio.CancelledError):
                await task
        self._uploads.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _analyse(self, film: Film) -> None:
        began_s = now_s()
        try:
            # After a restart, films are here before the model is.
            while not self._gateway.ready():
                await asyncio.sleep(_LOOK_S)
            async with self._places:
                film.state = "analysing"
                film.file.count_attempt()
                await self._with_reader(film)
            film.state = "done"
        except asyncio.CancelledError:
            if self._closing and film.state == "analysing":
                # That this server ends in order is none of the film's doing.
                film.file.count_attempt(-1)
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
            if self._closing:
                film.put_down()
            else:
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
