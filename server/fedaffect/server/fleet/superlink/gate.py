"""The gate in front of Flower's SuperLink: a reverse proxy that decides who gets through.

The open edition of Flower has no accounts of operators: a caller that reaches its Control API can register nodes and
start a run, which is code of its own in the aggregator and on every device. Devices must reach the Fleet API on the
same port. So the SuperLink listens at a Unix socket of the fleet's private folder, and this process alone listens at
the fleet's address: it terminates TLS, lets only operators' addresses through to anything but the Fleet API, only
nodes of enrolled devices through to that, and refuses bodies above what an update can weigh. What it refuses, and
what Flower refuses, goes to the audit log. None of this needs any part of Flower to be replaced.

Devices and the ServerApp need not look for messages in intervals: the gate answers a caller that was told that there
is none, and asks again, when one is there as a whole.

Run as ``python -m fedaffect.server.fleet.superlink.gate FLEET_FOLDER``.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedaffect.client.protocol.long_poll import LongPolling
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.processes import end_with_parent
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.fleet.setup.private_socket import tell_at
from fedaffect.server.fleet.setup.tls import https_config, serve_https
from fedaffect.server.fleet.superlink.forwarding import Forwarder
from fedaffect.server.fleet.superlink.gate_metrics import GateMetrics, api_of
from fedaffect.server.fleet.superlink.long_polls import SuperLinkPolls
from fedaffect.server.fleet.superlink.node_access import NodeAccess, Verdict
from fedaffect.server.json_log import log_to_stderr

logger = logging.getLogger(__name__)

# Nothing that another server could read as another path.
_FLEET_API: Final = re.compile(rb"/v1/fleet/[a-z-]+")
_HEALTH: Final = b"/health"
# The first request of a node; Flower answers 412 to a key that it does not know, and a SuperNode ends over that with
# an error. Over 401 it ends as if it were told to stop.
_ACTIVATE: Final = b"/v1/fleet/activate-node"
_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_REGISTERED, _TOO_LARGE, _UNAVAILABLE = 400, 401, 403, 412, 413, 503
# Of a path, in the audit log.
_SHOWN: Final = 200
_LAST_ANSWERS_S: Final = 2
# As metrics call them.
_OF_NODE: Final = {Verdict.UNSIGNED: "unsigned", Verdict.UNKNOWN: "unknown-key", Verdict.AWAY: "registry-away"}
_BY_SUPERLINK: Final = "superlink"
REASONS: Final = (
    *("two-headers", "upgrade", "no-operator", "no-length", "oversized"),
    *(*_OF_NODE.values(), _BY_SUPERLINK),
)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Of one request: the status that answers it, one of `REASONS`, and words for the audit log and the caller."""

    status: int
    reason: str
    why: str


