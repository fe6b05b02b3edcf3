"""What both transports do with a request around the engine: access, limits, deadline, memory, metrics, log."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.adaptation import Adaptation, Adapter
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import VOCABULARY
from fedaffect.edge.sample import MODALITIES, Sample
from fedaffect.edge.system import tracing
from fedaffect.server.errors import (
    DeadlinePassed,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServingError,
    Unauthenticated,
    Unavailable,
)
from fedaffect.server.registry import Registry, RegistryUnavailable, bundles, feedback
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.engine import Answer, Engine, Request
from fedaffect.server.serving.gateway.bundle_files import BundleShelf, ServedBundle
from fedaffect.server.serving.gateway.idempotency import ReplyMemory
from fedaffect.server.serving.gateway.limits import Limits, now_s
from fedaffect.server.serving.gateway.media import MediaPool
from fedaffect.server.serving.gateway.metrics import Metrics
from fedaffect.server.serving.gateway.request_log import log_facts, log_unforeseen, loggable_id

_STREAM_RETRY_S: Final = 5.0


class Caller(Protocol):
    """Who asks.

    Attributes
    ----------
    id : str
        Of the key.
    """

    @property
    def id(self) -> str:
        """Of the key."""
        ...


class Access(Protocol):
    """Decides who may do what; `fedaffect.server.registry.access.Access` in a running server."""

    async def acheck(self, token: str | None, scope: str) -> Caller:
        """The caller that a key belongs to.

        Raises
        ------
        Unauthenticated, Forbidden, Overloaded
        """
        ...


@dataclass(slots=True)
class RequestContext:
    """One call while it is being answered, and what its log line will say. Never media or words.

    Attributes
    ----------
    transport, method : str
        ``rest`` or ``grpc``, and which call.
    arrived_s : float
        On the clock of ``time.monotonic``.
    caller : str
        Id of the key, or the address where no keys are asked for.
    with_key : bool
        Whether it was let in by a key.
    request_id : str
    facts : dict
        Numbers and names for the log.
    """

    transport: str
    method: str
    arrived_s: float
    caller: str = ""
    with_key: bool = False
    request_id: str = ""
    facts: dict[str, str | int | float | bool] = field(default_factory=dict)

    def elapsed_ms(self) -> float:
        """Time since it arrived."""
        return (now_s() - self.arrived_s) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What either transport made of a prediction request.

    Parameters
    ----------
    request_id : str
        Empty where the caller gave none.
    text : str, optional
    audio, video : bytes, optional
        Files.
    sample : Sample, optional
        Instead of these: decoded already, as a stream's windows are.
    features, encoder_keys
        As in `fedaffect.server.serving.engines.engine.Request`.
    bundle_version, model_version : str
    transcribe, attention : bool
    adapt : str
        Language in which to say how an app should adapt; empty to leave it out.
    deadline_s : float
        On the clock of ``time.monotonic``.
    """

    request_id: str = ""
    text: str | None = None
    audio: bytes | None = None
    video: bytes | None = None
    sample: Sample | None = None
    features: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)
    encoder_keys: Mapping[str, str] = field(default_factory=dict)
    bundle_version: str = ""
    model_version: str = ""
    transcribe: bool = False
    attention: bool = False
    adapt: str = ""
    deadline_s: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, ready for either transport.

    Parameters
    ----------
    request_id : str
    answer : Answer
    latency_ms : float
        From arrival to answer, transcription not counted.
    adaptation : Adaptation, optional
        Where it was asked for.
    """

    request_id: str
    answer: Answer
    latency_ms: float
    adaptation: Adaptation | None = None


def adapter_in(language: str) -> Adapter | None:
    """What says in a language how an app should adapt; None where no language is given.

    Raises
    ------
    InvalidRequest
        If there are no words in that language.
    """
    try:
        return Adapter(language=language) if language else None
    except ConfigError as error:
        raise InvalidRequest(str(error)) from None


class Gateway:
    """Stands between the transports and the engine.

    Parameters
    ----------
    engine : Engine
    access : Access, optional
        None where anybody who reaches the socket may ask.
    limits : Limits
    registry : Registry, optional
        Keeps feedback and knows the bundles on offer.
    metrics : Metrics, optional
    decoders : Decoders, optional
        Those that the engine uses too.
    shelf : BundleShelf, optional
        Files of the bundle that pages run; the usual one if not given.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        access: Access | None = None,
        limits: Limits | None = None,
        registry: Registry | None = None,
        metrics: Metrics | None = None,
        decoders: Decoders | None = None,
        shelf: BundleShelf | None = None,
    ) -> None:
        self.engine = engine
        self.shelf = shelf or BundleShelf()
        self.limits = limits or Limits()
        self.metrics = metrics or Metrics()
        self.media = MediaPool(self.limits, decoders)
        self.draining = False
        self._access = access
        self._registry = registry
        self._memory = ReplyMemory(self.limits.reply_memory, self.limits.reply_memory_s)
        self._streams: Counter[str] = Counter()
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def ask_for_keys(self, access: Access) -> None:
        """Let in only who has a key, from now on."""
        self._access = access

    @property
    def asks_for_keys(self) -> bool:
        """Whether only who has a key is let in."""
        return self._access is not None

    def ready(self) -> bool:
        """Whether a new request would be answered."""
        return not self.draining and self.engine.ready()

    @asynccontextmanager
    async def request(
        self, transport: str, method: str, token: str | None, peer: str, scope: str
    ) -> AsyncIterator[RequestContext]:
        """Let a call in, count it, and write one log line when it is over.

        Parameters
        ----------
        transport, method : str
            For metrics and the log.
        token : str or None
            The API key.
        peer : str
            Address that the call came from.
        scope : str
            What the key must allow.

        Raises
        ------
        ServingError
            Whatever goes wrong inside; what was not foreseen comes out as one that says no more than its number in
            the log.
        """
        context = RequestContext(transport, method, now_s())
        self._in_flight += 1
        self._idle.clear()
        self.metrics.in_flight.inc()
        outcome = "OK"
        try:
            with tracing.span(f"{transport} {method}"):
                if self.draining:
                    raise Unavailable("the server is stopping; ask another one, or again in a moment")
                if self._access is None:
                    context.caller = peer
                else:
                    context.caller = (await self._access.acheck(token, scope)).id
                    context.with_key = True
                yield context
        except RegistryUnavailable as error:
            outcome = "Unavailable"
            self.metrics.refusals.labels(outcome).inc()
            # Which database it is, and where, is the operator's business alone.
            log_facts(logging.ERROR, "registry away", {"reason": str(error)})
            raise Unavailable("the server's registry does not answer; try again in a moment") from None
        except ServingError as error:
            outcome = type(error).__name__
            self.metrics.refusals.labels(outcome).inc()
            raise
        except DataError as error:
            outcome = "InvalidRequest"
            self.metrics.refusals.labels(outcome).inc()
            raise InvalidRequest(str(error)) from None
        except asyncio.CancelledError:
            outcome = "Cancelled"
            raise
        except Exception as error:  # noqa: BLE001 the last place where it can be kept from the caller
            outcome = "Internal"
            number = log_unforeseen(error, transport, method)
            raise ServingError(f"the server failed; its operator finds the cause in the log as {number}") from None
        finally:
            self._in_flight -= 1
            self.metrics.in_flight.dec()
            if not self._in_flight:
                self._idle.set()
            self.metrics.requests.labels(transport, method, outcome).inc()
            self.metrics.latency.labels(transport, method).observe(context.elapsed_ms() / 1000)
            _log_request(context, outcome)

    def check_goes_on(self, context: RequestContext) -> None:
        """End a stream that would not be let in any more; to be asked again and again while it is answered.

        Raises
        ------
        Unavailable
            If the server is stopping.
        Unauthenticated
            If keys are asked for since it began without one.
        """
        if self.draining:
            raise Unavailable("the server is stopping; begin the stream again with another one, or in a moment")
        if self.asks_for_keys and not context.with_key:
            raise Unauthenticated("the server asks for keys since this stream began; begin it again with one")

    async def charge(self, token: str | None, scope: str) -> None:
        """Count one more request against a key's rate: a call that holds several was counted once.

        Raises
        ------
        Unauthenticated, Forbidden, Overloaded
        """
        if self._access is not None:
            await self._access.acheck(token, scope)

    def check_room(self, context: RequestContext) -> None:
        """Turn a prediction away before its body is read: in an overload, reading those refused would delay the rest.

        Raises
        ------
        Overloaded, Unavailable
        """
        self.engine.check_room(context.caller)

    async def predict(self, context: RequestContext, question: Question) -> Reply:
        """Check a question and have it answered, from memory where its id was answered a short while ago.

        Raises
        ------
        ServingError
        """
        given_id = self.limits.request_id(question.request_id)
        adapter = adapter_in(question.adapt)
        context.request_id = given_id or secrets.token_hex(16)
        if question.audio or question.video:
            # The queue may have filled while the body came; looking into media takes a processor's time.
            self.check_room(context)
        try:
            async with asyncio.timeout(max(question.deadline_s - now_s(), 0.0)):
                question, notes, digest = await self._check(question)
        except TimeoutError:
            raise DeadlinePassed("the deadline passed before the media were looked into; allow more time") from None
        sample = question.sample
        if sample is None and not question.features:
            sample = Sample(
                id=context.request_id,
                text=question.text or None,
                audio=question.audio or None,
                video=question.video or None,
            )
        request = Request(
            id=context.request_id,
            sample=sample,
            features=question.features,
            encoder_keys=question.encoder_keys,
            client=context.caller,
            deadline_s=question.deadline_s,
            model_version=question.model_version,
            transcribe=question.transcribe,
            attention=question.attention,
        )
        try:
            async with asyncio.timeout(max(question.deadline_s - now_s(), 0.0)):
                if given_id:
                    answer, repeated = await self._memory.answer(
                        context.caller, given_id, digest, lambda: self.engine.predict(request)
                    )
                else:
                    answer, repeated = await self.engine.predict(request), False
        except TimeoutError:
            raise DeadlinePassed("the deadline passed before the answer was there; allow more time") from None
        if notes:
            answer = replace(answer, notes=(*notes, *answer.notes))
        latency_ms = context.elapsed_ms() - (0.0 if repeated else answer.transcription_ms or 0.0)
        self.account(context, answer, repeated)
        adaptation = None if adapter is None else adapter.follow(answer.probabilities)
        return Reply(request_id=context.request_id, answer=answer, latency_ms=latency_ms, adaptation=adaptation)

    async def feedback(
        self, context: RequestContext, given: feedback.Feedback, features: Mapping[str, pb.FeatureSequence]
    ) -> bool:
        """Keep what a user said; True where the same key was taken before.

        Raises
        ------
        ServingError
        """
        for name in ("idempotency_key", "request_id"):
            if not self.limits.request_id(getattr(given, name)):
                raise InvalidRequest(f"feedback needs {name}; send a UUID")
        if given.label not in VOCABULARY:
            raise InvalidRequest(f"the label is not in the vocabulary; choose from {', '.join(VOCABULARY)}")
        if features and not given.consent:
            raise InvalidRequest("features come only with consent; leave them out or ask the user")
        context.request_id = given.request_id
        given = replace(given, caller=context.caller)
        return not await asyncio.to_thread(feedback.take, self.open_registry(), given)

    async def bundle(self, version: str) -> bundles.BundleEntry:
        """A bundle on offer, the newest where the version is empty.

        Raises
        ------
        NotFound, Unavailable
        """
        entry = await asyncio.to_thread(bundles.get_offered, self.open_registry(), version)
        if not await asyncio.to_thread(_has_bytes, entry.path, entry.size_bytes):
            raise Unavailable("the bundle's file is missing on the server; its operator must offer it again")
        return entry

    async def page_bundle(self, version: str = "") -> ServedBundle:
        """The bundle that pages run: the newest on offer, or where none is, this machine's own.

        Raises
        ------
        NotFound
            If there is none, or not of that version.
        Unavailable
            If it is damaged.
        """
        found = await self._page_bundle(version)
        if version and found.version != version:
            raise NotFound(f"bundle {version!r} is not served any more; load the page again to get the newest")
        return found

    async def _page_bundle(self, version: str) -> ServedBundle:
        if self._registry is not None and not self.shelf.serves_own:
            try:
                entry = await self.bundle(version)
            except NotFound:
                pass
            else:
                return await asyncio.to_thread(self.shelf.offered, entry.version, entry.path)
        return await asyncio.to_thread(self.shelf.usual)

    @asynccontextmanager
    async def stream_of(self, caller: str) -> AsyncIterator[None]:
        """Count an open stream.

        Raises
        ------
        Overloaded
            If the caller has as many as are allowed.
        """
        if self._streams[caller] >= self.limits.streams_per_caller:
            raise Overloaded(
                f"{self.limits.streams_per_caller} streams are open already; close one first", _STREAM_RETRY_S
            )
        self._streams[caller] += 1
        self.metrics.streams.inc()
        try:
            yield
        finally:
            self.metrics.streams.dec()
            self._streams[caller] -= 1
            if not self._streams[caller]:
                del self._streams[caller]

    async def drain(self, seconds: float) -> bool:
        """Refuse what is new and wait for what is under way; False where time ran out first."""
        self.draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Let go of threads."""
        self.media.close()

    async def _check(self, question: Question) -> _Checked:
        """What is left of a question within the limits; a stream's windows were checked as they came."""
        if question.sample is not None:
            return _Checked(question)
        if question.features:
            if any(value is not None for value in (question.text, question.audio, question.video)):
                raise InvalidRequest("send media or features, not both")
        elif not (question.text or question.audio or question.video):
            raise InvalidRequest("the request is empty; send text, audio, video, or features of one of them")
        if question.text is not None:
            self.limits.text(question.text)
        if question.audio or question.video:
            return await self.media.run(lambda: _checked(question, self.limits, self.media.decoders))
        return _Checked(question, (), _digest(question))

    def account(self, context: RequestContext, answer: Answer, repeated: bool = False) -> None:
        """Count an answer, and note for the log what it was made of."""
        if repeated:
            self.metrics.repeated.inc()
        else:
            self.metrics.queue.labels(answer.model_version).observe(answer.queue_ms / 1000)
            self.metrics.compute.labels(answer.model_version).observe(answer.compute_ms / 1000)
        context.facts |= {
            "model_version": answer.model_version,
            "modalities": "+".join(answer.modalities),
            "queue_ms": round(answer.queue_ms, 2),
            "compute_ms": round(answer.compute_ms, 2),
            "repeated": repeated,
        }

    def open_registry(self) -> Registry:
        """The registry.

        Raises
        ------
        Unavailable
            If there is none.
        """
        if self._registry is None:
            raise Unavailable("this server keeps no registry; start it with --database")
        return self._registry


