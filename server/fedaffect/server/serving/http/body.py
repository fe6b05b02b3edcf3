"""Reading a REST request's body: bounded while it arrives, JSON or multipart, in memory only."""

from __future__ import annotations

import asyncio
import binascii
import re
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import nearest
from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.serving.gateway.limits import Limits, TooSlow, UnsupportedMedia
from fedaffect.server.serving.http.schemas import FeatureSet, PredictBody

Body = TypeVar("Body", bound=BaseModel)
_MEDIA_FIELDS: Final = ("audio", "video")
_SWITCHES: Final = ("transcribe", "attention")
_MAX_FIELDS: Final = 16
_KNOWN_FIELDS: Final = ", ".join(PredictBody.model_fields) + " (pictures and films go into video)"
_LINGER_S: Final = 1.0
_FIELD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")


async def read_body(request: Request, limits: Limits) -> bytes:
    """All of a body.

    Raises
    ------
    RequestTooLarge
        As soon as more has come than is allowed.
    TooSlow
        If it takes too long.
    UnsupportedMedia
        If it is compressed: what it unpacks to cannot be known before.
    InvalidRequest
        If the caller hangs up on the way.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("the body is compressed; send it as it is, media are compressed already")
    chunks, count = [], 0
    incoming = request.stream()
    try:
        async with asyncio.timeout(limits.body_s):
            limits.body(_announced(request))
            async for chunk in incoming:
                count += len(chunk)
                limits.body(count)
                chunks.append(chunk)
    except RequestTooLarge:
        await _swallow(incoming, limits.body_bytes)
        raise
    except TimeoutError:
        raise TooSlow(f"the body did not arrive within {limits.body_s:g} s; send less or over a faster line") from None
    except ClientDisconnect:
        raise InvalidRequest("the connection ended before the body did") from None
    return b"".join(chunks)


async def _swallow(incoming: AsyncIterator[bytes], most: int) -> None:
    """Read on for a moment: closing at once would reset the connection before the caller reads the refusal."""
    count = 0
    try:
        async with asyncio.timeout(_LINGER_S):
            async for chunk in incoming:
                count += len(chunk)
                if count > most:
                    return
    except (TimeoutError, ClientDisconnect):
        return


def _announced(request: Request) -> int:
    try:
        return int(request.headers.get("content-length", 0))
    except ValueError:
        return 0


async def read_json(request: Request, kind: type[Body], limits: Limits) -> Body:
    """A JSON body, checked against its description.

    Raises
    ------
    UnsupportedMedia, InvalidRequest, RequestTooLarge, TooSlow
    """
    if _media_type(request) != "application/json":
        raise UnsupportedMedia("send JSON with Content-Type: application/json")
    return parse_json(await read_body(request, limits), kind)


def parse_json(data: bytes | str, kind: type[Body]) -> Body:
    """JSON checked against its description; errors name the place and never repeat what stands there.

    Raises
    ------
    InvalidRequest
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise InvalidRequest(_explain(error, kind)) from None


async def read_prediction(request: Request, limits: Limits) -> tuple[PredictBody, bytes | None, bytes | None]:
    """What a prediction's body says, its audio and its video, from JSON or multipart.

    Raises
    ------
    UnsupportedMedia, InvalidRequest, RequestTooLarge, TooSlow
    """
    kind = _media_type(request)
    if kind == "application/json":
        body = await read_json(request, PredictBody, limits)
        return body, decode_base64(body.audio, "audio"), decode_base64(body.video, "video")
    if kind != "multipart/form-data":
        raise UnsupportedMedia("send JSON, or multipart/form-data with the fields text, audio, video")
    fields, media = await _read_multipart(request, limits)
    try:
        return PredictBody.model_validate(fields), media.get("audio"), media.get("video")
    except ValidationError as error:
        raise InvalidRequest(_explain(error, PredictBody)) from None


