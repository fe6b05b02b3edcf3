"""A timeline as files: a table for spreadsheets, and subtitles with words and emotion."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from fedaffect.server.serving.films.timeline import FUSED, SURE, Said, Timeline

_CUE_S: Final = 5.0
_CUE_CHARACTERS: Final = 80


def as_csv(timeline: Timeline) -> str:
    """A row for each window and lane: times in seconds, emotion, confidence, each probability, words.

    Parameters
    ----------
    timeline : Timeline
    """
    file = io.StringIO()
    table = csv.writer(file)
    table.writerow(["start_s", "end_s", "lane", "emotion", "confidence", *timeline.labels, "words"])
    lanes = timeline.lanes
    for window in timeline.windows:
        said = timeline.said(window.start_s, window.end_s)
        for lane, judged in ((lane, window.lanes[lane]) for lane in lanes if lane in window.lanes):
            times = (f"{window.start_s:.2f}", f"{window.end_s:.2f}")
            words = _plain(said) if lane == FUSED else ""
            table.writerow([*times, lane, judged.label, judged.confidence, *judged.probabilities, words])
    return file.getvalue()


def as_subtitles(timeline: Timeline) -> str:
    """WebVTT: what is said, and the emotion at that time; where nothing is said, the emotion as it changes.

    Parameters
    ----------
    timeline : Timeline
    """
    parts = ["WEBVTT\n"]
    for start_s, end_s, lines in _cues(timeline):
        parts.append(f"{_clock(start_s)} --> {_clock(end_s)}\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _cues(timeline: Timeline) -> Iterator[tuple[float, float, list[str]]]:
    at_s = 0.0
    for said in _sentences(timeline.words):
        yield from _silent(timeline, at_s, said.start_s)
        yield said.start_s, said.end_s, [f"[{_emotion(timeline, said.start_s, said.end_s)}]", _escaped(said.text)]
        at_s = said.end_s
    yield from _silent(timeline, at_s, timeline.duration_s or 0.0)


def _silent(timeline: Timeline, start_s: float, end_s: float) -> Iterator[tuple[float, float, list[str]]]:
    """Cues of emotions alone, each for as long as it lasts."""
    begun_s, shown = start_s, ""
    for at_s, emotion in _emotions(timeline):
        if at_s <= start_s:
            shown = emotion
        elif at_s < end_s and emotion != shown:
            if shown and at_s - begun_s > 0:
                yield begun_s, at_s, [f"[{shown}]"]
            begun_s, shown = at_s, emotion
    if shown and end_s - begun_s > timeline.hop_s:
        yield begun_s, end_s, [f"[{shown}]"]


def _sentences(words: list[Said]) -> Iterator[Said]:
    """Words in groups that can be read at once."""
    group: list[Said] = []
    for word in words:
        text = " ".join(each.text for each in (*group, word))
        if group and (
            len(text) > _CUE_CHARACTERS
            or word.end_s - group[0].start_s > _CUE_S
            or group[-1].text.endswith((".", "!", "?"))
        ):
            yield _joined(group)
            group = []
        group.append(word)
    if group:
        yield _joined(group)


def _joined(group: list[Said]) -> Said:
    return Said(group[0].start_s, group[-1].end_s, " ".join(each.text for each in group))


def _emotions(timeline: Timeline) -> Iterator[tuple[float, str]]:
    for place, window in enumerate(timeline.windows):
        if (judged := window.lanes.get(FUSED)) is not None:
            at_s = 0.0 if place == 0 else window.middle_s
            yield at_s, judged.label if judged.confidence >= SURE else "not sure"


def _emotion(timeline: Timeline, start_s: float, end_s: float) -> str:
    """The one in the middle of a stretch."""
    middle_s, found = (start_s + end_s) / 2, "not sure"
    for at_s, emotion in _emotions(timeline):
        if at_s > middle_s:
            break
        found = emotion
    return found


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds * 1000))
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"


def _escaped(text: str) -> str:
    """Words as a cue may hold them: no tags, and no arrow, which would begin another cue."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> str:
    """Words that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
