"""Films on their way when the server goes: what was confirmed is there when the next one comes, and not for long."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.server.serving.test_films import FILM, append, begun, finished
from tests.support.server_process import ServerProcess
from tests.support.small_engine import SmallEngine
from tests.support.small_full_model import small_media_model
from tests.support.whole_systems import takes_minutes

from fedaffect.server.errors import NotFound
from fedaffect.server.registry import Registry
from fedaffect.server.serving.films.limits import FilmLimits, FilmSettings
from fedaffect.server.serving.films.shelf import Films
from fedaffect.server.serving.films.uploads import Uploads
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.run import ServeConfig, _uploads


@pytest.mark.slow
def test_a_killed_server_goes_on_with_what_it_had_confirmed(tmp_path: Path) -> None:
    model, uploads = small_media_model(tmp_path), tmp_path / "uploads"
    half = len(FILM) // 2
    server = ServerProcess(tmp_path, model, "--uploads", str(uploads))
    try:
        with httpx.Client(base_url=server.rest_url, timeout=60) as client:
            cut, whole = begun(client, len(FILM)), begun(client, len(FILM))
            assert append(client, cut, 0, FILM[:half]).json()["received_bytes"] == half
            append(client, whole, 0, FILM)
    finally:
        # As by the kernel: nothing of it runs any more.
        server.close()
    kept = list(uploads.glob("*.*"))
    assert {each.stem for each in kept} >= {cut}
    assert {stat.S_IMODE(each.stat().st_mode) for each in kept} == {0o600}
    assert stat.S_IMODE(uploads.stat().st_mode) == 0o700
    assert (uploads / f"{cut}.part").read_bytes() == FILM[:half]
    server = ServerProcess(tmp_path, model, "--uploads", str(uploads))
    try:
        with httpx.Client(base_url=server.rest_url, timeout=60) as client:
            assert client.get(f"/v1/films/{cut}").json()["received_bytes"] == half
            assert append(client, cut, half, FILM[half:]).status_code == 200
            assert finished(client, cut)["state"] == "done"
            windows = client.get(f"/v1/films/{cut}/timeline").json()["windows"]
            # It was all here, so nobody has to send anything; unless it was analysed already, and then it is gone.
            state = client.get(f"/v1/films/{whole}")
            if state.status_code == 200:
                assert finished(client, whole)["state"] == "done"
                again = client.get(f"/v1/films/{whole}/timeline").json()["windows"]
                assert [each["lanes"] for each in again] == [each["lanes"] for each in windows]
        assert list(uploads.glob("*.*")) == []
    finally:
        server.close()


async def sent(films: Films, caller: str, data: bytes, size: int) -> str:
    film = films.create(caller, size, FilmSettings(2.0, 1.0))

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    await films.append(film, 0, chunks())
    return film.id


def test_an_upload_is_found_again_by_its_caller_alone_and_only_while_it_is_young(tmp_path: Path) -> None:
    async def whole() -> None:
        gateway = Gateway(SmallEngine())
        before = Films(gateway, uploads=Uploads(tmp_path))
        before.resume()
        young, old, broken = [await sent(before, "mine", b"abc", 10) for _ in range(3)]
        await before.close()
        os.utime(tmp_path / f"{old}.part", times=(time.time() - 601, time.time() - 601))
        (tmp_path / f"{broken}.json").write_text("{")
        after = Films(gateway, uploads=Uploads(tmp_path))
        after.resume()
        film = after.find("mine", young)
        assert (film.state, film.received_bytes, film.size_bytes) == ("uploading", 3, 10)
        assert film.settings == FilmSettings(2.0, 1.0)
        for caller, film_id in (("other", young), ("mine", old), ("mine", broken)):
            with pytest.raises(NotFound):
                after.find(caller, film_id)
        assert {each.stem for each in tmp_path.glob("*.*")} == {young}
        after.forget(film)
        assert list(tmp_path.glob("*.*")) == []
        await after.close()
        gateway.close()

    asyncio.run(whole())


def test_an_upload_that_waits_for_nobody_is_deleted_after_its_time(tmp_path: Path) -> None:
    async def whole() -> None:
        gateway = Gateway(SmallEngine())
        films = Films(gateway, FilmLimits(idle_s=0.1), Uploads(tmp_path))
        films.resume()
        await sent(films, "mine", b"abc", 10)
        assert len(list(tmp_path.glob("*.*"))) == 2
        for _ in range(1200):
            if not list(tmp_path.glob("*.*")):
                break
            await asyncio.sleep(0.05)
        assert list(tmp_path.glob("*.*")) == []
        await films.close()
        gateway.close()

    asyncio.run(whole())


def test_a_folder_that_another_server_uses_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed = tmp_path / "unnamed"
    unnamed.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(unnamed))

    async def whole() -> None:
        gateway = Gateway(SmallEngine())
        first, second = (Films(gateway, uploads=Uploads(tmp_path / "uploads")) for _ in range(2))
        first.resume()
        theirs = await sent(first, "mine", b"abc", 10)
        with caplog.at_level("WARNING"):
            second.resume()
        assert "another server uses it" in caplog.text
        with pytest.raises(NotFound):
            second.find("mine", theirs)
        await sent(second, "mine", b"abc", 10)
        assert {each.stem for each in (tmp_path / "uploads").glob("*.*")} == {theirs}
        await second.close()
        await first.close()
        gateway.close()

    asyncio.run(whole())


def test_a_complete_film_is_analysed_by_the_next_server_as_long_as_its_timeline_would_be_kept(tmp_path: Path) -> None:
    async def whole() -> None:
        engine = SmallEngine()
        gateway = Gateway(engine)
        before = Films(gateway, uploads=Uploads(tmp_path))
        before.resume()
        waited, too_long = [await sent(before, "mine", b"abc", 3) for _ in range(2)]
        engine.loaded = False
        await before.close()
        for film_id, age_s in ((waited, 3500), (too_long, 3700)):
            os.utime(tmp_path / f"{film_id}.part", times=(time.time() - age_s, time.time() - age_s))
        after = Films(gateway, uploads=Uploads(tmp_path))
        after.resume()
        assert after.find("mine", waited).state == "waiting"
        with pytest.raises(NotFound):
            after.find("mine", too_long)
        await after.close()
        gateway.close()

    asyncio.run(whole())


@takes_minutes
def test_a_film_that_three_servers_died_of_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.support.small_engine import SmallEngine
from fedaffect.server.serving.films import shelf
from fedaffect.server.serving.films.uploads import Uploads
from fedaffect.server.serving.gateway.gateway import Gateway

# As by the kernel, for a film that takes all memory.
shelf.FilmReader = lambda number: os.kill(os.getpid(), signal.SIGKILL)

async def whole():
    films = shelf.Films(Gateway(SmallEngine()), uploads=Uploads(Path(sys.argv[1])))
    films.resume()
    await asyncio.sleep(60)

asyncio.run(whole())
"""

    async def begin() -> str:
        gateway = Gateway(SmallEngine())
        films = Films(gateway, uploads=Uploads(tmp_path))
        films.resume()
        film_id = await sent(films, "mine", b"abc", 3)
        # Before its turn came, so no attempt.
        await films.close()
        gateway.close()
        return film_id

    async def end(film_id: str) -> None:
        gateway = Gateway(SmallEngine())
        films = Films(gateway, uploads=Uploads(tmp_path))
        films.resume()
        with pytest.raises(NotFound):
            films.find("mine", film_id)
        await films.close()
        gateway.close()

    film_id = asyncio.run(begin())
    for attempts in range(1, 4):
        died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=120)
        assert died.returncode == -signal.SIGKILL
        assert json.loads((tmp_path / f"{film_id}.json").read_text())["attempts"] == attempts
    asyncio.run(end(film_id))
    assert "given up" in caplog.text
    assert list(tmp_path.glob("*.*")) == []


