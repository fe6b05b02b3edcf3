"""Who is let in: logging in and out, and what the one who asks may do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from fedaffect.server.console.errors import LoginExpired, LoginNeeded, LoginRefused
from fedaffect.server.console.login_limit import LoginLimit
from fedaffect.server.console.origin import check_origin
from fedaffect.server.errors import Forbidden, Overloaded
from fedaffect.server.registry import Registry, audit, logins, users
from fedaffect.server.registry.logins import Lifetime, Login
from fedaffect.server.registry.password_hash import nobodys_hash, password_matches
from fedaffect.server.roles import OPERATOR, VIEWER

COOKIE: Final = "fedaffect-console"
PREFIX: Final = "/v1/console"
FIRST_ACCOUNT: Final = "fedaffect server users add NAME --role operator"
# Each takes 32 MiB and a core for a moment.
_HASHES_AT_ONCE: Final = 2
_MOST_WAITING: Final = 16


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks.

    Parameters
    ----------
    name : str
        Empty for anybody, where nobody has an account yet.
    role : str
    login : Login, optional
    """

    name: str
    role: str
    login: Login | None = None

    @property
    def actor(self) -> str:
        """As the audit log calls them."""
        return f"user:{self.name}"


class Doors:
    """Accounts of a registry, and who of them is logged in.

    Whoever looks needs an account as soon as there is one, or where the server asks for API keys, as then others than
    this machine may reach it. Whoever acts always does.

    Parameters
    ----------
    registry : Registry
        That has the accounts.
    guarded : callable
        Whether the server asks for API keys.
    lifetime : Lifetime, optional
        Of logins.
    limit : LoginLimit, optional
    """

    def __init__(
        self,
        registry: Registry,
        guarded: Callable[[], bool],
        lifetime: Lifetime | None = None,
        limit: LoginLimit | None = None,
    ) -> None:
        self._registry = registry
        self._guarded = guarded
        self.lifetime = lifetime or Lifetime()
        self._limit = limit or LoginLimit()
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)
        self._waiting = 0

    async def log_in(self, name: str, password: str, address: str) -> tuple[Login, str]:
        """Log in; the login, and what the browser gets as its cookie.

        Raises
        ------
        LoginRefused
            If there is no such account or the password is another one; which of both nobody is told, and it takes as
            long.
        Overloaded
            If too many guesses were wrong, or too many come at once.
        """
        name = name.strip().lower()
        with self._limit.guess(name, address) as was_right:
            if self._waiting >= _MOST_WAITING:
                raise Overloaded("too many log in at this moment; try again in a second", 1.0)
            self._waiting += 1
            try:
                async with self._hashing:
                    user = await asyncio.to_thread(self._known, name, password, address)
            finally:
                self._waiting -= 1
            if user is None:
                raise LoginRefused("there is no such account, or its password is another one; try again")
            was_right()
        return await asyncio.to_thread(logins.begin, self._registry, user, address, self.lifetime)

    def _known(self, name: str, password: str, address: str) -> users.User | None:
        user = users.find(self._registry, name)
        if not password_matches(password, user.password_hash if user else nobodys_hash()):
            if user is not None:
                audit.write(self._registry, "user.refused", subject=user.id, actor=f"address:{address}", name=name)
            return None
        if user is not None:
            users.renew_hash(self._registry, user, password)
        return user

    async def log_out(self, request: Request) -> None:
        """End the login of whoever asks; nothing where nobody is logged in."""
        check_origin(request.headers, request.url.scheme, writes=True)
        if (login := await self._login(request)) is not None:
            await asyncio.to_thread(logins.end, self._registry, login, actor=f"user:{login.user.name}")

    async def viewer(self, request: Request, *, writes: bool = False) -> Visitor:
        """Who asks, if they may look.

        Raises
        ------
        LoginNeeded, LoginExpired
            If they have to log in.
        Forbidden
            If another page asks.
        """
        check_origin(request.headers, request.url.scheme, writes=writes)
        login = await self._login(request)
        if login is not None:
            return Visitor(login.user.name, login.user.role, login)
        if request.cookies.get(COOKIE):
            raise LoginExpired("you are logged in no more; log in again")
        if await self.open():
            return Visitor("", VIEWER)
        raise LoginNeeded(f"log in to see this; accounts are made by {FIRST_ACCOUNT}")

    async def operator(self, request: Request) -> Visitor:
        """Who asks, if they may act.

        Raises
        ------
        LoginNeeded, LoginExpired
            If they have to log in.
        Forbidden
            If they are a viewer, or another page asks.
        """
        visitor = await self.viewer(request, writes=True)
        if not visitor.name:
            raise LoginNeeded(f"acting here needs an account; make one: {FIRST_ACCOUNT}")
        if visitor.role != OPERATOR:
            raise Forbidden(
                f"{visitor.name} is a viewer, and this is for operators: fedaffect server users role NAME {OPERATOR}"
            )
        return visitor

    async def logins_of(self, visitor: Visitor) -> list[Login]:
        """Where the account of whoever asks is logged in; nowhere for somebody without one."""
        if visitor.login is None:
            return []
        return await asyncio.to_thread(logins.of_user, self._registry, visitor.login.user)

    async def end(self, visitor: Visitor, login_id: str) -> bool:
        """End one of the logins of whoever asks; False where it is none of theirs."""
        found = next((login for login in await self.logins_of(visitor) if login.id == login_id), None)
        if found is not None:
            await asyncio.to_thread(logins.end, self._registry, found, actor=visitor.actor)
        return found is not None

    async def open(self) -> bool:
        """Whether anybody who reaches the server may look: nobody has an account, and callers of this machine alone."""
        return not self._guarded() and not await self.any_accounts()

    async def any_accounts(self) -> bool:
        """Whether anybody has an account."""
        return await asyncio.to_thread(users.any_there, self._registry)

    async def still_in(self, visitor: Visitor) -> bool:
        """Whether somebody who was let in would be now: for what lasts."""
        if visitor.login is None:
            return await self.open()
        return await asyncio.to_thread(logins.counts, self._registry, visitor.login.id)

    async def _login(self, request: Request) -> Login | None:
        token = request.cookies.get(COOKIE)
        return await asyncio.to_thread(logins.find, self._registry, token, self.lifetime) if token else None
