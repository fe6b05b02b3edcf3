"""What films look like in REST's JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fedaffect.server.serving.films.film import Film
from fedaffect.server.serving.films.limits import FilmSettings
from fedaffect.server.serving.films.timeline import Timeline
from fedaffect.server.serving.http.reply import error_body
from fedaffect.server.serving.http.schemas import ErrorText

_DEFAULT = FilmSettings()


class FilmBody(BaseModel):
    """A film that is to be sent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    size_bytes: int = Field(ge=1, description="Of the whole file.")
    window_s: float = Field(_DEFAULT.window_s, allow_inf_nan=False, description="Length of a window.")
    hop_s: float = Field(_DEFAULT.hop_s, allow_inf_nan=False, description="From one window to the next.")


class FilmReply(BaseModel):
    """How a film stands."""

    id: str
    state: Literal["uploading", "waiting", "analysing", "done", "failed"]
    size_bytes: int
    received_bytes: int = Field(description="Confirmed: the upload goes on from here.")
    duration_s: float | None = Field(None, description="As far as it is known.")
    analysed_s: float = Field(description="Up to where it is judged.")
    windows: int = Field(description="How many are judged.")
    error: ErrorText | None = None


class JudgedReply(BaseModel):
    """What a lane says of a window."""

    label: str
    confidence: float
    probabilities: list[float] = Field(description="In the order of the timeline's labels.")


class FilmWindowReply(BaseModel):
    """One window."""

    start_s: float
    end_s: float
    request_id: str = Field(description="Of the fused answer, for feedback; empty where there is none.")
    lanes: dict[str, JudgedReply] = Field(
        description="fused, face, voice, words, person-1 …; those that had something in them."
    )
    note: str


class SaidReply(BaseModel):
    """A word, and when it was said."""

    start_s: float
    end_s: float
    text: str


class ChangeReply(BaseModel):
    """Where the emotion becomes another one."""

    at_s: float
    before: str
    after: str
    confidence: float


class TimelineReply(BaseModel):
    """A film's timeline as far as it was analysed."""

    film: FilmReply
    window_s: float
    hop_s: float
    labels: list[str]
    lanes: list[str] = Field(description="Those in which there is something.")
    model_version: str
    first: int = Field(description="Number of the first window here.")
    windows: list[FilmWindowReply]
    words: list[SaidReply]
    words_note: str = Field(description="Why there are no words, or how their times were found.")
    changes: list[ChangeReply] = Field(description="Of the fused lane.")
    notes: list[str]


def film_reply(film: Film) -> FilmReply:
    """A film as REST tells of it."""
    windows = film.timeline.windows
    return FilmReply(
        id=film.id,
        state=film.state,
        size_bytes=film.size_bytes,
        received_bytes=film.received_bytes,
        duration_s=film.timeline.duration_s,
        analysed_s=windows[-1].end_s if windows else 0.0,
        windows=len(windows),
        error=None if film.error is None else ErrorText(**error_body(film.error)["error"]),
    )


def timeline_reply(film: Film, first: int = 0) -> TimelineReply:
    """A film's timeline from a window on."""
    timeline: Timeline = film.timeline
    lanes = timeline.lanes
    return TimelineReply(
        film=film_reply(film),
        window_s=timeline.window_s,
        hop_s=timeline.hop_s,
        labels=list(timeline.labels),
        lanes=list(lanes),
        model_version=timeline.model_version,
        first=first,
        windows=[
            FilmWindowReply(
                start_s=window.start_s,
                end_s=window.end_s,
                request_id=window.request_id,
                lanes={
                    name: JudgedReply(
                        label=judged.label, confidence=judged.confidence, probabilities=list(judged.probabilities)
                    )
                    for name, judged in window.lanes.items()
                    if name in lanes
                },
                note=window.note,
            )
            for window in timeline.windows[first:]
        ],
        words=[SaidReply(start_s=said.start_s, end_s=said.end_s, text=said.text) for said in timeline.words],
        words_note=timeline.words_note,
        changes=[
            ChangeReply(at_s=each.at_s, before=each.before, after=each.after, confidence=each.confidence)
            for each in timeline.changes()
        ],
        notes=list(timeline.notes),
    )
