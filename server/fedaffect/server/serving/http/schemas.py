"""What REST's JSON looks like; OpenAPI is made from it."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from fedaffect.server.serving.gateway.limits import REQUEST_ID_PATTERN

_UINT32: Final = 2**32 - 1
MOST_IN_BATCH: Final = 32
_ATTENTION: Final = "Tell which tokens attend to which, too; a model that does not tell refuses."

_ADAPT: Final = "Language, such as en, in which to say how an app should adapt; empty leaves it out."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PredictBody(_Strict):
    """One sample; at least one of text, audio and video."""

    request_id: str = Field("", pattern=REQUEST_ID_PATTERN, description="A repeated id is answered from memory.")
    text: str | None = Field(None, description="The words.")
    audio: str | None = Field(None, description="A sound file (WAV, FLAC, OGG, MP3, MP4), base64.")
    video: str | None = Field(None, description="A picture or video file (JPEG, PNG, MP4, WebM), base64.")
    model_version: str = Field("", max_length=200, description="Empty: the one that is being served.")
    transcribe: bool = Field(False, description="Find the words in the sound where no text is given.")
    attention: bool = Field(False, description=_ATTENTION)
    adapt: str = Field("", max_length=20, description=_ADAPT)
    deadline_ms: int | None = Field(None, ge=1, le=_UINT32, description="Time left when this was sent.")


class BatchBody(_Strict):
    """Several samples at once."""

    requests: list[PredictBody] = Field(min_length=1, max_length=MOST_IN_BATCH)


class FeatureBody(_Strict):
    """What an edge encoder made of one modality."""

    encoder_key: str = Field("", max_length=200)
    rows: int = Field(ge=1, le=_UINT32)
    width: int = Field(ge=1, le=_UINT32)
    values: str = Field(description="rows x width little-endian float16, row by row, base64.")


class FeatureSet(_Strict):
    """By modality; at least one."""

    text: FeatureBody | None = None
    audio: FeatureBody | None = None
    video: FeatureBody | None = None

    def given(self) -> dict[str, FeatureBody]:
        """Those that are there."""
        return {m: f for m, f in (("text", self.text), ("audio", self.audio), ("video", self.video)) if f is not None}


class FeaturesBody(_Strict):
    """Features instead of media."""

    request_id: str = Field("", pattern=REQUEST_ID_PATTERN)
    bundle_version: str = Field("", max_length=200, description="Of the bundle that made them.")
    model_version: str = Field("", max_length=200)
    attention: bool = Field(False, description=_ATTENTION)
    adapt: str = Field("", max_length=20, description=_ADAPT)
    deadline_ms: int | None = Field(None, ge=1, le=_UINT32)
    features: FeatureSet


class FeedbackBody(_Strict):
    """What the user said it really was."""

    idempotency_key: str = Field("", pattern=REQUEST_ID_PATTERN, description="Or the header Idempotency-Key.")
    request_id: str = Field(pattern=REQUEST_ID_PATTERN, min_length=1)
    label: str = Field(max_length=200)
    consent: bool
    model_version: str = Field("", max_length=200)
    features: FeatureSet | None = None


class AttentionReply(BaseModel):
    """As `fedaffect.edge.attention.Attention`."""

    tokens: dict[str, int] = Field(description="How many tokens each modality has, in their order; T in all.")
    shares: list[list[list[list[float]]]] = Field(
        description="Of each layer and head, T rows that look by T columns that are looked at; a row sums to 1."
    )


class AdaptationReply(BaseModel):
    """As `fedaffect.edge.adaptation.Adaptation`."""

    state: str
    response: str
    theme: str
    tone: str
    pace: str
    speed: float = Field(description="Of speech and of what moves, as a share of the usual one.")
    manner: str = Field(description="How to write in that tone.")
    cues: list[str] = Field(description="Sentences to show or say.")
    share: float
    policy: str
    decision: str
    note: str


class PredictionReply(BaseModel):
    """As `fedaffect.edge.prediction.Prediction`."""

    request_id: str
    label: str
    probabilities: dict[str, float]
    confidence: float
    source: Literal["cloud"]
    modalities: list[str]
    latency_ms: float
    model_version: str
    offload_reason: str
    notes: list[str]
    transcript: str | None = None
    transcription_ms: float | None = None
    attention: AttentionReply | None = None
    adaptation: AdaptationReply | None = None


class ErrorText(BaseModel):
    """What went wrong and what to do."""

    type: str
    message: str


class ErrorReply(BaseModel):
    """Every refusal looks so."""

    error: ErrorText


class BatchReply(BaseModel):
    """Answers in the order of the requests; a refusal takes an answer's place."""

    replies: list[PredictionReply | ErrorReply]


class FeedbackReply(BaseModel):
    """Whether it was taken."""

    accepted: bool
    duplicate: bool
    features: list[str] = Field(description="Modalities whose features were kept with it, to learn from.")


class ModelReply(BaseModel):
    """A version being served."""

    version: str
    profile: str
    label_set: str
    labels: list[str]
    modalities: list[str]
    share: float
    random_init: bool


class ModelsReply(BaseModel):
    """All of them."""

    models: list[ModelReply]


class Colours(BaseModel):
    """Of one page, such as #1f2328."""

    background: str
    text: str
    accent: str


class ThemeReply(BaseModel):
    """A theme's colours on light and on dark pages."""

    light: Colours
    dark: Colours


class PolicyReply(BaseModel):
    """What an app needs to know of the policy beforehand."""

    version: str
    themes: dict[str, ThemeReply]
    paces: dict[str, float] = Field(description="Speeds as a share of the usual one.")
    languages: list[str]


class StateReply(BaseModel):
    """Whether the server lives, or is ready."""

    status: str


REASONS: Final[dict[int, str]] = {
    400: "Not a request that the server understands",
    401: "No key, or one that is unknown, revoked or expired",
    403: "The key lacks the scope",
    404: "No such model, bundle or film",
    408: "The body did not arrive in time",
    409: "Does not fit what is there by now; ask how it stands and go on from there",
    413: "Beyond the limits of size, duration, resolution or length",
    415: "Neither JSON nor multipart, or compressed",
    416: "The range begins behind the end",
    422: "Cannot be answered as it is; the message says what to change",
    429: "The queue is full or the key's rate is spent; come back after Retry-After",
    503: "Draining, or no model is loaded",
    504: "The deadline passed",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of these refusals."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        if status == 400:
            # Said by the HTTP server itself, before there is a request.
            said = {"content": {"text/plain": {"schema": {"type": "string"}}}}
            described[status] = {"description": REASONS[status], **said}
            continue
        described[status] = {"model": ErrorReply, "description": REASONS[status]}
        if status == 429:
            described[status]["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}}
    return described
