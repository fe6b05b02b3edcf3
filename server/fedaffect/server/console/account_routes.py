"""Logging in and out, and who asks."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fedaffect.server.console.calling import body, reached
from fedaffect.server.console.console import Console
from fedaffect.server.console.doors import COOKIE, FIRST_ACCOUNT, PREFIX
from fedaffect.server.console.errors import LoginExpired, LoginNeeded
from fedaffect.server.console.origin import check_origin
from fedaffect.server.console.schemas import (
    LIMITS,
    AccountReply,
    DoneReply,
    LoginBody,
    LoginReply,
    LoginsReply,
    MeReply,
)
from fedaffect.server.errors import NotFound
from fedaffect.server.roles import OPERATOR
from fedaffect.server.serving.http.body import read_json
from fedaffect.server.serving.http.call import peer_of


def account_routes(console: Console) -> APIRouter:
    """``/me``, ``/login``, ``/logout``, ``/logins``."""
    router, doors = APIRouter(), console.doors

    @router.get("/me")
    async def me(request: Request) -> MeReply:
        """Who asks, and what they may see; answered without an account too."""
        user, expired, may_look = None, False, False
        try:
            visitor = await reached(doors.viewer(request))
            may_look = True
            if visitor.login is not None:
                user = AccountReply(name=visitor.name, role=visitor.login.user.role, expires=visitor.login.expires)
        except LoginExpired:
            expired = True
        except LoginNeeded:
            pass
        return MeReply(
            user=user,
            expired=expired,
            may_look=may_look,
            may_act=user is not None and user.role == OPERATOR,
            accounts=await reached(doors.any_accounts()),
            first_account=FIRST_ACCOUNT,
        )

    @router.post("/login", openapi_extra=body(LoginBody))
    async def log_in(request: Request, response: Response) -> AccountReply:
        """Log in; the reply sets the cookie."""
        check_origin(request.headers, request.url.scheme, writes=True)
        given = await read_json(request, LoginBody, LIMITS)
        login, token = await reached(doors.log_in(given.name, given.password, peer_of(request)))
        response.set_cookie(
            COOKIE,
            token,
            max_age=int(doors.lifetime.whole.total_seconds()),
            path=PREFIX,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return AccountReply(name=login.user.name, role=login.user.role, expires=login.expires)

    @router.post("/logout")
    async def log_out(request: Request, response: Response) -> DoneReply:
        """End this login; again, and nothing changes."""
        await reached(doors.log_out(request))
        response.delete_cookie(COOKIE, path=PREFIX, httponly=True, samesite="strict")
        return DoneReply(done="you are logged out")

    @router.get("/logins")
    async def own_logins(request: Request) -> LoginsReply:
        """Where the account that asks is logged in."""
        visitor = await reached(doors.viewer(request))
        return LoginsReply(
            logins=[
                LoginReply(
                    id=each.id,
                    address=each.address,
                    created=each.created,
                    seen=each.seen,
                    expires=each.expires,
                    this=visitor.login is not None and each.id == visitor.login.id,
                )
                for each in await reached(doors.logins_of(visitor))
            ]
        )

    @router.post("/logins/{login_id}/end")
    async def end_login(request: Request, login_id: str) -> DoneReply:
        """End one of one's own logins, as that of a machine one left."""
        visitor = await reached(doors.viewer(request, writes=True))
        if not await reached(doors.end(visitor, login_id)):
            raise NotFound("you have no such login; it may have ended by itself")
        return DoneReply(done="it is ended")

    return router
