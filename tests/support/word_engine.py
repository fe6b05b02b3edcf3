"""An engine small enough to see through: the label is a word of the text, or the sign of the features."""

from __future__ import annotations

from fedaffect.server.errors import InvalidRequest
from fedaffect.server.serving.engines.engine import Answer, ModelInfo, Request
from fedaffect.server.serving.engines.following import Follower, WholeWindows

LABELS = ("anger", "joy", "neutral", "sadness")


class WordEngine:
    """Answers at once and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    async def predict(self, request: Request) -> Answer:
        self.asked.append(request)
        sample = request.sample
        if sample is not None and sample.text == "refuse me":
            raise InvalidRequest("as you wish; say something else")
        label = "neutral"
        if sample is not None and sample.text:
            label = next((word for word in sample.text.split() if word in LABELS), label)
        if request.features:
            label = "joy" if sum(float(values.sum()) for values in request.features.values()) > 0 else "sadness"
        modalities = sample.modalities if sample is not None else tuple(request.features)
        return Answer(
            label=label,
            probabilities={name: 0.7 if name == label else 0.1 for name in LABELS},
            confidence=0.7,
            modalities=modalities,
            model_version="words-1",
            notes=("a note",),
            transcript="heard words" if request.transcribe else None,
            transcription_ms=2.0 if request.transcribe else None,
        )

    def follow(self, client: str, window_s: float) -> Follower:
        return WholeWindows(self, client, window_s)

    def check_room(self, client: str) -> None:
        """There is always room."""

    def models(self) -> tuple[ModelInfo, ...]:
        return (
            ModelInfo(
                version="words-1", profile="test", label_set="shared4", labels=LABELS, modalities=("text",), share=1.0
            ),
        )

    def ready(self) -> bool:
        return True

    async def close(self, drain_s: float) -> None:
        pass
