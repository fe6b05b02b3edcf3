"""Several versions of the model at once: loaded, split by share, rolled back and drained while requests go on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import InvalidRequest, NotFound, Overloaded, Unavailable
from fedaffect.server.registry.deployments import checked_shares
from fedaffect.server.registry.model_folder import FEATURES, MEDIA, describe
from fedaffect.server.serving.engines.engine import Answer, Engine, ModelInfo, Request
from fedaffect.server.serving.engines.following import Follower, Unanswered
from fedaffect.server.serving.engines.split import choose_version

_LOG: Final = logging.getLogger(__name__)
_INSTEAD: Final = {
    FEATURES: "send the sample itself (--privacy raw), or serve a model of profile edge-features as well",
    MEDIA: "send features (--privacy features), or serve a model that takes media as well",
}

# Opens a model folder; what is slow in it runs off the event loop.
Opener: TypeAlias = Callable[[Path], Awaitable[Engine]]


@dataclass(eq=False, slots=True)
class _Slot:
    """One loaded version, and how many requests are inside it."""

    folder: Path
    kind: str
    engine: Engine
    inside: int = 0
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self) -> None:
        self.inside += 1
        self.empty.clear()

    def leave(self) -> None:
        self.inside -= 1
        if self.inside == 0:
            self.empty.set()

    async def wait_empty(self, at_most_s: float) -> bool:
        if self.inside == 0:
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.empty.wait(), at_most_s)
        return self.inside == 0


class _Slotted:
    """A follower whose version stays until its last answer was given."""

    def __init__(self, slot: _Slot, follower: Follower, is_served: Callable[[], bool]) -> None:
        self._slot = slot
        self._follower = follower
        self._is_served = is_served
        self.hear = follower.hear
        self.say = follower.say
        self.close = follower.close

    @contextlib.asynccontextmanager
    async def turn(self, since_s: float) -> AsyncIterator[None]:
        self._require_served()
        self._slot.enter()
        async with contextlib.AsyncExitStack() as turn:
            turn.callback(self._slot.leave)
            try:
                await turn.enter_async_context(self._follower.turn(since_s))
            except Unavailable:
                # It was closed while this one waited.
                self._require_served()
                raise
            yield

    def _require_served(self) -> None:
        if not self._is_served():
            raise NotFound("the version that followed this stream is no longer served; follow it with another")

    async def answer(
        self, end_s: float, deadline_s: float, picture: NDArray[np.uint8] | None = None
    ) -> Answer | Unanswered:
        self._require_served()
        self._slot.enter()
        try:
            return await self._follower.answer(end_s, deadline_s, picture)
        finally:
            self._slot.leave()


@dataclass(frozen=True, slots=True)
class _Split:
    """Who gets what; replaced as a whole, so that a request sees one state or the other."""

    folders: Mapping[str, Path]
    shares: Mapping[str, float]


class VersionedEngine:
    """An `Engine` of engines; lives on one event loop.

    A version that a change adds is loaded before the first request is sent to it; one that a change leaves out
    gets nothing new, finishes what it has, and is closed. A version with share 0 stays loaded, answers those who
    ask for it by name, and can be rolled back to at once.

    Parameters
    ----------
    opener : callable
        Makes an engine from a model folder.
    drain_s : float
        How long a version that was left out may go on with what it has.
    """

    def __init__(self, opener: Opener, *, drain_s: float = 30.0) -> None:
        self._opener = opener
        self._drain_s = drain_s
        self._slots: dict[str, _Slot] = {}
        self._loading = 0
        self._shares: Mapping[str, float] = {}
        self._history: list[_Split] = []
        self._changing = asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()
        self._closed = False

    async def predict(self, request: Request) -> Answer:
        """Answer with the version asked for, or the one that the split chooses for the request's id.

        Raises
        ------
        NotFound
            If the version asked for is not loaded.
        InvalidRequest
            If the request brings features and no version takes them, or media and no version takes those.
        Unavailable
            If no version is loaded, or the server is closing.
        """
        slot = self._slot_for(request)
        # Nothing is awaited between choosing and entering: a slot that is being left out was either entered
        # before that, and waits for this request, or is not chosen.
        slot.enter()
        try:
            return await slot.engine.predict(request)
        finally:
            slot.leave()

    def follow(self, client: str, window_s: float) -> Follower:
        """Follow a stream with one version, which says `NotFound` once it is no longer served."""
        slot = self._slot_for(Request(id=secrets.token_hex(16), client=client))
        return _Slotted(slot, slot.engine.follow(client, window_s), lambda: slot in self._slots.values())

    def check_room(self, client: str) -> None:
        """Turn a request away where every version that it could come to would."""
        refusals: list[Overloaded] = []
        serving = [self._slots[version] for version, share in self._shares.items() if share > 0]
        for slot in serving:
            try:
                slot.engine.check_room(client)
            except Overloaded as error:
                refusals.append(error)
        if serving and len(refusals) == len(serving):
            raise min(refusals, key=lambda error: error.retry_after_s)

    def models(self) -> tuple[ModelInfo, ...]:
        """Versions loaded, with their shares."""
        return tuple(
            replace(info, share=self._shares.get(version, 0.0))
            for version, slot in self._slots.items()
            for info in slot.engine.models()
        )

    def ready(self) -> bool:
        """Whether each version that gets requests would answer now."""
        serving = [self._slots[version] for version, share in self._shares.items() if share > 0]
        return bool(serving) and not self._closed and all(slot.engine.ready() for slot in serving)

    @property
    def shares(self) -> Mapping[str, float]:
        """Of requests, by version."""
        return dict(self._shares)

    async def load(self, folder: Path, share: float = 1.0) -> str:
        """Load a model folder and give it a share; the others keep what is left, in their proportion.

        Returns
        -------
        str
            Its version.

        Raises
        ------
        BundleError
            If the folder is no model; nothing has changed then.
        """
        described = describe(folder)
        version = described.version
        alike = {name for name, slot in self._slots.items() if slot.kind == described.kind and name != version}
        total = sum(self._shares[name] for name in alike)
        shares = {name: value for name, value in self._shares.items() if name not in alike}
        if total and share < 1.0:
            # Otherwise, as with `server models share`, those who are left with nothing go.
            shares |= {name: self._shares[name] / total * (1 - share) for name in alike}
        await self.apply({**self._folders(), version: folder}, {**shares, version: share if total else 1.0})
        return version

    async def apply(self, folders: Mapping[str, Path], shares: Mapping[str, float]) -> None:
        """Serve these versions, with these shares, and no others.

        Parameters
        ----------
        folders : mapping of str to Path
            Model folders; one for each version in ``shares``, further ones do not matter.
        shares : mapping of str to float
            Add up to 1 among the versions that answer media, and among those that answer features.

        Raises
        ------
        ConfigError, NotFound, BundleError
            If it cannot be done; what was served before still is.
        """
        async with self._changing:
            before = _Split(self._folders(), dict(self._shares))
            await self._switch(_Split(dict(folders), dict(shares)))
            if before.shares and before.shares != self._shares:
                self._history.append(before)

    async def rollback(self) -> Mapping[str, float]:
        """Go back to the split before this one, loading what was drained meanwhile.

        Raises
        ------
        NotFound
            If there was none.
        """
        async with self._changing:
            if not self._history:
                raise NotFound("there is no earlier split to go back to")
            await self._switch(self._history[-1])
            self._history.pop()
            return dict(self._shares)

    async def close(self, drain_s: float) -> None:
        """Take nothing new, finish what is inside for at most ``drain_s`` seconds, stop."""
        self._closed = True
        async with self._changing:
            slots = list(self._slots.values())
            self._slots, self._shares = {}, {}
        await asyncio.gather(*(self._retire(slot, drain_s) for slot in slots), *self._draining)

    def _slot_for(self, request: Request) -> _Slot:
        if self._closed:
            raise Unavailable("the server is stopping; ask another one")
        if request.model_version:
            slot = self._slots.get(request.model_version)
            if slot is None:
                served = ", ".join(self._slots) or "none"
                raise NotFound(f"model version {request.model_version!r} is not served here; served: {served}")
            return slot
        kind = FEATURES if request.features else MEDIA
        shares = {version: share for version, share in self._shares.items() if self._slots[version].kind == kind}
        version = choose_version(request.id, shares)
        if version is None:
            if self._shares:
                # Not Unavailable: a device would take the cloud for out of reach and keep the question for later.
                raise InvalidRequest(f"no model that is served here takes {kind}; {_INSTEAD[kind]}")
            if self._loading:
                raise Unavailable("the model is still being loaded; ask again in a moment")
            raise Unavailable("no model is loaded; register one with fedaffect server models add FOLDER")
        return self._slots[version]

    def _folders(self) -> dict[str, Path]:
        return {version: slot.folder for version, slot in self._slots.items()}

    async def _switch(self, split: _Split) -> None:
        if self._closed:
            raise Unavailable("the server is stopping; its versions stay as they are")
        kinds = {version: self._kind(version, split.folders) for version in split.shares}
        shares = checked_shares(split.shares, kinds)
        opened: dict[str, _Slot] = {}
        self._loading += 1
        try:
            for version, kind in kinds.items():
                if version not in self._slots:
                    folder = split.folders[version]
                    opened[version] = _Slot(folder, kind, await self._opener(folder))
        except BaseException:
            for slot in opened.values():
                await slot.engine.close(0.0)
            raise
        finally:
            self._loading -= 1
        slots = self._slots | opened
        left_out = [slot for version, slot in slots.items() if version not in split.shares]
        self._slots = {version: slots[version] for version in split.shares}
        self._shares = shares
        _LOG.info("serving %s", ", ".join(f"{version} {100 * share:.4g} %" for version, share in self._shares.items()))
        for slot in left_out:
            task = asyncio.create_task(self._retire(slot, self._drain_s))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    def _kind(self, version: str, folders: Mapping[str, Path]) -> str:
        if version in self._slots:
            return self._slots[version].kind
        if version not in folders:
            raise NotFound(f"model version {version!r} is not served here; load its folder first")
        described = describe(folders[version])
        if described.version != version:
            raise ConfigError(
                f"{folders[version]} now holds version {described.version!r} instead of {version!r}; "
                "register it under that name"
            )
        return described.kind

    async def _retire(self, slot: _Slot, drain_s: float) -> None:
        if not await slot.wait_empty(drain_s):
            _LOG.warning("%d requests did not end within %g s and are given up", slot.inside, drain_s)
        await slot.engine.close(0.0 if slot.inside else drain_s)
