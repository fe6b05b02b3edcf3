"""What a film's timeline is made of: a real engine's senses, words between pauses, changes, people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.support.media_files import film
from tests.support.small_full_model import small_media_model

from fedaffect.edge.runtime.probes import drawn_face
from fedaffect.edge.sample import Waveform
from fedaffect.server.models.full_model import FullModel
from fedaffect.server.serving.engines.local_engine import LocalEngine
from fedaffect.server.serving.films.exports import as_csv, as_subtitles
from fedaffect.server.serving.films.film import Film
from fedaffect.server.serving.films.limits import FilmSettings
from fedaffect.server.serving.films.shelf import Films
from fedaffect.server.serving.films.speech import Pauses
from fedaffect.server.serving.films.timeline import FilmWindow, Judged, Said, Timeline
from fedaffect.server.serving.gateway.gateway import Gateway

RATE_HZ = 16_000


def heard(sound: Waveform) -> str:
    """As a transcriber: it says how long it heard."""
    return f"i am happy for {len(sound.samples) / sound.sample_rate_hz:.0f}"


async def analysed(folder: Path, data: bytes) -> Film:
    engine = LocalEngine(FullModel.load(small_media_model(folder)), transcriber=heard)
    gateway = Gateway(engine)
    films = Films(gateway)
    taken = films.create("one", len(data), FilmSettings(window_s=2.0, hop_s=1.0))

    async def whole() -> AsyncIterator[bytes]:
        yield data

    await films.append(taken, 0, whole())
    while taken.state not in ("done", "failed"):
        await asyncio.sleep(0.05)
    await films.close()
    await engine.close(1.0)
    gateway.close()
    return taken


def test_an_engine_that_follows_tells_face_words_and_two_people(tmp_path: Path) -> None:
    two = np.concatenate([drawn_face(at=(120, 100))[:, :320], drawn_face(at=(120, 400))[:, 320:]], axis=1)
    taken = asyncio.run(analysed(tmp_path, film(6.0, shown_image=two)))
    assert taken.error is None
    timeline = taken.timeline
    assert timeline.model_version == "v1"
    assert timeline.lanes == ("fused", "face", "words", "person-1", "person-2")
    assert [said.text for said in timeline.words[:3]] == ["i", "am", "happy"]
    assert 0 <= timeline.words[0].start_s < timeline.words[-1].end_s <= 6.1
    assert len(timeline.windows) == 5
    for window in timeline.windows:
        assert {"fused", "face", "person-1", "person-2"} <= set(window.lanes)
        # Noise is no voice, and what the model makes of all together is not what it makes of one.
        assert "audio left out" in window.note
    spoken = [window for window in timeline.windows if "words" in window.lanes]
    assert spoken
    assert all(window.lanes["fused"] != window.lanes["face"] for window in spoken)


def tone(seconds: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(np.arange(int(seconds * RATE_HZ)) / 10)).astype(np.float32)


def test_sound_is_cut_in_its_pauses_and_all_of_it_comes_back() -> None:
    sound = np.concatenate([tone(5.0), tone(0.6, 0.0), tone(6.0), tone(0.6, 0.0), tone(2.0)])
    pauses, made = Pauses(RATE_HZ), []
    for at in range(0, len(sound), 7_000):
        made += pauses.add(sound[at : at + 7_000])
    made += pauses.last()
    assert [utterance.start_s for utterance in made] == pytest.approx([0.0, 5.2, 11.8], abs=0.4)
    np.testing.assert_array_equal(np.concatenate([utterance.samples for utterance in made]), sound)
    first = made[0].said("two words")
    assert (first[0].start_s, first[-1].end_s) == pytest.approx((0.0, 5.0), abs=0.1)
    assert first[0].end_s == first[1].start_s


def test_who_speaks_without_a_pause_is_cut_all_the_same() -> None:
    pauses, made = Pauses(RATE_HZ), []
    for _ in range(40):
        made += pauses.add(tone(1.0))
    assert len(made) >= 2
    assert all(len(utterance.samples) <= 15 * RATE_HZ for utterance in made)


def of(labels: Sequence[str], confidence: float = 0.9, **lanes: Sequence[bool]) -> Timeline:
    """A timeline of windows each second."""
    windows = []
    for at, label in enumerate(labels):
        judged = Judged(label, confidence, (confidence, 1 - confidence))
        here = {"fused": judged} | {
            name.replace("_", "-"): judged for name, there in lanes.items() if there[at % len(there)]
        }
        windows.append(FilmWindow(float(at), float(at + 2), here))
    return Timeline(2.0, 1.0, float(len(labels) + 1), ("joy", "anger"), "v1", windows)


def test_a_change_is_one_that_stays() -> None:
    flicker = of(["joy", "joy", "anger", "joy", "joy", "anger", "anger", "anger"])
    assert [(each.at_s, each.before, each.after) for each in flicker.changes()] == [(6.0, "joy", "anger")]
    assert of(["joy", "joy", "anger", "anger"], confidence=0.4).changes() == []


def test_people_are_told_apart_only_where_there_are_several() -> None:
    labels = ["joy"] * 8
    assert of(labels, person_1=[True]).lanes == ("fused",)
    assert of(labels, person_1=[True], person_3=[True, False]).lanes == ("fused", "person-1", "person-3")
    passing = [True, False, False, False, False, False, False, False]
    assert of(labels, person_1=[True], person_2=passing).lanes == ("fused",)


def test_words_break_no_file() -> None:
    timeline = of(["joy"] * 6)
    timeline.words = [Said(0.0, 1.0, "=1+1"), Said(1.0, 2.0, "<b>-->"), Said(2.0, 3.0, "&.")]
    subtitles = as_subtitles(timeline)
    assert "[joy]\n=1+1 &lt;b&gt;--&gt; &amp;." in subtitles
    assert subtitles.count("-->") == subtitles.count("00:00:0") / 2
    assert as_csv(timeline).splitlines()[1].endswith(",'=1+1 <b>-->")
