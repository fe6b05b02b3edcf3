"""What operators do; each act is in the audit log with their name."""

from __future__ import annotations

from fastapi import APIRouter, Request

from fedaffect.server.console.calling import body, called, reached
from fedaffect.server.console.console import Console
from fedaffect.server.console.schemas import (
    LIMITS,
    DevicesBody,
    DoneReply,
    PromotionBody,
    RefusalBody,
    RollBackBody,
)
from fedaffect.server.registry import devices, groups, rollouts
from fedaffect.server.serving.http.body import read_json


def operator_routes(console: Console) -> APIRouter:
    """Approvals and rollouts."""
    router, doors, registry = APIRouter(), console.doors, console.fleet.registry

    @router.post("/devices/approve", openapi_extra=body(DevicesBody))
    async def approve_devices(request: Request) -> DoneReply:
        """Let devices take part that wait for it; the fleet's service tells Flower within some seconds."""
        visitor = await reached(doors.operator(request))
        given = await read_json(request, DevicesBody, LIMITS)
        approved = await called(lambda: groups.approve(registry, given.devices, actor=visitor.actor))
        return DoneReply(done=f"approved: {', '.join(device.name for device in approved)}")

    @router.post("/devices/refuse", openapi_extra=body(RefusalBody))
    async def refuse_device(request: Request) -> DoneReply:
        """Keep a device out from now on, whether it waits or takes part."""
        visitor = await reached(doors.operator(request))
        given = await read_json(request, RefusalBody, LIMITS)
        reason = given.reason.strip() or f"{visitor.name} refused it"
        refused = await called(
            lambda: devices.revoke(registry, devices.get(registry, given.device).id, reason=reason, actor=visitor.actor)
        )
        return DoneReply(done=f"{refused.name} is kept out")

    @router.post("/rollouts/promote", openapi_extra=body(PromotionBody))
    async def promote_bundle(request: Request) -> DoneReply:
        """Give a bundle to a share of the devices; what they find can take it back."""
        visitor = await reached(doors.operator(request))
        given = await read_json(request, PromotionBody, LIMITS)
        rollout = await called(
            lambda: rollouts.stage(
                registry,
                given.version,
                given.percent,
                tolerance=given.tolerance,
                min_examples=given.min_examples,
                actor=visitor.actor,
            )
        )
        return DoneReply(done=f"{rollout.bundle_version} is {rollout.state} at {rollout.percent:g} % of devices")

    @router.post("/rollouts/back", openapi_extra=body(RollBackBody))
    async def roll_back(request: Request) -> DoneReply:
        """Take the staged bundle back, or the one that all got last."""
        visitor = await reached(doors.operator(request))
        given = await read_json(request, RollBackBody, LIMITS)
        reason = given.reason.strip() or f"{visitor.name} rolled it back"
        rollout = await called(lambda: rollouts.roll_back(registry, reason=reason, actor=visitor.actor))
        return DoneReply(done=f"{rollout.bundle_version} is rolled back")

    return router