def features_of(given: Mapping[str, pb.FeatureSequence], limits: Limits) -> dict[str, NDArray[np.float16]]:
    """Feature arrays from what came over the wire.

    Returns
    -------
    dict of str to float16 array, shape (T, W)

    Raises
    ------
    InvalidRequest
        On an unknown modality, a size that does not fit, or values that are not numbers.
    """
    arrays = {}
    for modality, sequence in given.items():
        if modality not in MODALITIES:
            raise InvalidRequest(f"features are of {', '.join(MODALITIES)}; one of them has another name")
        rows, width = sequence.rows, sequence.width
        if not (0 < rows <= limits.feature_rows and 0 < width <= limits.feature_width):
            raise InvalidRequest(
                f"{modality} features are {rows} x {width}; send 1 to {limits.feature_rows} rows "
                f"of 1 to {limits.feature_width} values"
            )
        if len(sequence.values) != rows * width * 2:
            raise InvalidRequest(
                f"{modality} features have {len(sequence.values)} bytes where {rows} x {width} float16 values "
                f"take {rows * width * 2}; send them row by row, little-endian"
            )
        array = np.frombuffer(sequence.values, dtype="<f2").reshape(rows, width).astype(np.float16)
        if not np.isfinite(array).all():
            raise InvalidRequest(f"{modality} features hold values that are not numbers; drop this sample")
        arrays[modality] = array
    return arrays


