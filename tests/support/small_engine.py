"""A real engine, only small: cross-modal attention in numpy over features, and over plain measures of media."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.media.picture import decode_video, resize
from fedaffect.edge.media.sound import decode_audio, resample
from fedaffect.edge.sample import MODALITIES, Sample
from fedaffect.server.errors import DeadlinePassed, InvalidRequest, NotFound, Overloaded, Unavailable
from fedaffect.server.serving.engines.engine import Answer, ModelInfo, Request
from fedaffect.server.serving.engines.following import Follower, WholeWindows
from fedaffect.server.serving.gateway.limits import now_s

WIDTHS = {"text": 16, "audio": 12, "video": 48}
D = 16
LABELS = ("anger", "joy", "neutral", "sadness")


class SmallEngine:
    """Computes on the event loop's threads; ``hold`` keeps answers back until it is set."""

    def __init__(self, version: str = "small-1", seed: int = 0) -> None:
        self.version = version
        self.asked = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.closed = False
        self.loaded = True
        self.full = False
        self._loop: asyncio.AbstractEventLoop | None = None
        draw = np.random.default_rng(seed)
        self._adapters = {m: draw.normal(size=(w, D)) / np.sqrt(w) for m, w in WIDTHS.items()}
        self._marks = {m: draw.normal(size=D) for m in WIDTHS}
        self._query, self._key, self._value = draw.normal(size=(3, D, D)) / np.sqrt(D)
        self._head = draw.normal(size=(D, len(LABELS)))

    def release(self) -> None:
        """Let answers go, from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.hold.set)

    async def predict(self, request: Request) -> Answer:
        self._loop = asyncio.get_running_loop()
        self.asked += 1
        if self.closed:
            raise Unavailable("closed")
        if request.model_version not in {"", self.version}:
            raise NotFound(f"model version {request.model_version!r} is not served here")
        if request.deadline_s <= now_s():
            raise DeadlinePassed("too late")
        started = now_s()
        await self.hold.wait()
        waited = now_s()
        tokens, notes = await asyncio.to_thread(self._tokens, request)
        probabilities = await asyncio.to_thread(self._fuse, tokens)
        label = max(probabilities, key=lambda name: probabilities[name])
        return Answer(
            label=label,
            probabilities=probabilities,
            confidence=probabilities[label],
            modalities=tuple(m for m in MODALITIES if m in tokens),
            model_version=self.version,
            notes=notes,
            queue_ms=(waited - started) * 1000,
            compute_ms=(now_s() - waited) * 1000,
        )

    def follow(self, client: str, window_s: float) -> Follower:
        return WholeWindows(self, client, window_s)

    def check_room(self, client: str) -> None:
        if self.full:
            raise Overloaded("the queue is full", 2.3)

    def models(self) -> tuple[ModelInfo, ...]:
        return (
            ModelInfo(
                version=self.version,
                profile="small",
                label_set="shared4",
                labels=LABELS,
                modalities=MODALITIES,
                share=1.0,
            ),
        )

    def ready(self) -> bool:
        return self.loaded and not self.closed

    async def close(self, drain_s: float) -> None:
        self.closed = True

    def _tokens(self, request: Request) -> tuple[dict[str, NDArray[np.float32]], tuple[str, ...]]:
        if request.features:
            for modality, rows in request.features.items():
                if rows.shape[1] != WIDTHS[modality]:
                    raise InvalidRequest(f"{modality} features are {rows.shape[1]} wide, not {WIDTHS[modality]}")
            return {m: rows.astype(np.float32) for m, rows in request.features.items()}, ()
        assert request.sample is not None
        return _measures(request.sample)

    def _fuse(self, tokens: dict[str, NDArray[np.float32]]) -> dict[str, float]:
        adapted = np.concatenate([rows @ self._adapters[m] + self._marks[m] for m, rows in tokens.items()])  # (T, D)
        weights = _softmax(adapted @ self._query @ (adapted @ self._key).T / np.sqrt(D))  # (T, T)
        fused = adapted + weights @ adapted @ self._value
        return dict(zip(LABELS, _softmax(fused.mean(axis=0) @ self._head).tolist(), strict=True))


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def _measures(sample: Sample) -> tuple[dict[str, NDArray[np.float32]], tuple[str, ...]]:
    tokens: dict[str, NDArray[np.float32]] = {}
    notes: tuple[str, ...] = ()
    if sample.text is not None:
        codes = np.frombuffer(sample.text.encode(errors="replace")[:160], np.uint8).astype(np.float32) / 255
        tokens["text"] = np.resize(codes, (max(1, len(codes) // 16), 16)).astype(np.float32)
    if sample.audio is not None:
        heard = resample(decode_audio(sample.audio), 8_000).samples
        if not heard.any():
            notes = ("the sound is silent",)
        tokens["audio"] = np.resize(np.abs(heard), (max(1, len(heard) // 1200), 12)).astype(np.float32)
    if sample.video is not None:
        frames = decode_video(sample.video, 5.0, 15).images
        tokens["video"] = np.stack([resize(f, 4).reshape(48) / 255 for f in frames]).astype(np.float32)
    return tokens, notes
