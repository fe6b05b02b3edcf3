"""What REST's headers say about a call: whose it is, its id, its deadline."""

from __future__ import annotations

from typing import Final

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from fedaffect.server.errors import InvalidRequest

STREAM_PROTOCOL: Final = "fedaffect.v1"
_KEY_PROTOCOL: Final = "fedaffect.key."


def token_of(call: HTTPConnection) -> str | None:
    """The API key of ``Authorization: Bearer KEY``."""
    kind, _, token = call.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def stream_token_of(socket: WebSocket) -> str | None:
    """The API key of a WebSocket, from where `token_of` finds it or from a subprotocol ``fedaffect.key.KEY``.

    Browsers send no headers of one's own with a WebSocket, and an address would land in logs.
    """
    keys = (name.removeprefix(_KEY_PROTOCOL) for name in _offered(socket) if name.startswith(_KEY_PROTOCOL))
    return token_of(socket) or next(keys, None) or None


def stream_protocol_of(socket: WebSocket) -> str | None:
    """The subprotocol to agree on, None where the caller offers none that is ours; never the one with the key."""
    return STREAM_PROTOCOL if STREAM_PROTOCOL in _offered(socket) else None


def _offered(socket: WebSocket) -> list[str]:
    # uvicorn hands over the header's lines, each of which may list several.
    return [name.strip() for line in socket.scope.get("subprotocols", ()) for name in str(line).split(",")]


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
