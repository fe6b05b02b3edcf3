"""Flower's SuperLink as the fleet runs it: the same program, with a gate before it.

The open edition of Flower has no accounts of operators: whoever reaches its Control API can register nodes and start
a run, which is code of theirs in the aggregator and on every device. Devices must reach the Fleet API on the same
port. So a gate lets only operators' addresses through to everything else, and refuses bodies above what an
update can weigh. What it refuses, and what Flower refuses for a wrong key or clock, goes to the audit log.

Devices and the ServerApp need not look for messages in intervals: who was told that there is none and asks again is
answered when one is there as a whole.

Run as ``python -m fedaffect.server.fleet.superlink.program FLEET_FOLDER``.
"""

from __future__ import annotations

import importlib
import logging
import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

import flwr.superlink.main as flower_app
import uvicorn
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, TASK_TOKEN_HEADER
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedaffect.client.protocol.long_poll import Arrivals, Held, Holding
from fedaffect.edge.system.processes import end_with_parent
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.fleet.setup.tls import reload_in_background, server_context
from fedaffect.server.fleet.superlink.deliveries import Deliveries, watch

logger = logging.getLogger(__name__)

_FLEET_API: Final = "/v1/fleet/"
_HEALTH: Final = "/health"
_UNAUTHORIZED, _FORBIDDEN, _TOO_LARGE = 401, 403, 413
# Flower's clients wait 30 s for an answer. The ServerApp has deadlines to keep, which it looks at between questions.
_DEVICE_HELD_S, _SERVERAPP_HELD_S = 10.0, 1.0
# What Flower answers a SuperNode that starts with a key that it does not know, or no longer.
_NOT_REGISTERED = 412


class Gate:
    """Lets devices reach the Fleet API only, operators everything, and nobody send more than an update.

    Parameters
    ----------
    app : ASGI app
    operators : collection of str
        Addresses.
    largest_bytes : int
        Of a request's body.
    refused : callable
        Told the address, the path and why.
    """

    def __init__(
        self,
        app: ASGIApp,
        operators: Collection[str],
        largest_bytes: int,
        refused: Callable[[str, str, str], None],
    ) -> None:
        self._app = app
        self._operators = frozenset(operators)
        self._largest_bytes = largest_bytes
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = (scope.get("client") or ("unknown", 0))[0]
        path = str(scope["path"])
        if not path.startswith(_FLEET_API) and path != _HEALTH and client not in self._operators:
            await self._refuse(send, _FORBIDDEN, client, path, "not an operator's address")
            return
        length = _announced_length(scope)
        if length is None or length > self._largest_bytes:
            why = "no length announced" if length is None else f"oversized: {length} bytes"
            await self._refuse(send, _TOO_LARGE, client, path, why)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_refusal(message["status"], path):
                self._refused(
                    client, path, f"status {message['status']}: unknown or revoked key, or a clock that is off"
                )
            await send(message)

        await self._app(scope, receive, watched)

    async def _refuse(self, send: Send, status: int, client: str, path: str, why: str) -> None:
        self._refused(client, path, why)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": why.encode()})


class Waiting:
    """What is waited for at the SuperLink: messages to devices, their replies, and runs to be started."""

    def __init__(self) -> None:
        self._messages, self._replies, self._runs = Arrivals(), Arrivals(), Arrivals()

    def watch(self) -> None:
        """Have Flower's handlers tell of what comes."""
        watch(runtime_handlers, Deliveries(self._messages))
        watch(fleet_handlers, Deliveries(self._replies))

    @property
    def held(self) -> dict[str, Held]:
        """Questions that wait."""
        return {
            "/v1/fleet/pull-messages": Held(self._messages, _DEVICE_HELD_S, FLEET_HTTP_PUBLIC_KEY_HEADER),
            "/v1/runtime/pull-messages": Held(self._replies, _SERVERAPP_HELD_S, TASK_TOKEN_HEADER),
            "/v1/runtime/acquire-task": Held(self._runs, _DEVICE_HELD_S),
        }

    @property
    def told(self) -> dict[str, Callable[[], None]]:
        """Requests after which some of them are to be answered."""
        # A device that was revoked is to hear of it when it is, and not when its question comes up.
        return {"/v1/control/start-run": self._runs.came, "/v1/control/unregister-node": self._messages.came}

    def close(self) -> None:
        """Answer them all now, for the SuperLink ends."""
        for arrivals in (self._messages, self._replies, self._runs):
            arrivals.close()


def _is_refusal(status: int, path: str) -> bool:
    return status in (_UNAUTHORIZED, _FORBIDDEN) or (status == _NOT_REGISTERED and path.startswith(_FLEET_API))


def _announced_length(scope: Scope) -> int | None:
    """Bytes of the body; None where it comes in pieces of unknown number, which Flower's clients never send."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return None
    try:
        return int(headers.get(b"content-length", b"0"))
    except ValueError:
        return None


def run(folder: FleetFolder) -> None:
    """Run the SuperLink until it is told to stop."""
    settings = folder.settings
    auditor = Auditor(settings.registry)
    largest = int(settings.largest_update_mb * 1e6)

    def refused(client: str, path: str, why: str) -> None:
        auditor.note("superlink.refused", client, {"path": path, "why": why})

    make_app = flower_app.create_app
    waiting = Waiting()
    waiting.watch()

    def create_app(*arguments: Any, **named: Any) -> Any:
        app = make_app(*arguments, **named)
        app.add_middleware(Holding, held=waiting.held, told=waiting.told)
        # Added last, so outermost: nothing of Flower's sees what is refused.
        app.add_middleware(Gate, operators=settings.operators, largest_bytes=largest, refused=refused)
        return app

    # A function of the same name hides the module from an import statement.
    flower = importlib.import_module("flwr.superlink.cli.flower_superlink")
    # Two of the places where Flower's program lets itself be completed without being rewritten.
    flower_app.create_app = create_app
    flower.uvicorn = _Uvicorn(folder.server_pem, waiting.close)  # type: ignore[attr-defined]
    sys.argv = ["flower-superlink", *arguments_of(folder)]
    flower.flower_superlink()


def arguments_of(folder: FleetFolder) -> list[str]:
    """What ``flower-superlink`` is told."""
    settings = folder.settings
    return [
        *("--host", settings.listen),
        *("--port", str(settings.superlink_port)),
        *("--ssl-certfile", str(folder.certificate_path)),
        *("--ssl-keyfile", str(folder.key_path)),
        *("--ssl-ca-certfile", str(folder.authority.certificate_path)),
        *("--database", str(folder.path / "superlink.db")),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]


class _Uvicorn:
    """uvicorn, with a certificate that can be replaced while it serves.

    Parameters
    ----------
    pem : Path
    ends : callable
        Called when it stops to serve, before it waits for those who are still served.
    """

    def __init__(self, pem: Path, ends: Callable[[], None]) -> None:
        self._pem = pem
        self._ends = ends

    def run(self, **settings: Any) -> None:
        for name in ("ssl_certfile", "ssl_keyfile", "workers", "reload"):
            settings.pop(name, None)
        settings["access_log"] = False
        context = server_context(self._pem)
        reload_in_background(context, self._pem)
        config = uvicorn.Config(**settings, ssl_context_factory=lambda _config, _default: context)
        _Server(config, self._ends).run()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ends: Callable[[], None]) -> None:
        super().__init__(config)
        self._ends = ends

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ends()
        await super().shutdown(sockets)


if __name__ == "__main__":
    end_with_parent()
    run(FleetFolder.open(Path(sys.argv[1])))
