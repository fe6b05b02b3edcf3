"""The cloud by gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
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
from fedaffect.edge.cloud.errors import CloudBusy, CloudError, CloudGarbage, CloudRefused, CloudUnreachable
from fedaffect.edge.cloud.messages import feedback_request, predict_request
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.proto.affect_pb2_grpc import AffectStub
from fedaffect.edge.cloud.reply import checked_prediction, said
from fedaffect.edge.cloud.retry import Backoff, Deadline, retried, seconds_of
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import Sample
from fedaffect.edge.system import tracing

_MAX_REPLY_BYTES: Final = 8 * 2**20
_LOOPBACK: Final = ("localhost", "127.", "[::1]", "unix:")
_OPTIONS: Final = (
    # Half-open connections are found while a call is under way; an idle device sends nothing.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", _MAX_REPLY_BYTES),
    # Ours know what is safe to repeat and what the deadline is.
    ("grpc.enable_retries", 0),
)
# As HTTP numbers them, so that a caller need not know which face answered.
_REFUSED: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.FAILED_PRECONDITION: 422,
    grpc.StatusCode.OUT_OF_RANGE: 416,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.UNIMPLEMENTED: 501,
}
_BEHIND_THE_END: Final = 416
_AWAY: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
# Said by gRPC's own core, on whichever side a message is too large for.
_TOO_LARGE: Final = "message larger than max"

Result = TypeVar("Result")


class GrpcCloud:
    """A `CloudClient` by gRPC; one connection, kept.

    Parameters
    ----------
    target : str
        ``host:port``.
    api_key : str, optional
        Sent as ``authorization: Bearer KEY``.
    tls : TlsSettings, optional
        Without it everything, the key included, travels in the clear.
    backoff : Backoff
        Between attempts of one call.

    Raises
    ------
    ConfigError
        If the target or the key cannot be one.
    """

    def __init__(
        self, target: str, api_key: str | None = None, tls: TlsSettings | None = None, *, backoff: Backoff | None = None
    ) -> None:
        if not target or "//" in target:
            raise ConfigError(f"gRPC wants HOST:PORT, not {target!r}")
        self._target = target
        self._metadata = (("authorization", f"Bearer {checked_key(api_key)}"),) if api_key else ()
        self._backoff = backoff or Backoff()
        options = [*_OPTIONS, ("grpc.enable_http_proxy", int(not target.startswith(_LOOPBACK)))]
        if tls is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, _credentials(tls), options)
        self._stub: Any = AffectStub(self._channel)  # type: ignore[no-untyped-call]

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

        def ask() -> Any:
            request.deadline_ms = _milliseconds(deadline.check())
            return self._unary(self._stub.Predict, request, deadline, request_id)

        reply = retried(ask, deadline, self._backoff)
        return checked_prediction(_reply_values(reply), request_id=request_id, round_trip_ms=deadline.spent_ms)

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

        def tell() -> Any:
            return self._unary(self._stub.Feedback, request, deadline, idempotency_key)

        reply = retried(tell, deadline, self._backoff)
        if not (reply.accepted or reply.duplicate):
            raise CloudGarbage("the cloud neither took the feedback nor knows it; check that it is a fedaffect cloud")
        return not reply.duplicate

    def fetch_bundle(
        self, version: str, target: Path, *, deadline_ms: float | None = None, progress: Progress | None = None
    ) -> Path:
        """As `CloudClient.fetch_bundle`."""
        deadline = Deadline(BUNDLE_DEADLINE_MS if deadline_ms is None else deadline_ms)
        download = Download(target, version, progress)

        return resumed(download, lambda: self._receive(download, version, deadline), deadline, self._backoff)

    def close(self) -> None:
        """As `CloudClient.close`."""
        self._channel.close()

    def _receive(self, download: Download, version: str, deadline: Deadline) -> None:
        """Append what the cloud sends from where the download stands."""
        begun = download.offset > 0
        try:
            if self._append(self._chunks(version, download.offset, deadline), download):
                return
        except CloudRefused as error:
            if not begun or error.status != _BEHIND_THE_END:
                raise
            download.restart()
        # The cloud has other content by now than the beginning that was here: from 0, then.
        if not self._append(self._chunks(version, 0, deadline), download):
            raise CloudUnreachable("the cloud's bundle changed twice while it was fetched; ask again")

    def _chunks(self, version: str, offset: int, deadline: Deadline) -> Iterator[pb.BundleChunk]:
        asked = pb.GetBundleRequest(version=version, offset=offset)
        call = self._guarded(
            lambda: self._stub.GetBundle(asked, timeout=deadline.check(), metadata=self._metadata), deadline
        )
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._error(error, deadline) from error
        finally:
            call.cancel()

    def _append(self, chunks: Iterator[pb.BundleChunk], download: Download) -> bool:
        for chunk in chunks:
            if not download.begins(chunk.sha256, chunk.total_bytes):
                return False
            if chunk.offset != download.offset:
                raise CloudGarbage(
                    f"the cloud sends the bundle from byte {chunk.offset}, wanted {download.offset}; ask again"
                )
            download.append(chunk.data)
        if not download.complete:
            raise CloudUnreachable(f"{self._target} stopped in the middle of the bundle; ask again to go on from there")
        return True

    def _unary(self, call: Any, request: Any, deadline: Deadline, key: str) -> Any:
        metadata = (*self._metadata, ("idempotency-key", key), (tracing.HEADER, tracing.outgoing()))
        return self._guarded(lambda: call(request, timeout=deadline.check(), metadata=metadata), deadline)

    def _guarded(self, call: Callable[[], Result], deadline: Deadline) -> Result:
        try:
            return call()
        except grpc.RpcError as error:
            raise self._error(error, deadline) from error
        except ValueError as error:
            # gRPC's way to say that the channel was closed.
            raise CloudUnreachable(f"the connection to {self._target} is closed; open a new one") from error

    def _error(self, error: Any, deadline: Deadline) -> CloudError:
        code, details = error.code(), error.details() or ""
        if code in _AWAY:
            return CloudUnreachable(f"no way to the cloud at {self._target} ({said(details)}); check the network")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return deadline.passed()
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            if _TOO_LARGE not in details:
                return CloudBusy(f"the cloud is busy ({said(details)}); ask later", _retry_after_s(error))
            if "SERVER" in details:
                return CloudRefused(f"the request is too large for the cloud ({said(details)}); send less", 413)
        if code in _REFUSED:
            return CloudRefused(f"the cloud refuses the request: {said(details)}", _REFUSED[code])
        return CloudGarbage(f"the cloud at {self._target} failed ({code.name}: {said(details)}); look into its log")


def _credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    def read(path: Path | None) -> bytes | None:
        return None if path is None else path.read_bytes()

    return grpc.ssl_channel_credentials(read(tls.authority), read(tls.key), read(tls.certificate))


def _milliseconds(seconds: float) -> int:
    # The field is 32 bits wide, and 0 would mean the cloud's own default.
    return max(1, min(2**32 - 1, int(1000 * seconds)))


def _retry_after_s(error: Any) -> float:
    for name, value in error.trailing_metadata() or ():
        if name == "retry-after":
            return seconds_of(value)
    return 0.0


def _reply_values(reply: pb.PredictReply) -> dict[str, Any]:
    return {
        "request_id": reply.request_id,
        "label": reply.label,
        "probabilities": dict(reply.probabilities),
        "confidence": reply.confidence,
        "modalities": list(reply.modalities),
        "model_version": reply.model_version,
        "notes": list(reply.notes),
        "transcript": reply.transcript or None,
        "transcription_ms": reply.transcription_ms or None,
    }
