from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeatureSequence(_message.Message):
    __slots__ = ("encoder_key", "rows", "width", "values")
    ENCODER_KEY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    encoder_key: str
    rows: int
    width: int
    values: bytes
    def __init__(self, encoder_key: _Optional[str] = ..., rows: _Optional[int] = ..., width: _Optional[int] = ..., values: _Optional[bytes] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("request_id", "text", "audio", "video", "features", "bundle_version", "model_version", "transcribe", "deadline_ms", "attention", "adapt")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FeatureSequence
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FeatureSequence, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIBE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    ADAPT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    text: str
    audio: bytes
    video: bytes
    features: _containers.MessageMap[str, FeatureSequence]
    bundle_version: str
    model_version: str
    transcribe: bool
    deadline_ms: int
    attention: bool
    adapt: str
    def __init__(self, request_id: _Optional[str] = ..., text: _Optional[str] = ..., audio: _Optional[bytes] = ..., video: _Optional[bytes] = ..., features: _Optional[_Mapping[str, FeatureSequence]] = ..., bundle_version: _Optional[str] = ..., model_version: _Optional[str] = ..., transcribe: _Optional[bool] = ..., deadline_ms: _Optional[int] = ..., attention: _Optional[bool] = ..., adapt: _Optional[str] = ...) -> None: ...

class Attention(_message.Message):
    __slots__ = ("modalities", "tokens", "layers", "heads", "shares")
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    modalities: _containers.RepeatedScalarFieldContainer[str]
    tokens: _containers.RepeatedScalarFieldContainer[int]
    layers: int
    heads: int
    shares: bytes
    def __init__(self, modalities: _Optional[_Iterable[str]] = ..., tokens: _Optional[_Iterable[int]] = ..., layers: _Optional[int] = ..., heads: _Optional[int] = ..., shares: _Optional[bytes] = ...) -> None: ...

class PredictReply(_message.Message):
    __slots__ = ("request_id", "label", "probabilities", "confidence", "modalities", "latency_ms", "model_version", "notes", "transcript", "transcription_ms", "window_start_s", "window_end_s", "attention", "adaptation", "session")
    class ProbabilitiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPTION_MS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_S_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_S_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    ADAPTATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    label: str
    probabilities: _containers.ScalarMap[str, float]
    confidence: float
    modalities: _containers.RepeatedScalarFieldContainer[str]
    latency_ms: float
    model_version: str
    notes: _containers.RepeatedScalarFieldContainer[str]
    transcript: str
    transcription_ms: float
    window_start_s: float
    window_end_s: float
    attention: Attention
    adaptation: Adaptation
    session: str
    def __init__(self, request_id: _Optional[str] = ..., label: _Optional[str] = ..., probabilities: _Optional[_Mapping[str, float]] = ..., confidence: _Optional[float] = ..., modalities: _Optional[_Iterable[str]] = ..., latency_ms: _Optional[float] = ..., model_version: _Optional[str] = ..., notes: _Optional[_Iterable[str]] = ..., transcript: _Optional[str] = ..., transcription_ms: _Optional[float] = ..., window_start_s: _Optional[float] = ..., window_end_s: _Optional[float] = ..., attention: _Optional[_Union[Attention, _Mapping]] = ..., adaptation: _Optional[_Union[Adaptation, _Mapping]] = ..., session: _Optional[str] = ...) -> None: ...

class Adaptation(_message.Message):
    __slots__ = ("state", "response", "theme", "tone", "pace", "speed", "manner", "cues", "share", "policy", "decision", "note")
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    THEME_FIELD_NUMBER: _ClassVar[int]
    TONE_FIELD_NUMBER: _ClassVar[int]
    PACE_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    MANNER_FIELD_NUMBER: _ClassVar[int]
    CUES_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    state: str
    response: str
    theme: str
    tone: str
    pace: str
    speed: float
    manner: str
    cues: _containers.RepeatedScalarFieldContainer[str]
    share: float
    policy: str
    decision: str
    note: str
    def __init__(self, state: _Optional[str] = ..., response: _Optional[str] = ..., theme: _Optional[str] = ..., tone: _Optional[str] = ..., pace: _Optional[str] = ..., speed: _Optional[float] = ..., manner: _Optional[str] = ..., cues: _Optional[_Iterable[str]] = ..., share: _Optional[float] = ..., policy: _Optional[str] = ..., decision: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class StreamChunk(_message.Message):
    __slots__ = ("settings", "pcm", "picture", "text", "time_s")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    settings: StreamSettings
    pcm: bytes
    picture: bytes
    text: str
    time_s: float
    def __init__(self, settings: _Optional[_Union[StreamSettings, _Mapping]] = ..., pcm: _Optional[bytes] = ..., picture: _Optional[bytes] = ..., text: _Optional[str] = ..., time_s: _Optional[float] = ...) -> None: ...

class StreamSettings(_message.Message):
    __slots__ = ("sample_rate_hz", "window_s", "hop_s", "adapt")
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    HOP_S_FIELD_NUMBER: _ClassVar[int]
    ADAPT_FIELD_NUMBER: _ClassVar[int]
    sample_rate_hz: int
    window_s: float
    hop_s: float
    adapt: str
    def __init__(self, sample_rate_hz: _Optional[int] = ..., window_s: _Optional[float] = ..., hop_s: _Optional[float] = ..., adapt: _Optional[str] = ...) -> None: ...

class FeedbackRequest(_message.Message):
    __slots__ = ("idempotency_key", "request_id", "label", "consent", "model_version", "features")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FeatureSequence
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FeatureSequence, _Mapping]] = ...) -> None: ...
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CONSENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    request_id: str
    label: str
    consent: bool
    model_version: str
    features: _containers.MessageMap[str, FeatureSequence]
    def __init__(self, idempotency_key: _Optional[str] = ..., request_id: _Optional[str] = ..., label: _Optional[str] = ..., consent: _Optional[bool] = ..., model_version: _Optional[str] = ..., features: _Optional[_Mapping[str, FeatureSequence]] = ...) -> None: ...

class FeedbackReply(_message.Message):
    __slots__ = ("accepted", "duplicate")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    duplicate: bool
    def __init__(self, accepted: _Optional[bool] = ..., duplicate: _Optional[bool] = ...) -> None: ...

class GetBundleRequest(_message.Message):
    __slots__ = ("version", "offset")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    version: str
    offset: int
    def __init__(self, version: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class BundleChunk(_message.Message):
    __slots__ = ("version", "offset", "data", "total_bytes", "sha256")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    version: str
    offset: int
    data: bytes
    total_bytes: int
    sha256: str
    def __init__(self, version: _Optional[str] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., total_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...
