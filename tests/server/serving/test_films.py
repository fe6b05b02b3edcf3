"""Films: sent in pieces that a cut does not lose, judged window by window, forgotten, and nobody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.media_files import film, picture, tone, video
from tests.support.small_engine import LABELS, SmallEngine

from fedaffect.edge.sample import Frames, Waveform
from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.engines.engine import Answer, Request
from fedaffect.server.serving.films.limits import FilmLimits, FilmSettings
from fedaffect.server.serving.films.shelf import Films
from fedaffect.server.serving.gateway.gateway import Gateway

FILM = film(6.0)


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudServer]:
    with background(SmallEngine()) as server:
        yield server


@pytest.fixture(scope="module")
def client(cloud: CloudServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cloud.rest_url, timeout=60) as made:
        yield made


def begun(client: httpx.Client, size: int, **settings: float) -> str:
    reply = client.post("/v1/films", json={"size_bytes": size, **settings})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def append(client: httpx.Client, film_id: str, offset: int, data: bytes) -> httpx.Response:
    return client.patch(f"/v1/films/{film_id}", content=data, headers={"Upload-Offset": str(offset)})


def sent(client: httpx.Client, data: bytes, **settings: float) -> str:
    film_id = begun(client, len(data), **settings)
    assert append(client, film_id, 0, data).status_code == 200
    return film_id


def finished(client: httpx.Client, film_id: str) -> dict[str, Any]:
    for _ in range(1200):
        state = client.get(f"/v1/films/{film_id}").json()
        if state["state"] in ("done", "failed"):
            return dict(state)
        time.sleep(0.05)
    raise AssertionError(state)


def test_a_film_becomes_a_timeline_with_a_lane_for_each_sense(client: httpx.Client) -> None:
    film_id = sent(client, FILM, window_s=2.0, hop_s=0.5)
    assert finished(client, film_id)["error"] is None
    timeline = client.get(f"/v1/films/{film_id}/timeline").json()
    assert timeline["film"]["state"] == "done"
    assert timeline["film"]["duration_s"] == pytest.approx(6.0, abs=0.1)
    assert timeline["labels"] == list(LABELS)
    assert timeline["lanes"] == ["fused", "face", "voice"]
    assert timeline["model_version"] == "small-1"
    starts = [window["start_s"] for window in timeline["windows"]]
    assert starts == pytest.approx([0.5 * at for at in range(9)], abs=0.1)
    for window in timeline["windows"]:
        assert window["end_s"] - window["start_s"] == pytest.approx(2.0)
        assert set(window["lanes"]) == {"fused", "face", "voice"}
        for judged in window["lanes"].values():
            assert sum(judged["probabilities"]) == pytest.approx(1.0, abs=1e-3)
            assert judged["confidence"] == max(judged["probabilities"])
            assert LABELS[judged["probabilities"].index(judged["confidence"])] == judged["label"]
    assert len({window["request_id"] for window in timeline["windows"]}) == 9
    later = client.get(f"/v1/films/{film_id}/timeline", params={"first": 7}).json()
    assert (later["first"], later["windows"]) == (7, timeline["windows"][7:])


def test_an_upload_goes_on_where_the_server_confirmed(client: httpx.Client) -> None:
    film_id = begun(client, len(FILM))
    half = len(FILM) // 2
    assert append(client, film_id, 0, FILM[:half]).json()["received_bytes"] == half
    wrong = append(client, film_id, half + 1, FILM[half + 1 :])
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (409, "Conflict")

    def breaking() -> Iterator[bytes]:
        yield FILM[half : half + 1000]
        raise ConnectionAbortedError

    with httpx.Client(base_url=client.base_url) as cut, pytest.raises(ConnectionAbortedError):
        cut.patch(f"/v1/films/{film_id}", content=breaking(), headers={"Upload-Offset": str(half)})
    for _ in range(200):
        confirmed = client.get(f"/v1/films/{film_id}").json()["received_bytes"]
        if confirmed == half + 1000:
            break
        time.sleep(0.02)
    assert confirmed == half + 1000
    assert append(client, film_id, confirmed, FILM[confirmed:]).status_code == 200
    assert finished(client, film_id)["state"] == "done"
    whole = sent(client, FILM)
    finished(client, whole)
    lanes = [
        [window["lanes"] for window in client.get(f"/v1/films/{each}/timeline").json()["windows"]]
        for each in (film_id, whole)
    ]
    assert lanes[0] == lanes[1]


def test_downloads(client: httpx.Client) -> None:
    film_id = sent(client, FILM)
    finished(client, film_id)
    table = client.get(f"/v1/films/{film_id}/timeline.csv")
    assert table.headers["content-type"].startswith("text/csv")
    head, *rows = table.text.splitlines()
    assert head == f"start_s,end_s,lane,emotion,confidence,{','.join(LABELS)},words"
    assert {row.split(",")[2] for row in rows} == {"fused", "face", "voice"}
    subtitles = client.get(f"/v1/films/{film_id}/subtitles.vtt")
    assert subtitles.headers["content-type"].startswith("text/vtt")
    assert subtitles.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:0")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"# A page of text\n" * 100, "no film that the server knows"),
        (FILM[:3000], "no film, damaged or cut off"),
        (picture(), "no film, damaged or cut off"),
    ],
)
def test_what_is_no_film_says_what_to_do(client: httpx.Client, data: bytes, said: str) -> None:
    state = finished(client, sent(client, data))
    assert state["state"] == "failed"
    assert said in state["error"]["message"]


def test_a_film_without_sound_and_a_sound_without_film(client: httpx.Client) -> None:
    silent = sent(client, video(frames=20))
    assert finished(client, silent)["state"] == "done"
    timeline = client.get(f"/v1/films/{silent}/timeline").json()
    assert timeline["lanes"] == ["fused", "face"]
    assert "no sound" in timeline["words_note"]
    heard = sent(client, tone(4.0))
    assert finished(client, heard)["state"] == "done"
    timeline = client.get(f"/v1/films/{heard}/timeline").json()
    assert timeline["lanes"] == ["fused", "voice"]
    assert any("no pictures" in note for note in timeline["notes"])


def test_nothing_of_a_film_lies_on_the_disk(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    film_id = begun(client, len(FILM))
    append(client, film_id, 0, FILM[:5000])
    # It has no name, so that a server that is killed leaves nothing; as long as it is open, it is there.
    assert list(tmp_path.iterdir()) == []
    assert open_files(tmp_path)
    append(client, film_id, 5000, FILM[5000:])
    finished(client, film_id)
    assert open_files(tmp_path) == []
    given_up = begun(client, len(FILM))
    append(client, given_up, 0, FILM[:5000])
    assert client.delete(f"/v1/films/{given_up}").json() == {"status": "forgotten"}
    assert open_files(tmp_path) == []
    assert client.get(f"/v1/films/{given_up}").status_code == 404
    assert list(tmp_path.iterdir()) == []


def open_files(folder: Path) -> list[Path]:
    """Files that lay in a folder and are open in this process or another one, such as a decoder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if (target := link.readlink()).is_relative_to(folder):
                found.append(target)
    return found


