"""Corrections of a film's windows: with consent they become examples that ``server learn`` takes."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from tests.server.serving.test_films import finished, open_files, sent
from tests.support.media_files import film
from tests.support.small_engine import SmallEngine
from tests.support.small_full_model import small_media_model

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.runtime.probes import drawn_face
from fedaffect.server.models.alignment.consented import gather
from fedaffect.server.models.full_model.card import ModelCard
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.registry import Registry, api_keys, feedback
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import background
from fedaffect.server.serving.engines.engine import Answer, Engine
from fedaffect.server.serving.engines.explaining import Explanation
from fedaffect.server.serving.engines.local_engine import LocalEngine
from fedaffect.server.serving.films.examples import FilmExamples
from fedaffect.server.serving.films.limits import FilmSettings
from fedaffect.server.serving.films.shelf import Films
from fedaffect.server.serving.gateway.gateway import Gateway


def test_a_correction_with_consent_brings_what_the_window_was_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    (tmp_path / "films").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "films"))
    folder = small_media_model(tmp_path)

    async def engine() -> Engine:
        return LocalEngine(await asyncio.to_thread(FullModel.load, folder))

    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        mine, other = (api_keys.create(registry, name, ["predict", "feedback"])[1] for name in ("mine", "other"))
        with (
            background(engine, registry=registry, access=Access(registry)) as server,
            httpx.Client(base_url=server.rest_url, timeout=60, headers={"Authorization": f"Bearer {mine}"}) as client,
        ):
            film_id = sent(client, film(6.0, shown_image=drawn_face()), window_s=2.0, hop_s=1.0)
            assert finished(client, film_id)["error"] is None
            windows = client.get(f"/v1/films/{film_id}/timeline").json()["windows"]

            def correct(name: str, window: int, consent: bool = True, **more: Any) -> Any:
                body = {"idempotency_key": name, "request_id": windows[window]["request_id"], "label": "sadness"}
                reply = client.post("/v1/feedback", json=body | {"consent": consent}, **more)
                assert reply.status_code == 200, reply.text
                return reply.json()["features"]

            assert "video" in correct("allowed", 0)
            assert correct("refused", 1, consent=False) == []
            assert correct("not theirs", 2, headers={"Authorization": f"Bearer {other}"}) == []
            # No name, and as long as the timeline.
            assert list((tmp_path / "films").iterdir()) == []
            assert open_files(tmp_path / "films")
            client.delete(f"/v1/films/{film_id}")
            assert open_files(tmp_path / "films") == []
            assert correct("forgotten", 3) == []
        said = list(feedback.newest(registry, since=datetime(2020, 1, 1, tzinfo=UTC), most=10))
    learnable = gather(said, ModelCard.read(folder), 0.3)
    assert learnable.keys == ("allowed",)
    assert learnable.unused == {"without consent": 1, "without features": 2}
    # Two seconds of a face, encoded as often as the window was shown.
    assert 2 <= learnable.tables["video"].lengths(np.array([0]))[0] <= 11


@pytest.fixture
def answers() -> Iterator[Answer]:
    def made() -> Iterator[Answer]:
        for place in range(100):
            told = Explanation(
                by_modality={},
                weights={},
                affect=None,  # type: ignore[arg-type]
                features={"video": np.full((1, 100), place, np.float32)},
                encoder_keys={"video": "key"},
            )
            yield Answer(
                label="joy", probabilities={"joy": 1.0}, confidence=1.0, modalities=("video",), model_version="v1",
                explanation=told,
            )  # fmt: skip

    return made()


def test_a_film_keeps_so_many_bytes_of_them_and_no_more(answers: Iterator[Answer]) -> None:
    examples = FilmExamples(most_bytes=1000)
    for place in range(10):
        examples.add(str(place), next(answers))
    assert [place for place in range(10) if examples.of(str(place))] == [0, 1, 2, 3]
    assert examples.held_bytes <= 1000
    assert np.frombuffer(examples.of("2")["video"].values, "<f2").tolist() == [2.0] * 100
    examples.close()
    examples.add("late", next(answers))
    assert examples.of("2") == examples.of("late") == {}
    assert examples.held_bytes == 0


@pytest.mark.parametrize("name", ["pread", "pwrite"])
def test_a_film_is_given_up_only_after_who_reads_or_writes_its_file(
    name: str, answers: Iterator[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = FilmExamples(most_bytes=10_000)
    examples.add("first", next(answers))
    as_ever = getattr(os, name)
    closing = threading.Thread(target=examples.close)
    inodes: list[tuple[int, int]] = []

    def meanwhile(number: int, *rest: Any) -> Any:
        before = os.fstat(number).st_ino
        closing.start()
        # Long enough to close the file, where nothing keeps it from that; whoever opens one next gets its number.
        closing.join(0.5)
        with Path(os.devnull).open():
            inodes.append((before, os.fstat(number).st_ino))
            return as_ever(number, *rest)

    monkeypatch.setattr(os, name, meanwhile)
    if name == "pread":
        assert "video" in examples.of("first")
    else:
        examples.add("second", next(answers))
    closing.join()
    assert [after for _, after in inodes] == [before for before, _ in inodes] != []
    assert examples.of("first") == {}


def test_films_come_and_go_while_a_correction_looks_for_its_window() -> None:
    async def whole() -> None:
        gateway = Gateway(SmallEngine())
        films = Films(gateway)

        class Meanwhile(FilmExamples):
            def of(self, request_id: str) -> Mapping[str, pb.FeatureSequence]:
                # What the event loop does while the thread is here.
                films.forget(films.create("mine", 10, FilmSettings(2.0, 1.0)))
                films.create("mine", 10, FilmSettings(2.0, 1.0))
                return super().of(request_id)

        films.create("mine", 10, FilmSettings(2.0, 1.0)).examples = Meanwhile(1000)
        films.create("mine", 10, FilmSettings(2.0, 1.0))
        assert films.example("mine", "nowhere") == {}
        await films.close()
        gateway.close()

    asyncio.run(whole())
