"""Bundles over REST: the whole tar or any part of it, so that a download goes on where it stopped; or file by file."""

from __future__ import annotations

import asyncio
import gzip
import re
from base64 import b64encode
from hashlib import sha256
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from starlette.responses import StreamingResponse

from fedaffect.edge.bundle.manifest import MANIFEST
from fedaffect.server.serving.gateway.bundle_bytes import RangeNotSatisfiable, chunks_of
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.http.call import peer_of, token_of
from fedaffect.server.serving.http.schemas import refusals

NEWEST: Final = "latest"
# One range from the start or the middle; several at once, or from the end, nobody needs here.
_RANGE: Final = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?")


def bundle_routes(gateway: Gateway) -> APIRouter:
    """`GET /v1/bundles/{version}` and `GET /v1/bundles/{version}/files/{name}`."""
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

    @router.get(
        "/bundles/{version}/files/{name}",
        response_class=Response,
        responses={
            200: {"description": "The file", "content": {"application/octet-stream": {"schema": _BINARY}}},
            304: {"description": "The caller has it"},
            **refusals(400, 401, 403, 404, 422, 429, 503),
        },
    )
    async def bundle_file(
        request: Request, version: str = PathParameter(max_length=200), name: str = PathParameter(max_length=200)
    ) -> Response:
        """One file of the bundle that runs in browsers, compressed where the caller takes gzip.

        `latest` is the newest on offer, or the server's own where none is; its `manifest.json` names the files and
        their hashes. Only what it takes to answer is given, not what it takes to learn.
        """
        async with gateway.request("rest", "bundle_file", token_of(request), peer_of(request), "bundles") as context:
            served = await gateway.page_bundle("" if version == NEWEST else version)
            context.facts |= {"version": served.version, "file": name}
            headers = {
                "Cache-Control": "no-cache" if version == NEWEST else "private, max-age=31536000, immutable",
                "Vary": "Accept-Encoding",
                "X-Bundle-Version": served.version,
                "X-Content-Type-Options": "nosniff",
            }
            if name == MANIFEST:
                return _known(request, sha256(served.manifest).hexdigest(), headers) or Response(
                    served.manifest, headers=headers, media_type="application/json"
                )
            packed = await asyncio.to_thread(gateway.shelf.packed, served, name)
            if (known := _known(request, served.files[name].sha256, headers)) is not None:
                return known
            if "gzip" in request.headers.get("accept-encoding", ""):
                size = packed.stat().st_size
                headers |= {"Content-Encoding": "gzip", "Content-Length": str(size)}
                return StreamingResponse(chunks_of(packed, 0, size), headers=headers, media_type=_BYTES)
            plain = await asyncio.to_thread(lambda: gzip.decompress(packed.read_bytes()))
            return Response(plain, headers=headers, media_type=_BYTES)

    return router


def _known(request: Request, digest: str, headers: dict[str, str]) -> Response | None:
    """Names an answer by its hash; all that is sent where the caller has it already."""
    headers["ETag"] = f'"{digest}"'
    return (
        Response(status_code=304, headers=headers) if request.headers.get("if-none-match") == headers["ETag"] else None
    )


_BYTES: Final = "application/octet-stream"
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