class Gate:
    """Lets nodes of enrolled devices reach the Fleet API only, operators everything, and nobody send too much.

    Parameters
    ----------
    app : ASGI app
    operators : collection of str
        Addresses.
    nodes : NodeAccess
        Admits to the Fleet API, from operators' addresses too.
    largest_bytes : int
        Of a request's body.
    refused : callable
        Told the address, the path and why.
    metrics : GateMetrics
    """

    def __init__(
        self,
        app: ASGIApp,
        operators: Collection[str],
        nodes: NodeAccess,
        largest_bytes: int,
        refused: Callable[[str, str, str], None],
        metrics: GateMetrics,
    ) -> None:
        self._app = app
        # As sockets write them.
        self._operators = frozenset(str(ip_address(operator)) for operator in operators)
        self._nodes = nodes
        self._largest_bytes = largest_bytes
        self._refused = refused
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; anything but HTTP is not answered."""
        if scope["type"] != "http":
            return
        client, path = (scope.get("client") or ("unknown", 0))[0], str(scope["path"])
        with self.metrics.request(scope["raw_path"]) as served:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    served.status = message["status"]
                    if refusal is None and _is_refusal(served.status, path):
                        self.metrics.refused.labels(_BY_SUPERLINK).inc()
                        self._refused(client, path, f"status {served.status}: refused by the SuperLink")
                served.sent_bytes += len(message.get("body", b""))
                await send(message)

            refusal = await self._verdict(scope, client)
            if refusal is None:
                await self._app(scope, receive, watched)
                return
            self.metrics.refused.labels(refusal.reason).inc()
            self._refused(client, path, refusal.why)
            headers = [(b"content-type", b"text/plain")]
            await watched({"type": "http.response.start", "status": refusal.status, "headers": headers})
            await watched({"type": "http.response.body", "body": refusal.why.encode()})

    async def _verdict(self, scope: Scope, client: str) -> _Refusal | None:
        """Why a request may not pass; None where it may."""
        raw_path: bytes = scope["raw_path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if len(headers) < len(scope["headers"]):
            # The SuperLink could take the one for the node's key, and the gate the other.
            return _Refusal(_BAD_REQUEST, "two-headers", "a header comes twice")
        if "upgrade" in headers:
            return _Refusal(_BAD_REQUEST, "upgrade", "an upgrade is asked for")
        is_fleet_api = _FLEET_API.fullmatch(raw_path) is not None
        if not is_fleet_api and raw_path != _HEALTH and client not in self._operators:
            return _Refusal(_FORBIDDEN, "no-operator", "not an operator's address")
        length = _announced_length(headers)
        if length is None:
            return _Refusal(_TOO_LARGE, "no-length", "no length announced")
        if length > (0 if raw_path == _HEALTH else self._largest_bytes):
            return _Refusal(_TOO_LARGE, "oversized", f"oversized: {length} bytes")
        verdict = await self._nodes.check(headers) if is_fleet_api else Verdict.ADMITTED
        if verdict is Verdict.ADMITTED:
            self.metrics.received.labels(api_of(raw_path)).inc(length)
            return None
        if verdict is Verdict.AWAY:
            status = _UNAVAILABLE
        else:
            status = _NOT_REGISTERED if raw_path == _ACTIVATE else _UNAUTHORIZED
        return _Refusal(status, _OF_NODE[verdict], verdict.value)


def _is_refusal(status: int, path: str) -> bool:
    return status in (_UNAUTHORIZED, _FORBIDDEN) or (
        status == _NOT_REGISTERED and _FLEET_API.fullmatch(path.encode()) is not None
    )


def _announced_length(headers: Mapping[str, str]) -> int | None:
    """Bytes of the body; None where it comes in chunks of unknown number, which Flower's clients never send."""
    if "transfer-encoding" in headers:
        return None
    said = headers.get("content-length", "0")
    return int(said) if said.isascii() and said.isdigit() else None


def gate_of(
    folder: FleetFolder, polls: SuperLinkPolls, nodes: NodeAccess, refused: Callable[[str, str, str], None]
) -> Gate:
    """A fleet's gate, with long polls where they fit Flower."""
    settings = folder.settings
    app: ASGIApp = Forwarder(folder.superlink_socket)
    waits: list[bytes] = []
    if polls.fit():
        app = LongPolling(app, polls.polls, polls.answered)
        waits = [path.encode() for path in polls.polls]
    metrics = GateMetrics(REASONS, waits)
    return Gate(app, settings.operators, nodes, int(settings.largest_update_mb * 1e6), refused, metrics)


def run(folder: FleetFolder) -> None:
    """Serve until told to stop."""
    settings, polls = folder.settings, SuperLinkPolls()
    auditor = Auditor(settings.registry)

    def refused(client: str, path: str, why: str) -> None:
        auditor.note("superlink.refused", client, {"path": path[:_SHOWN], "why": why})

    gate = gate_of(folder, polls, NodeAccess.to(settings.registry), refused)
    tell_at(folder.gate_figures, gate.metrics.text)
    config = https_config(
        gate,
        folder,
        settings.superlink_port,
        date_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
        # What is no HTTP would fill the log with warnings.
        log_level="error",
    )
    serve_https(config, folder, polls.close)


if __name__ == "__main__":
    log_to_stderr()
    end_with_parent()
    try:
        run(FleetFolder.open(Path(sys.argv[1])))
    except FedAffectError as error:
        logger.error("%s", error)
        raise SystemExit(2) from error