def _log_request(context: RequestContext, outcome: str) -> None:
    facts = {
        "transport": context.transport,
        "method": context.method,
        "request_id": loggable_id(context.request_id),
        "caller": context.caller,
        "outcome": outcome,
        "latency_ms": round(context.elapsed_ms(), 2),
    }
    log_facts(logging.INFO, "answered", facts | context.facts)


class _Checked(NamedTuple):
    """A question without what is damaged, what to tell about that, and the digest of the whole."""

    question: Question
    notes: tuple[str, ...] = ()
    digest: bytes = b""


def _checked(question: Question, limits: Limits, decoders: Decoders) -> _Checked:
    digest = _digest(question)
    damaged: dict[str, InvalidRequest] = {}
    for modality, check in (("audio", decoders.check_sound), ("video", decoders.check_pictures)):
        data = getattr(question, modality)
        if not data:
            continue
        try:
            check(data, limits.media(), question.deadline_s)
        except InvalidRequest as error:
            damaged[modality] = error
        except DataError as error:
            damaged[modality] = InvalidRequest(f"{modality}: {error}")
    audio, video = (None if name in damaged else getattr(question, name) for name in ("audio", "video"))
    left = replace(question, audio=audio, video=video) if damaged else question
    if damaged and not (left.text or left.audio or left.video):
        raise next(iter(damaged.values()))
    return _Checked(left, tuple(str(error) for error in damaged.values()), digest)


def _digest(question: Question) -> bytes:
    asked = (question.model_version, question.bundle_version, question.transcribe, question.attention)
    digest = hashlib.sha256("\n".join(map(str, asked)).encode())
    for part in ((question.text or "").encode(errors="surrogatepass"), question.audio or b"", question.video or b""):
        digest.update(len(part).to_bytes(8, "little") + part)
    for modality in sorted(question.features):
        digest.update(modality.encode() + repr(question.features[modality].shape).encode())
        digest.update(question.features[modality].tobytes())
    return digest.digest()


def _has_bytes(path: Path, count: int) -> bool:
    return path.is_file() and path.stat().st_size == count
