"""What REST's headers say about a call: whose it is, its id, its deadline."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from server.serving.errors import InvalidRequest


def token_of(call: HTTPConnection) -> str | None:
    """The API key of ``Authorization: Bearer KEY``."""
    kind, _, token = call.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def peer_of(call: HTTPConnection) -> str:
    """Address that it came from."""
    return call.client.host if call.client else "local"


def request_id_of(call: HTTPConnection, in_body: str) -> str:
    """The caller's id: the body's, else the header's, else none."""
    return in_body or call.headers.get("idempotency-key", "")


def deadline_ms_of(call: HTTPConnection) -> float | None:
    """Time left when it was sent, None where the header is not there.

    Raises
    ------
    InvalidRequest
        If it is not a number of milliseconds.
    """
    given = call.headers.get("x-deadline-ms")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 10 and int(given) > 0):
        raise InvalidRequest("X-Deadline-Ms is a whole number of milliseconds, 1 or more")
    return float(given)
