"""The aggregator service: devices join, report and leave; the operator makes tokens, starts runs, revokes, rolls out.

`/livez` and `/readyz` answer anybody, `/metrics` the operator and API keys with that scope.

Everything is JSON over the fleet's TLS certificate. Errors are ``{"error": "one line with the remedy"}``. A request is
authenticated by its raw body, then read into a model of `fedaffect.server.fleet.api.messages`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from fedaffect.client.protocol.identity import verified
from fedaffect.client.protocol.strict import StrictModel, read_json
from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.server.errors import ServingError
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.authentication import DeviceAuthenticator, bearer, require_operator
from fedaffect.server.fleet.api.health import HealthCheck
from fedaffect.server.fleet.api.messages import (
    Approval,
    Cancellation,
    CheckIn,
    EndedToken,
    Enrolment,
    Evaluation,
    Grouping,
    KeptKey,
    Labelling,
    NewKey,
    NoContent,
    RegionReport,
    Revocation,
    RolloutRequest,
    RunSubmission,
    Selection,
    TokenRequest,
)
from fedaffect.server.fleet.api.metrics import FleetMetrics, MeasuredRequests
from fedaffect.server.fleet.api.rate_limit import RateLimit
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.errors import ClockOff, DeviceRevoked, DeviceWaiting, NotAuthorised, TooManyRequests
from fedaffect.server.fleet.runs.driver import RunDriver
from fedaffect.server.fleet.runs.driver_state import DriverState
from fedaffect.server.flower_compat.errors import SuperLinkAway
from fedaffect.server.registry import RegistryUnavailable
from fedaffect.server.registry.access import Access
from fedaffect.server.registry.devices import Device
from fedaffect.server.registry.errors import DeviceRefused, EnrolmentRefused

# Of one request here; models travel through the SuperLink.
_LARGEST_BODY: Final = 1_000_000

# Requests a minute, of one enrolled device and of all; a device asks once in some seconds.
_A_DEVICE: Final = 120
_ALL_DEVICES: Final = 60_000

Answer = dict[str, Any]
M = TypeVar("M", bound=StrictModel)


def create_app(aggregator: Aggregator, auditor: Auditor, driver: RunDriver | None = None) -> FastAPI:
    """The service over an aggregator.

    Parameters
    ----------
    aggregator : Aggregator
    auditor : Auditor
    driver : RunDriver, optional
        Of the same process, for its status.
    """
    app = FastAPI(title="fedaffect fleet", docs_url=None, redoc_url=None, openapi_url=None)
    authenticator = DeviceAuthenticator(aggregator.registry)
    settings = aggregator.folder.settings
    of_device = RateLimit(_A_DEVICE, _ALL_DEVICES, what="requests of this device")
    limit = RateLimit(settings.unauthenticated_per_minute, settings.all_unauthenticated_per_minute)
    access = Access(aggregator.registry)

    def driven() -> DriverState | None:
        return driver.state() if driver is not None else None

    health = HealthCheck(aggregator, driven)
    measured = FleetMetrics(aggregator, health, driven)
    app.add_middleware(MeasuredRequests, metrics=measured)

    def refused(action: str, request: Request, error: Exception | str) -> None:
        """Write a refusal to the audit log, and count it."""
        auditor.note(action, _address(request), {"path": request.url.path, "why": str(error)})
        limit.count(_address(request))

    async def device(request: Request, *, approved: bool = True) -> Device:
        body, path = await _body(request), request.url.path
        try:
            sender = await run_in_threadpool(authenticator.authenticate, request.method, path, request.headers, body)
        except (NotAuthorised, DeviceRefused) as error:
            refused("device.refused", request, error)
            raise
        of_device.count(sender.id)
        if approved and sender.status == "waiting":
            raise DeviceWaiting(f"device {sender.name!r} waits until the operator approves it; ask again later")
        return sender

    async def operator(request: Request) -> None:
        try:
            require_operator(aggregator.folder.operator_token(), request.headers)
        except NotAuthorised as error:
            refused("operator.refused", request, error)
            raise

    async def metrics_reader(request: Request) -> None:
        """The operator, or who has an API key of the fleet's registry with the scope for metrics."""
        try:
            require_operator(aggregator.folder.operator_token(), request.headers)
        except NotAuthorised as no_operator:
            try:
                await access.acheck(bearer(request.headers), "metrics")
            except RegistryUnavailable:
                raise
            except ServingError as error:
                refused("metrics.refused", request, error)
                raise NotAuthorised(f"{error}; the operator's token is taken too") from no_operator

    @app.post("/v1/devices")
    async def enroll(request: Request) -> Answer:
        def note(why: str) -> None:
            auditor.note("enrolment.refused", _address(request), {"why": why})

        try:
            limit.count(_address(request))
        except TooManyRequests:
            # Without the seconds, which differ each time.
            note("too many unauthenticated requests")
            raise
        return await run_in_threadpool(aggregator.enroll, await _read(request, Enrolment, "the enrolment"), note)

    @app.post("/v1/device")
    async def check_in(request: Request) -> Answer:
        sender = await device(request)
        return await run_in_threadpool(aggregator.check_in, sender, await _read(request, CheckIn, "the check-in"))

    @app.post("/v1/region")
    async def report_region(request: Request) -> Answer:
        sender = await device(request)
        said = await _read(request, RegionReport, "the region's report")
        return await run_in_threadpool(aggregator.report_region, sender, said)

    @app.post("/v1/device/key")
    async def add_key(request: Request) -> Answer:
        sender = await device(request)
        return await run_in_threadpool(aggregator.add_key, sender, await _read(request, NewKey, "the new key"))

    @app.post("/v1/device/key/retire")
    async def retire_key(request: Request) -> Answer:
        sender = await device(request)
        kept = (await _read(request, KeptKey, "the key to keep")).public_key
        # While two keys are valid, the one that stays must have signed this.
        if not verified(kept, request.method, request.url.path, request.headers, await _body(request)):
            raise NotAuthorised("the request is not signed with the key to keep; use fedaffect device rotate")
        return await run_in_threadpool(aggregator.retire_key, sender, kept)

    @app.post("/v1/device/certificate")
    async def certify(request: Request) -> Answer:
        sender = await device(request)
        await _read(request, NoContent, "the request for a certificate")
        # While two keys are valid, it is the new one's.
        if not verified(sender.public_key, request.method, request.url.path, request.headers, await _body(request)):
            raise NotAuthorised("the request is not signed with the device's newest key; use fedaffect device rotate")
        return await run_in_threadpool(aggregator.certify, sender)

    @app.post("/v1/device/revoke")
    async def leave(request: Request) -> Answer:
        sender = await device(request, approved=False)
        reason = (await _read(request, Revocation, "the revocation")).reason or "its user left"
        return await run_in_threadpool(aggregator.revoke, sender.id, reason, f"device:{sender.id}")

    @app.post("/v1/device/evaluation")
    async def add_evaluation(request: Request) -> Answer:
        sender = await device(request)
        found = await _read(request, Evaluation, "the evaluation")
        return await run_in_threadpool(aggregator.add_evaluation, sender, found)

    @app.get("/v1/device/bundles/{version}")
    async def bundle(request: Request, version: str) -> Response:
        await device(request)
        return await run_in_threadpool(aggregator.bundle, version)

    def operators(path: str, model: type[M], what: str, call: Callable[[M], Answer]) -> None:
        """A route of the operator's that is one call."""

        async def answer(request: Request) -> Answer:
            await operator(request)
            return await run_in_threadpool(call, await _read(request, model, what))

        app.post(path)(answer)

    operators("/v1/tokens", TokenRequest, "the token request", aggregator.make_tokens)
    operators("/v1/devices/list", Selection, "the selection", aggregator.devices.select)
    operators("/v1/devices/approve", Approval, "the approval", aggregator.devices.approve)
    operators("/v1/devices/group", Grouping, "the grouping", aggregator.devices.group)
    operators("/v1/devices/label", Labelling, "the labelling", aggregator.devices.label)
    operators("/v1/runs", RunSubmission, "the run", aggregator.start_run)
    operators("/v1/rollouts", RolloutRequest, "the rollout", aggregator.roll_out)

    @app.post("/v1/tokens/list")
    async def list_tokens(request: Request) -> Answer:
        await operator(request)
        await _read(request, NoContent, "the request for tokens")
        return await run_in_threadpool(aggregator.list_tokens)

    @app.post("/v1/tokens/end")
    async def end_token(request: Request) -> Answer:
        await operator(request)
        token = (await _read(request, EndedToken, "the token to end")).token
        return await run_in_threadpool(aggregator.end_token, token)

    @app.post("/v1/devices/{device_id}/revoke")
    async def revoke(request: Request, device_id: str) -> Answer:
        await operator(request)
        reason = (await _read(request, Revocation, "the revocation")).reason
        return await run_in_threadpool(aggregator.revoke, device_id, reason, "operator")

    @app.post("/v1/runs/{run_id}/cancel")
    async def cancel_run(request: Request, run_id: str) -> Answer:
        await operator(request)
        reason = (await _read(request, Cancellation, "the cancellation")).reason
        return await run_in_threadpool(aggregator.cancel_run, run_id, reason)

    @app.post("/v1/status")
    async def status(request: Request) -> Answer:
        await operator(request)
        await _read(request, NoContent, "the status request")
        return await run_in_threadpool(aggregator.status, driven())

    @app.get("/livez")
    async def livez() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz")
    async def readyz() -> Response:
        problems = (await run_in_threadpool(health.look)).problems
        return JSONResponse({"status": "; ".join(problems.values()) or "ready"}, status_code=503 if problems else 200)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        await metrics_reader(request)
        return Response(await run_in_threadpool(measured.text), headers={"content-type": CONTENT_TYPE_LATEST})

    for kind, code in _STATUS.items():
        app.add_exception_handler(kind, _answering(code))
    return app


_STATUS: Final[dict[type[Exception], int]] = {
    NotAuthorised: 401,
    # Too early or too late to be let in.
    ClockOff: 425,
    DeviceRevoked: 410,
    DeviceWaiting: 409,
    TooManyRequests: 429,
    DeviceRefused: 403,
    EnrolmentRefused: 403,
    SuperLinkAway: 503,
    RegistryUnavailable: 503,
    FedAffectError: 422,
}


def _answering(code: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, TooManyRequests) else {}
        return JSONResponse({"error": str(error)}, status_code=code, headers=headers)

    return answer


async def _body(request: Request) -> bytes:
    """The body of a request; read from the connection once."""
    if (read := getattr(request.state, "body", None)) is not None:
        return bytes(read)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _LARGEST_BODY:
            raise ConfigError(f"the body is longer than {_LARGEST_BODY} bytes; models go through the SuperLink")
    request.state.body = bytes(data)
    return bytes(data)


async def _read(request: Request, model: type[M], what: str) -> M:
    return read_json(model, await _body(request), what)


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
