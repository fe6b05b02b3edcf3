"""What kept sessions look like in REST's JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fedaffect.server.registry.kept_sessions import KeptSession
from fedaffect.server.serving.films.keeping import Keeping

_NAME = Field(min_length=1, max_length=200)
_NOTES = Field("", max_length=10_000)
_LABEL = Field(max_length=100)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class KeptJudged(_Strict):
    """What a lane says of a window."""

    label: str = _LABEL
    confidence: float = Field(ge=0, le=1)
    probabilities: list[float] = Field(max_length=100)


class KeptWindow(_Strict):
    """One window."""

    start_s: float = Field(ge=0, allow_inf_nan=False)
    end_s: float = Field(ge=0, allow_inf_nan=False)
    lanes: dict[str, KeptJudged] = Field(max_length=16)
    source: Literal["cloud", "edge"] = "cloud"


class KeptWord(_Strict):
    """A word, and when it was said."""

    start_s: float = Field(ge=0, allow_inf_nan=False)
    end_s: float = Field(ge=0, allow_inf_nan=False)
    text: str = Field(max_length=500)


class KeptChange(_Strict):
    """Where the emotion becomes another one."""

    at_s: float = Field(ge=0, allow_inf_nan=False)
    before: str = _LABEL
    after: str = _LABEL
    confidence: float = Field(ge=0, le=1)


class KeptTimeline(_Strict):
    """A timeline, of a film or of what was seen live."""

    labels: list[str] = Field(max_length=100)
    lanes: list[str] = Field(max_length=16)
    model_version: str = Field("", max_length=200)
    windows: list[KeptWindow] = Field(min_length=1, max_length=40_000)
    words: list[KeptWord] = Field(default_factory=list, max_length=100_000)
    changes: list[KeptChange] = Field(default_factory=list, max_length=40_000)


class SessionBody(_Strict):
    """A session to be kept."""

    kind: Literal["film", "live"]
    name: str = _NAME
    notes: str = _NOTES
    timeline: KeptTimeline


class SessionChange(_Strict):
    """What is to be changed."""

    name: str | None = Field(None, min_length=1, max_length=200)
    notes: str | None = Field(None, max_length=10_000)


class SessionSummary(BaseModel):
    """What a list shows."""

    duration_s: float
    windows: int
    shares: dict[str, float] = Field(description="Of windows, by emotion; unsure ones are not sure.")
    changes: int
    confidence: float = Field(description="The mean.")
    answered_by: dict[str, float] = Field(description="Shares of cloud and edge.")
    model_version: str


class SessionReply(BaseModel):
    """A kept session without its timeline."""

    id: str
    kind: Literal["film", "live"]
    name: str
    notes: str
    created: str = Field(description="ISO 8601, UTC.")
    until: str = Field(description="When it will be deleted.")
    summary: SessionSummary


class SessionsReply(BaseModel):
    """All that were kept with this key."""

    keep_days: float = Field(description="How long a session is kept; 0 where none is.")
    sessions: list[SessionReply]


class KeptSessionReply(BaseModel):
    """A kept session."""

    session: SessionReply
    timeline: KeptTimeline


def session_reply(session: KeptSession, keeping: Keeping) -> dict[str, Any]:
    """A session as REST tells of it."""
    return {
        "id": session.id,
        "kind": session.kind,
        "name": session.name,
        "notes": session.notes,
        "created": session.created.isoformat(),
        "until": keeping.until(session).isoformat(),
        "summary": dict(session.summary),
    }
