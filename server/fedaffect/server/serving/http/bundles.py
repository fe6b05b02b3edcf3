"""Bundles over REST: the whole tar or any part of it, so that a download goes on where it stopped."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from starlette.responses import StreamingResponse

from fedaffect.server.serving.gateway.bundle_bytes import RangeNotSatisfiable, chunks_of
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.http.call import peer_of, token_of
from fedaffect.server.serving.http.schemas import refusals

NEWEST: Final = "latest"
# One range from the start or the middle; several at once, or from the end, nobody needs here.
_RANGE: Final = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?")


def bundle_routes(gateway: Gateway) -> APIRouter:
    """`GET /v1/bundles/{version}`."""
    router = APIRouter(prefix="/v1", tags=["bundles"])

    @router.get(
        "/bundles/{version}",
        response_class=Response,
        responses={
            200: {"description": "The tar", "content": {"application/x-tar": {"schema": _BINARY}}},
            206: {"description": "Part of it", "content": {"application/x-tar": {"schema": _BINARY}}},
            **refusals(400, 401, 403, 404, 416, 422, 429, 503),
        },
    )
    async def bundle(request: Request, version: str = PathParameter(max_length=200)) -> Response:
        """A bundle's tar; the version `latest` is the newest on offer. The ETag is its SHA-256."""
        async with gateway.request("rest", "bundle", token_of(request), peer_of(request), "bundles") as context:
            entry = await gateway.bundle("" if version == NEWEST else version)
            etag = f'"{entry.sha256}"'
            part = _asked_range(request, etag, entry.size_bytes)
            start, end = part or (0, entry.size_bytes)
            context.facts |= {"version": entry.version, "offset": start, "bytes": end - start}
            headers = {
                "Accept-Ranges": "bytes",
                "Content-Length": str(end - start),
                "ETag": etag,
                "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(entry.sha256)).decode()}:",
                "X-Bundle-Version": entry.version,
            }
            if part:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{entry.size_bytes}"
            return StreamingResponse(
                chunks_of(entry.path, start, end),
                status_code=206 if part else 200,
                headers=headers,
                media_type="application/x-tar",
            )

    return router


_BINARY: Final = {"type": "string", "format": "binary"}


def _asked_range(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """From where to where; None where no range is asked for, or one that belongs to another tar."""
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or request.headers.get("if-range", etag) != etag:
        return None
    start, end = int(asked[1]), int(asked[2]) + 1 if asked[2] else size
    if start >= size or end <= start:
        raise RangeNotSatisfiable(f"the bundle has {size} bytes; ask for a range that begins before its end")
    return start, min(end, size)
