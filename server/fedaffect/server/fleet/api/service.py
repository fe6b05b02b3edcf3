"""The aggregator service: devices join, ask and leave; the operator makes tokens, starts runs, revokes, rolls out.

Everything is JSON over the fleet's TLS certificate. Errors are ``{"error": "one line with the remedy"}``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from fedaffect.client.protocol.identity import verified
from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.authentication import DeviceGate, require_operator
from fedaffect.server.fleet.api.rate_limit import Strangers
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.errors import NotAuthorised, SuperLinkAway, TooOften
from fedaffect.server.registry import RegistryUnavailable
from fedaffect.server.registry.devices import Device
from fedaffect.server.registry.errors import DeviceRefused, EnrolmentRefused

# Longest of what devices and operators say here; models travel through the SuperLink.
_LARGEST_BODY: Final = 1_000_000

Said = dict[str, Any]


def create_app(aggregator: Aggregator, auditor: Auditor) -> FastAPI:
    """The service over an aggregator."""
    app = FastAPI(title="fedaffect fleet", docs_url=None, redoc_url=None, openapi_url=None)
    gate = DeviceGate(aggregator.registry)
    token = aggregator.folder.operator_token
    settings = aggregator.folder.settings
    strangers = Strangers(settings.strangers_per_minute, settings.all_strangers_per_minute)

    def refused(action: str, request: Request, error: Exception | str) -> None:
        """Say so in the audit log, and count it."""
        auditor.note(action, _address(request), {"path": request.url.path, "why": str(error)})
        strangers.listen(_address(request))

    async def device(request: Request) -> tuple[Device, Said]:
        body = await _body(request)
        path = request.url.path
        try:
            found = await run_in_threadpool(gate.admit, request.method, path, request.headers, body)
        except (NotAuthorised, DeviceRefused) as error:
            refused("device.refused", request, error)
            raise
        return found, _said(body)

    async def operator(request: Request) -> Said:
        body = await _body(request)
        try:
            require_operator(token(), request.headers)
        except NotAuthorised as error:
            refused("operator.refused", request, error)
            raise
        return _said(body)

    @app.post("/v1/devices")
    async def enroll(request: Request) -> Said:
        def note(why: str) -> None:
            auditor.note("enrolment.refused", _address(request), {"why": why})

        try:
            strangers.listen(_address(request))
        except TooOften as error:
            # Without the seconds, which differ each time.
            note("too many requests from strangers")
            raise error
        return await run_in_threadpool(aggregator.enroll, _said(await _body(request)), note)

    @app.post("/v1/device")
    async def check_in(request: Request) -> Said:
        found, said = await device(request)
        return await run_in_threadpool(aggregator.check_in, found, said)

    @app.post("/v1/device/key")
    async def take_key(request: Request) -> Said:
        found, said = await device(request)
        return await run_in_threadpool(aggregator.take_key, found, said)

    @app.post("/v1/device/key/retire")
    async def retire_key(request: Request) -> Said:
        found, said = await device(request)
        kept = str(said.get("public_key", ""))
        # Of two keys that count, the one that stays must be the one that says so.
        if not verified(kept, request.method, request.url.path, request.headers, await _body(request)):
            raise NotAuthorised("the request is not signed with the key that is to stay; use fedaffect device rotate")
        return await run_in_threadpool(aggregator.retire_key, found, kept)

    @app.post("/v1/device/revoke")
    async def leave(request: Request) -> Said:
        found, said = await device(request)
        reason = str(said.get("reason", "its user left"))
        return await run_in_threadpool(aggregator.revoke, found.id, reason, f"device:{found.id}")

    @app.post("/v1/device/evaluation")
    async def evaluated(request: Request) -> Said:
        found, said = await device(request)
        return await run_in_threadpool(aggregator.evaluated, found, said)

    @app.get("/v1/device/bundles/{version}")
    async def bundle(request: Request, version: str) -> Response:
        await device(request)
        return await run_in_threadpool(aggregator.bundle, version)

    @app.post("/v1/tokens")
    async def make_token(request: Request) -> Said:
        said = await operator(request)
        return await run_in_threadpool(aggregator.make_token, said)

    @app.post("/v1/devices/{device_id}/revoke")
    async def revoke(request: Request, device_id: str) -> Said:
        said = await operator(request)
        return await run_in_threadpool(aggregator.revoke, device_id, str(said.get("reason", "")), "operator")

    @app.post("/v1/runs")
    async def start_run(request: Request) -> Said:
        said = await operator(request)
        return await run_in_threadpool(aggregator.start_run, said)

    @app.post("/v1/rollouts")
    async def roll_out(request: Request) -> Said:
        said = await operator(request)
        return await run_in_threadpool(aggregator.roll_out, said)

    @app.post("/v1/status")
    async def status(request: Request) -> Said:
        await operator(request)
        return await run_in_threadpool(aggregator.status)

    for kind, code in _STATUS.items():
        app.add_exception_handler(kind, _answering(code))
    return app


_STATUS: Final[dict[type[Exception], int]] = {
    NotAuthorised: 401,
    TooOften: 429,
    DeviceRefused: 403,
    EnrolmentRefused: 403,
    SuperLinkAway: 503,
    RegistryUnavailable: 503,
    FedAffectError: 422,
}


def _answering(code: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, TooOften) else {}
        return JSONResponse({"error": str(error)}, status_code=code, headers=headers)

    return answer


async def _body(request: Request) -> bytes:
    """What was said, read once however often it is asked for."""
    if (read := getattr(request.state, "body", None)) is not None:
        return bytes(read)
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > _LARGEST_BODY:
            raise ConfigError(f"what was said is longer than {_LARGEST_BODY} bytes; models go through the SuperLink")
    request.state.body = bytes(data)
    return bytes(data)


def _said(body: bytes) -> Said:
    try:
        said = json.loads(body or b"{}")
    except ValueError as error:
        raise ConfigError(f"what was said is no JSON ({error})") from error
    if not isinstance(said, dict):
        raise ConfigError("what was said is no JSON object")
    return said


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
