"""The engine on Ray against the same model in this process. Ray starts once for the whole file."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from tests.support.tiny_cloud import card, cloud_folder, png, wav, write_model

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.sample import MODALITIES, Sample
from fedaffect.server.errors import (
    DeadlinePassed,
    InvalidRequest,
    NotFound,
    NothingToGoBy,
    ServingError,
    Unavailable,
)
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.serving.engines.engine import Answer, Request
from fedaffect.server.serving.engines.local_engine import LocalEngine
from fedaffect.server.serving.engines.ray_engine import RayEngine, RayOpener
from fedaffect.server.serving.engines.ray_settings import PARTS, RaySettings, Replicas
from fedaffect.server.serving.engines.versions import Opener, VersionedEngine

pytestmark = [
    # Ray leaves sockets and files to the interpreter's end, and starts its processes beside other threads.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*unclosed.*"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cloud_folder(tmp_path_factory.mktemp("ray"))


@pytest.fixture(scope="module")
def features_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(
        tmp_path_factory.mktemp("ray") / "small", card("small", "edge-features", {"text": 24, "audio": 8}, {})
    )


def _samples() -> list[Sample]:
    words = ("i am so happy !", "sad .", "you")
    samples = []
    for number, kept in enumerate((("text",), ("audio",), ("video",), ("text", "audio"), MODALITIES, MODALITIES)):
        everything = {"text": words[number % 3], "audio": wav(1 + number / 4, number), "video": png(number)}
        samples.append(Sample(id=f"{number}", **{modality: everything[modality] for modality in kept}))
    return samples


def _settings() -> RaySettings:
    # Two cores hold all of it, whatever the machine has.
    parts = {part: Replicas(cpus=0.1, max_replicas=2) for part in PARTS}
    return RaySettings(parts=parts, cores=2, store_bytes=128 << 20)


def _broken() -> list[Sample]:
    return [
        Sample(id="b0", text="you", audio=b"no sound", video=png(9)),
        Sample(id="b1", audio=b"no sound"),
        Sample(id="b2"),
    ]


def test_both_engines_give_the_same_answers(folder: Path, features_folder: Path) -> None:
    torch.set_num_threads(1)
    samples = [*_samples(), *_broken()]
    drawn = np.random.default_rng(0)
    features = {"text": drawn.normal(size=(5, 24)), "audio": drawn.normal(size=(3, 8))}
    asked = [Request(id=sample.id, sample=sample) for sample in samples]
    asked += [
        Request(id="features", features={m: tokens.astype(np.float16) for m, tokens in features.items()}),
        Request(id="wrong width", features={"text": np.zeros((2, 7), np.float16)}),
        Request(id="wrong modality", features={"video": np.zeros((2, 24), np.float16)}),
        Request(id="no numbers", features={"text": np.full((2, 24), np.nan, np.float16)}),
        Request(id="nothing"),
        Request(id="late", sample=samples[0], deadline_s=0.0),
        Request(id="no such", sample=samples[0], model_version="v9"),
    ]

    async def answers_of(opener: Opener, *, on_ray: bool) -> list[Answer | BaseException]:
        engine = VersionedEngine(opener, drain_s=10)
        # Neither engine lets one client have all of its queue, nor more than it can answer soon.
        few = asyncio.Semaphore(2)

        async def ask(request: Request) -> Answer:
            async with few:
                return await engine.predict(request)

        try:
            await engine.load(folder)
            await engine.load(features_folder)
            assert engine.ready()
            answers = await asyncio.gather(*(ask(one) for one in asked * 3), return_exceptions=True)
            if on_ray:
                await _deadline_on_the_way(engine)
                await _no_room_for_another(engine, folder)
        finally:
            await engine.close(10)
        return answers

    here = asyncio.run(answers_of(_open_here, on_ray=False))
    there = asyncio.run(answers_of(RayOpener(_settings()), on_ray=True))
    assert not ray.is_initialized()
    for one, other in zip(here, there, strict=True):
        if isinstance(one, BaseException):
            assert isinstance(one, ServingError)
            assert type(other) is type(one), other
            continue
        assert isinstance(other, Answer), other
        assert (other.label, other.modalities, other.model_version) == (one.label, one.modalities, one.model_version)
        assert other.notes == one.notes
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-4)
    refused = {type(one) for one in here if isinstance(one, BaseException)}
    assert refused == {InvalidRequest, NothingToGoBy, DeadlinePassed, NotFound}
    assert {one.modalities for one in here if isinstance(one, Answer)} >= {("text",), ("text", "video")}


async def _deadline_on_the_way(engine: VersionedEngine) -> None:
    sample = Sample(id="1", text="you")
    with pytest.raises(DeadlinePassed):
        await engine.predict(Request(id="1", sample=sample, deadline_s=time.monotonic() + 0.0005))
    assert (await engine.predict(Request(id="2", sample=sample))).model_version == "v1"


async def _no_room_for_another(engine: VersionedEngine, folder: Path) -> None:
    with pytest.raises(Unavailable, match="do not start"):
        await _without_room(folder)
    assert (await engine.predict(Request(id="3", sample=Sample(id="3", text="you")))).model_version == "v1"


async def _open_here(folder: Path) -> LocalEngine:
    return LocalEngine(FullModel.load(folder, Compute()))


async def _without_room(folder: Path) -> RayEngine:
    parts = {part: Replicas(cpus=50) for part in PARTS}
    return await RayOpener(RaySettings(parts=parts, start_s=2))(folder)


def test_settings_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ray.json"
    path.write_text(json.dumps({"address": "head:6379", "parts": {"audio": {"gpus": 0.25, "max_replicas": 8}}}))
    settings = RaySettings.read(path)
    assert settings.address == "head:6379"
    assert settings.of("audio") == Replicas(cpus=1.0, gpus=0.25, max_replicas=8)
    assert settings.of("text") == Replicas(cpus=1.0)


@pytest.mark.parametrize("cores", [1, 2, 4, 16, 64])
def test_two_versions_fit_on_one_machine_side_by_side(cores: int) -> None:
    settings = RaySettings(cores=cores)
    reserved = [settings.of(part).cpus for part in PARTS]
    assert all(cpus is not None and 0 < cpus <= 1 for cpus in reserved)
    assert 2 * sum(cpus or 0 for cpus in reserved) <= cores
    assert RaySettings(cores=cores, parts={"text": Replicas(cpus=0.0)}).of("text").cpus == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "wants an object"),
        ('{"adress": "x"}', "did you mean 'address'"),
        ('{"parts": {"sound": {}}}', "unknown deployment 'sound'"),
        ('{"parts": {"audio": {"gpu": 1}}}', "did you mean 'gpus'"),
        ('{"parts": {"audio": {"gpus": "one"}}}', "wrong type"),
        ('{"parts": {"audio": {"gpus": 1.5}}}', "whole GPUs"),
        ('{"parts": {"audio": {"min_replicas": 9}}}', "9 to 4 replicas"),
        ('{"most_inside": 0}', "must be positive"),
    ],
)
def test_settings_of_no_use_are_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "ray.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=says):
        RaySettings.read(path)
