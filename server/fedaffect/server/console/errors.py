"""What the console refuses; the page tells some of them apart by their names."""

from __future__ import annotations

from fedaffect.server.errors import Unauthenticated


class LoginNeeded(Unauthenticated):
    """Nobody is logged in."""


class LoginExpired(Unauthenticated):
    """Somebody was logged in and is no more: too long idle, too old, or ended."""


class LoginRefused(Unauthenticated):
    """There is no such account, or its password is another one."""
