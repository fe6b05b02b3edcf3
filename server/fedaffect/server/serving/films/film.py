"""One film on the server: its bytes, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, Literal

from fedaffect.server.errors import Conflict, InvalidRequest, ServingError, Unavailable
from fedaffect.server.serving.films.examples import FilmExamples
from fedaffect.server.serving.films.limits import FilmSettings
from fedaffect.server.serving.films.timeline import Timeline
from fedaffect.server.serving.films.uploads import UploadFile
from fedaffect.server.serving.gateway.limits import now_s

State = Literal["uploading", "waiting", "analysing", "done", "failed"]

_WRITE_BYTES: Final = 1 << 18


@dataclass(slots=True)
class Film:
    """A film from its first byte to the moment when it is forgotten.

    Attributes
    ----------
    caller : str
        Whose it is; nobody else finds it.
    size_bytes, received_bytes : int
    settings : FilmSettings
    file : UploadFile
        Its bytes, up to the end of the analysis.
    example_bytes : int
        As in `FilmLimits`.
    timeline : Timeline
    examples : FilmExamples
    state : str
    error : ServingError, optional
        Why it failed.
    touched_s : float
        When somebody last did something with it, on the clock of ``time.monotonic``.
    """

    caller: str
    size_bytes: int
    settings: FilmSettings
    file: UploadFile
    example_bytes: int
    id: str
    received_bytes: int = 0
    state: State = "uploading"
    error: ServingError | None = None
    touched_s: float = field(default_factory=now_s)
    timeline: Timeline = field(init=False)
    examples: FilmExamples = field(init=False)
    _turn: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.timeline = Timeline(self.settings.window_s, self.settings.hop_s)
        self.examples = FilmExamples(self.example_bytes)

    @property
    def held_bytes(self) -> int:
        """What it takes, or will take, of the disk."""
        return (self.size_bytes if self.file.is_open else 0) + self.examples.held_bytes

    @property
    def expected_to_change(self) -> bool:
        """Whether it is still sent or analysed."""
        return self.state in ("uploading", "waiting", "analysing")

    async def append(self, offset: int, chunks: AsyncIterator[bytes]) -> None:
        """Take bytes from a place on; what came is confirmed also where the connection ends on the way.

        Of two senders the later one goes on, since the earlier one's connection may be dead.

        Raises
        ------
        Conflict
            If the bytes before that place are not all here, it is not being sent any more, or another sender came.
        InvalidRequest
            If more comes than was announced.
        Unavailable
            If the disk is full.
        """
        if self.state != "uploading":
            raise Conflict(f"the film is {self.state} and takes no more bytes; begin another one")
        if offset != self.received_bytes:
            raise Conflict(f"the film has {self.received_bytes} bytes and not {offset}; go on from there")
        self._turn += 1
        turn, waiting = self._turn, bytearray()
        try:
            async for chunk in chunks:
                waiting += chunk
                if len(waiting) >= _WRITE_BYTES:
                    await self._write(waiting, turn)
        finally:
            await self._write(waiting, turn)
        if turn != self._turn:
            raise Conflict("somebody else goes on with this upload; ask for its offset")

    def hand_over(self) -> int:
        """A copy of the file's number; this side lets go of its own, so that the copy is the last one."""
        if not self.file.is_open:
            raise InvalidRequest("the film is not here any more; send it again")
        number = os.dup(self.file.fileno())
        self.put_down()
        return number

    def put_down(self) -> None:
        """Write nothing more; bytes that have a name stay."""
        self._turn += 1
        self.file.close()

    def let_go(self) -> None:
        """Delete the bytes."""
        self._turn += 1
        self.file.delete()

    async def _write(self, waiting: bytearray, turn: int) -> None:
        """Write what waits, behind what is there, and count it."""
        if turn != self._turn or not self.file.is_open or not waiting:
            return
        if self.received_bytes + len(waiting) > self.size_bytes:
            raise InvalidRequest(f"more came than the {self.size_bytes} bytes that were announced; begin again")
        data = bytes(waiting)
        waiting.clear()
        try:
            await asyncio.shield(asyncio.to_thread(_write_all, os.dup(self.file.fileno()), data, self.received_bytes))
        except OSError as error:
            raise no_room(error) from None
        if turn == self._turn:
            self.received_bytes += len(data)
            self.touched_s = now_s()


def _write_all(number: int, data: bytes, offset: int) -> None:
    try:
        while data:
            count = os.pwrite(number, data, offset)
            data, offset = data[count:], offset + count
    finally:
        os.close(number)


def no_room(error: OSError) -> Unavailable:
    """A disk that is full, as callers are told of it."""
    return Unavailable(f"the server cannot keep the film now ({error.strerror}); try again later or tell its operator")