def test_a_server_that_ends_in_order_is_not_held_against_the_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def whole() -> None:
        gateway = Gateway(SmallEngine())
        films = Films(gateway, uploads=Uploads(tmp_path))
        films.resume()
        begun = asyncio.Event()

        async def for_ever(*_: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        monkeypatch.setattr("fedaffect.server.serving.films.shelf.Analysis.run", for_ever)
        film_id = await sent(films, "mine", b"abc", 3)
        await asyncio.wait_for(begun.wait(), 60)
        assert json.loads((tmp_path / f"{film_id}.json").read_text())["attempts"] == 1
        await films.close()
        assert json.loads((tmp_path / f"{film_id}.json").read_text())["attempts"] == 0
        assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.glob("*.*")} == {0o600}
        gateway.close()

    asyncio.run(whole())


def test_a_server_that_keeps_no_films_deletes_those_of_earlier_ones_but_of_none_that_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, none = tmp_path / "uploads", ServeConfig(keep_uploads=False)

    async def whole(registry: Registry) -> None:
        assert _uploads(none, registry) is None
        assert not folder.exists()
        gateway = Gateway(SmallEngine())
        assert _uploads(ServeConfig(), registry) == folder
        films = Films(gateway, uploads=Uploads(folder))
        films.resume()
        await sent(films, "mine", b"abc", 10)
        (folder / "not ours.txt").touch()
        assert _uploads(none, registry) is None
        assert "another server uses it" in caplog.text
        assert len(list(folder.glob("*.*"))) == 3
        await films.close()
        assert _uploads(none, registry) is None
        assert [each.name for each in folder.glob("*.*")] == ["not ours.txt"]
        gateway.close()

    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        asyncio.run(whole(registry))
