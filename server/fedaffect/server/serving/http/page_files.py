"""The page that people see, under ``/``: built from ``server/web`` by ``make web``, and part of this package."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import APIRouter, Request, Response

_BUILT: Final = "page"
_AT: Final = {"index.html": "/", "docs.html": "/docs"}
# Their names carry a hash of what is in them.
_LASTING: Final = ("assets/", "runtime/")
# Too large for the repository, and therefore lying there compressed where `make web` has put it.
_PACKED: Final = ".gz"
_YEAR: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"
# Nothing of other hosts, nothing inline, no frame around it; camera and microphone for this page alone. WebAssembly may
# be compiled, which runs the bundle in the browser; text may not become code. Both cross-origin headers together give
# it memory that several threads share.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}


def page_routes() -> APIRouter:
    """A route for each built file, ``/`` for the page and ``/docs`` for the API's; read and compressed once.

    No key is asked for: the files say nothing that the package does not say. What the page asks needs one.
    """
    router = APIRouter()
    for path, file in _built(files(__package__) / _BUILT):
        _serve(router, _AT.get(path, f"/{path}"), path, file.read_bytes())
    return router


def _serve(router: APIRouter, at: str, path: str, data: bytes) -> None:
    if path.endswith(_PACKED):
        at, path = at.removesuffix(_PACKED), path.removesuffix(_PACKED)
        packed, data = data, gzip.decompress(data)
    else:
        packed = gzip.compress(data, mtime=0)
    kind = "text/javascript" if path.endswith(".js") else mimetypes.guess_type(path)[0] or "application/octet-stream"
    headers = {
        **_HEADERS,
        "Content-Type": kind if kind == "application/wasm" else f"{kind}; charset=utf-8",
        "Cache-Control": _YEAR if path.startswith(_LASTING) else _ASK_AGAIN,
        "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
    }

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, headers={**headers, "Content-Encoding": "gzip"})
        return Response(data, headers=headers)

    router.add_api_route(at, answer, methods=["GET", "HEAD"], include_in_schema=False)


def _built(folder: Traversable, above: str = "") -> Iterator[tuple[str, Traversable]]:
    for each in sorted(folder.iterdir(), key=lambda file: file.name):
        if each.is_dir():
            yield from _built(each, f"{above}{each.name}/")
        elif each.name != "sources.sha256":
            yield f"{above}{each.name}", each
