"""The cloud by REST."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from numpy.typing import NDArray

from fedaffect.edge.cloud.client import (
    BUNDLE_DEADLINE_MS,
    FEEDBACK_DEADLINE_MS,
    PREDICT_DEADLINE_MS,
    Progress,
    TlsSettings,
    checked_key,
)
from fedaffect.edge.cloud.download import Download, resumed
from fedaffect.edge.cloud.errors import CloudError, CloudGarbage, CloudUnreachable
from fedaffect.edge.cloud.loop_thread import LoopThread
from fedaffect.edge.cloud.messages import feedback_request, predict_request
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.reply import checked_prediction, said
from fedaffect.edge.cloud.rest_status import check_status, content_range, ssl_context
from fedaffect.edge.cloud.retry import Backoff, Deadline, retried
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import Sample
from fedaffect.edge.system import tracing

_MAX_REPLY_BYTES: Final = 2**20
_MAX_ERROR_BYTES: Final = 2**16
# The loop's own deadline cuts everything short; these only bound how long a connection may take to appear.
_LIMITS: Final = httpx.Limits(max_connections=16, max_keepalive_connections=4, keepalive_expiry=60.0)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

Result = TypeVar("Result")


class RestCloud:
    """A `CloudClient` by REST; connections are kept alive for a minute.

    Parameters
    ----------
    base_url : str
        ``https://host:port``, with the path before ``/v1`` where there is one.
    api_key : str, optional
        Sent as ``Authorization: Bearer KEY``.
    tls : TlsSettings, optional
        Own authorities and certificate; only for https.
    backoff : Backoff
        Between attempts of one call.

    Raises
    ------
    ConfigError
        If the address or the key cannot be one.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        tls: TlsSettings | None = None,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL as error:
            raise ConfigError(
                f"{base_url!r} is no address ({error}); give http://HOST:PORT or https://HOST:PORT"
            ) from error
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"{base_url!r} is no address; give http://HOST:PORT or https://HOST:PORT")
        if tls is not None and url.scheme != "https":
            raise ConfigError(f"TLS settings are given, but {base_url!r} is not https; change one of them")
        self._url = str(url).rstrip("/")
        # Compressed replies could unpack to more than the device has memory.
        headers = {"accept-encoding": "identity", "user-agent": "fedaffect"}
        if api_key:
            headers["authorization"] = f"Bearer {checked_key(api_key)}"
        self._backoff = backoff or Backoff()
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=ssl_context(tls),
            timeout=None,  # noqa: S113
            limits=_LIMITS,
            trust_env=url.host not in _LOOPBACK,
        )
        self._loop = LoopThread("fedaffect-rest")

    def predict(
        self,
        sample: Sample | None,
        *,
        request_id: str,
        features: Mapping[str, NDArray[Any]] | None = None,
        encoder_keys: Mapping[str, str] | None = None,
        bundle_version: str = "",
        deadline_ms: float | None = None,
        transcribe: bool = False,
    ) -> Prediction:
        """As `CloudClient.predict`."""
        deadline = Deadline(PREDICT_DEADLINE_MS if deadline_ms is None else deadline_ms)
        request = predict_request(
            sample,
            request_id=request_id,
            features=features,
            encoder_keys=encoder_keys,
            bundle_version=bundle_version,
            transcribe=transcribe,
        )
        path, body = ("/v1/predict", _multipart(request)) if sample is not None else _features(request)
        reply = self._post(path, body, deadline, request_id)
        return checked_prediction(reply, request_id=request_id, round_trip_ms=deadline.spent_ms)

    def feedback(
        self,
        *,
        idempotency_key: str,
        request_id: str,
        label: str,
        consent: bool,
        model_version: str = "",
        features: Mapping[str, NDArray[Any]] | None = None,
        encoder_keys: Mapping[str, str] | None = None,
        deadline_ms: float | None = None,
    ) -> bool:
        """As `CloudClient.feedback`."""
        deadline = Deadline(FEEDBACK_DEADLINE_MS if deadline_ms is None else deadline_ms)
        request = feedback_request(
            idempotency_key=idempotency_key,
            request_id=request_id,
            label=label,
            consent=consent,
            model_version=model_version,
            features=features,
            encoder_keys=encoder_keys,
        )
        values: dict[str, Any] = {"request_id": request_id, "label": label, "consent": consent}
        if model_version:
            values["model_version"] = model_version
        if features:
            values["features"] = _sequences(request.features)
        reply = self._post("/v1/feedback", {"json": values}, deadline, idempotency_key)
        taken, known = reply.get("accepted"), reply.get("duplicate")
        if not isinstance(taken, bool) or not isinstance(known, bool) or not (taken or known):
            raise CloudGarbage("the cloud neither took the feedback nor knows it; check that it is a fedaffect cloud")
        return not known

    def models(self) -> tuple[Mapping[str, Any], ...]:
        """Model versions being served, as ``GET /v1/models`` lists them.

        Raises
        ------
        CloudError
        """
        deadline = Deadline(PREDICT_DEADLINE_MS)
        reply = retried(lambda: self._json("GET", "/v1/models", {}, deadline), deadline, self._backoff)
        models = reply.get("models")
        if not isinstance(models, list) or not all(
            isinstance(m, dict) and isinstance(m.get("version"), str) for m in models
        ):
            raise CloudGarbage("the cloud's list of models is none; check that client and server are of one version")
        return tuple(models)

    def fetch_bundle(
        self, version: str, target: Path, *, deadline_ms: float | None = None, progress: Progress | None = None
    ) -> Path:
        """As `CloudClient.fetch_bundle`."""
        deadline = Deadline(BUNDLE_DEADLINE_MS if deadline_ms is None else deadline_ms)
        download = Download(target, version, progress)
        path = f"/v1/bundles/{quote(version or 'latest', safe='')}"

        def receive() -> None:
            # Whole or from the middle; other content than the beginning that is here starts again at 0.
            while not self._run(lambda: self._receive(path, download), deadline):
                pass

        return resumed(download, receive, deadline, self._backoff)

    def close(self) -> None:
        """As `CloudClient.close`."""
        self._loop.close(self._client.aclose())

    async def _receive(self, path: str, download: Download) -> bool:
        offset = download.offset
        headers = {"range": f"bytes={offset}-", "if-range": f'"{download.sha256}"'} if offset else {}
        async with self._stream("GET", path, headers=headers) as response:
            await self._checked(response)
            begin, total = content_range(response, offset)
            if begin == 0 and offset:
                download.restart()
            if not download.begins(response.headers.get("etag", "").strip('"'), total):
                return False
            async for block in response.aiter_raw():
                download.append(block)
        if not download.complete:
            raise CloudUnreachable(f"{self._url} stopped in the middle of the bundle; ask again to go on from there")
        return True

    def _post(self, path: str, body: Mapping[str, Any], deadline: Deadline, key: str) -> dict[str, Any]:
        trace = tracing.outgoing()

        def attempt() -> dict[str, Any]:
            headers = {"x-deadline-ms": str(max(1, int(1000 * deadline.check()))), "idempotency-key": key}
            headers[tracing.HEADER] = trace
            return self._json("POST", path, {**body, "headers": headers}, deadline)

        return retried(attempt, deadline, self._backoff)

    def _json(self, method: str, path: str, options: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
        async def exchange() -> bytes:
            async with self._stream(method, path, **options) as response:
                await self._checked(response)
                return await _body(response, _MAX_REPLY_BYTES)

        return _object(self._run(exchange, deadline))

    def _stream(self, method: str, path: str, **options: Any) -> AbstractAsyncContextManager[httpx.Response]:
        return self._client.stream(method, f"{self._url}{path}", **options)

    async def _checked(self, response: httpx.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise CloudGarbage("the cloud sends a compressed reply that was not asked for; look at the proxy before it")
        if not response.is_success:
            check_status(response, await _body(response, _MAX_ERROR_BYTES))

    def _run(self, exchange: Callable[[], Awaitable[Result]], deadline: Deadline) -> Result:
        """Run one exchange to its end, or to the deadline, wherever that finds it."""
        try:
            return self._loop.run(exchange(), deadline.check())
        except TimeoutError as error:
            raise deadline.passed() from error
        except CloudError:
            raise
        except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
            if _broke_off(error):
                raise self._away(error) from error
            raise CloudGarbage(f"{self._url} does not speak HTTP ({said(str(error))}); check the address") from error
        except (httpx.TransportError, OSError) as error:
            # A TLS alert after the handshake comes through httpx as it is.
            raise self._away(error) from error
        except httpx.HTTPError as error:
            raise CloudGarbage(f"the cloud at {self._url} failed ({said(str(error))}); look into its log") from error

    def _away(self, error: Exception) -> CloudUnreachable:
        reason = said(str(error) or type(error).__name__)
        return CloudUnreachable(f"no way to the cloud at {self._url} ({reason}); check the network")


def _broke_off(error: Exception) -> bool:
    # h11 says the same of a peer that hangs up as of one that talks nonsense; only the words differ.
    return "disconnected" in str(error) or "closed connection" in str(error)


async def _body(response: httpx.Response, most: int) -> bytes:
    blocks, size = [], 0
    async for block in response.aiter_raw():
        size += len(block)
        if size > most:
            raise CloudGarbage(f"the cloud's reply is larger than {most} bytes; check that it is a fedaffect cloud")
        blocks.append(block)
    return b"".join(blocks)


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CloudGarbage(
            "the cloud's reply is no JSON; check that the address is that of a fedaffect cloud"
        ) from error
    if not isinstance(values, dict):
        raise CloudGarbage("the cloud's reply is no JSON object; check that the address is that of a fedaffect cloud")
    return values


def _multipart(request: pb.PredictRequest) -> dict[str, Any]:
    files: dict[str, tuple[str | None, bytes]] = {"request_id": (None, request.request_id.encode())}
    if request.text:
        files["text"] = (None, request.text.encode())
    if request.transcribe:
        files["transcribe"] = (None, b"true")
    for modality in ("audio", "video"):
        if media := getattr(request, modality):
            files[modality] = (modality, media)
    return {"files": files}


def _features(request: pb.PredictRequest) -> tuple[str, dict[str, Any]]:
    values = {
        "request_id": request.request_id,
        "bundle_version": request.bundle_version,
        "features": _sequences(request.features),
    }
    return "/v1/predict/features", {"json": values}


def _sequences(sequences: Mapping[str, pb.FeatureSequence]) -> dict[str, Any]:
    return {
        modality: {
            "encoder_key": sequence.encoder_key,
            "rows": sequence.rows,
            "width": sequence.width,
            "values": b64encode(sequence.values).decode(),
        }
        for modality, sequence in sequences.items()
    }