class Watching(SmallEngine):
    """Notes what it was asked about together, and what the processes have in memory meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_s: list[float] = []
        self.pictures: list[int] = []
        self.memory_mb: list[float] = []

    async def predict(self, request: Request) -> Answer:
        sample = request.sample
        if sample is not None and isinstance(sample.audio, Waveform) and isinstance(sample.video, Frames):
            self.asked_s.append(len(sample.audio.samples) / sample.audio.sample_rate_hz)
            self.pictures.append(len(sample.video.images))
            self.memory_mb.append(memory_mb())
        return await super().predict(request)


def memory_mb() -> float:
    """Of this process and its decoders, without what they share with others."""
    pids = [pid for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text().split()]
    pages = 0
    for process in (Path("/proc/self"), *(Path("/proc", pid) for pid in pids)):
        with suppress(OSError):
            resident, shared = map(int, (process / "statm").read_text().split()[1:3])
            pages += resident - shared
    return pages * 4096 / 2**20


def test_five_minutes_take_the_memory_of_one_window() -> None:
    engine = Watching()
    with background(engine) as server, httpx.Client(base_url=server.rest_url, timeout=60) as client:
        film_id = sent(client, film(300.0, fps=2), window_s=3.0, hop_s=3.0)
        state = finished(client, film_id)
    assert (state["state"], state["windows"]) == ("done", 100)
    assert max(engine.asked_s) == pytest.approx(3.0)
    assert max(engine.pictures) == 6
    early, late = engine.memory_mb[25:50], engine.memory_mb[-25:]
    assert max(late) < max(early) + 16


def test_only_so_many_and_so_large(client: httpx.Client) -> None:
    limits = FilmLimits()
    large = client.post("/v1/films", json={"size_bytes": limits.film_bytes + 1})
    assert large.status_code == 413
    assert "cut it" in large.json()["error"]["message"]
    odd = client.post("/v1/films", json={"size_bytes": 100, "window_s": 60.0})
    assert odd.status_code == 422
    begun_ids = []
    while (reply := client.post("/v1/films", json={"size_bytes": 100})).status_code == 201:
        begun_ids.append(reply.json()["id"])
        assert len(begun_ids) <= limits.per_caller
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) > 0
    more = append(client, begun_ids[0], 0, bytes(101))
    assert more.status_code == 422
    for film_id in begun_ids:
        client.delete(f"/v1/films/{film_id}")


def test_a_server_without_a_model_says_so(cloud: CloudServer, client: httpx.Client) -> None:
    cloud.gateway.engine.loaded = False  # type: ignore[attr-defined]
    try:
        reply = client.post("/v1/films", json={"size_bytes": 100})
    finally:
        cloud.gateway.engine.loaded = True  # type: ignore[attr-defined]
    assert reply.status_code == 503
    assert "/readyz" in reply.json()["error"]["message"]


def test_a_server_that_stops_gives_films_up_and_the_next_one_knows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine = SmallEngine()
    with background(engine) as server, httpx.Client(base_url=server.rest_url, timeout=60) as client:
        unfinished = begun(client, len(FILM))
        append(client, unfinished, 0, FILM[:5000])
        engine.hold.clear()
        analysed = sent(client, FILM)
        engine.hold.set()
    assert open_files(tmp_path) == []
    with background(SmallEngine()) as server, httpx.Client(base_url=server.rest_url, timeout=60) as client:
        for film_id in (unfinished, analysed):
            reply = client.get(f"/v1/films/{film_id}")
            assert reply.status_code == 404
            assert "send it again" in reply.json()["error"]["message"]
        assert finished(client, sent(client, FILM))["state"] == "done"


def test_an_upload_that_nobody_goes_on_with_is_given_up() -> None:
    async def given_up() -> bool:
        films = Films(Gateway(SmallEngine()), FilmLimits(idle_s=0.1))
        film_id = films.create("one", 100, FilmSettings()).id
        for _ in range(100):
            await asyncio.sleep(0.05)
            # To ask for it would be to touch it.
            if film_id not in films._films:
                await films.close()
                return True
        return False

    assert asyncio.run(given_up())