def decode_base64(text: str | None, field: str) -> bytes | None:
    """The bytes, None where there are none.

    Raises
    ------
    InvalidRequest
        If it is not base64.
    """
    if text is None:
        return None
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{field} is not base64; encode the file's bytes with the standard alphabet") from None


def feature_messages(given: FeatureSet | None) -> dict[str, pb.FeatureSequence]:
    """JSON's features as the protocol's.

    Raises
    ------
    InvalidRequest
        If their values are not base64.
    """
    return {
        modality: pb.FeatureSequence(
            encoder_key=body.encoder_key,
            rows=body.rows,
            width=body.width,
            values=decode_base64(body.values, f"{modality} values") or b"",
        )
        for modality, body in (given.given() if given else {}).items()
    }


class _InMemory(MultiPartParser):
    """Keeps uploads in memory, whatever their size: media do not touch the disk. The body is bounded already."""

    spool_max_size = 2**40


async def _read_multipart(request: Request, limits: Limits) -> tuple[dict[str, Any], dict[str, bytes]]:
    data = await read_body(request, limits)

    async def once() -> AsyncGenerator[bytes, None]:
        yield data

    fields: dict[str, Any] = {}
    media: dict[str, bytes] = {}
    try:
        parser = _InMemory(
            Headers(raw=request.headers.raw),
            once(),
            max_files=_MAX_FIELDS,
            max_fields=_MAX_FIELDS,
            max_part_size=limits.body_bytes,
        )
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeError):
        raise InvalidRequest(
            "the multipart body cannot be read; give its boundary in Content-Type, names in UTF-8"
        ) from None
    try:
        for name, value in form.multi_items():
            if name in fields or name in media:
                raise InvalidRequest(f"one field comes twice; send each of {', '.join(PredictBody.model_fields)} once")
            if name not in PredictBody.model_fields:
                raise InvalidRequest(f"{_unknown_field(name, PredictBody.model_fields)}; known: {_KNOWN_FIELDS}")
            raw = await value.read() if isinstance(value, UploadFile) else _raw(value, data)
            if name in _MEDIA_FIELDS:
                media[name] = raw
            else:
                fields[name] = _decoded(raw)
    finally:
        await form.close()
    _from_text(fields)
    return fields, media


def _raw(value: str, body: bytes) -> bytes:
    """The bytes of a field. The parser falls back to Latin-1, which takes any; what was UTF-8 stands in the body."""
    utf8 = value.encode()
    return utf8 if utf8 in body else value.encode("latin-1", "replace")


def _from_text(fields: dict[str, Any]) -> None:
    """Form fields are text; a deadline and switches are not."""
    for name in _SWITCHES:
        if name in fields:
            switch = str(fields[name]).lower()
            if switch not in {"true", "false", "1", "0"}:
                raise InvalidRequest(f"{name} is true or false")
            fields[name] = switch in {"true", "1"}
    if "deadline_ms" in fields:
        deadline = str(fields["deadline_ms"])
        if not (deadline.isascii() and deadline.isdigit() and len(deadline) <= 10):
            raise InvalidRequest("deadline_ms is a whole number of milliseconds")
        fields["deadline_ms"] = int(deadline)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("a text field is not UTF-8; encode it so") from None


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """The first mistake and its place."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *above, name = first["loc"]
        within = "" if not above else f" in {'.'.join(map(str, above))}"
        return f"{_unknown_field(str(name), () if above else kind.model_fields)}{within}; see /openapi.json"
    return f"{place}: {first['msg']}" if place else first["msg"]


def _unknown_field(name: str, known: Iterable[str]) -> str:
    """What is wrong with a field; only names that look like one are repeated, as others may hold what people said."""
    if _FIELD_NAME.fullmatch(name) is None:
        return "a field is not known here"
    near = nearest(name, known)
    return f"there is no field {name!r}" + (f" (did you mean {near!r}?)" if near else "")
