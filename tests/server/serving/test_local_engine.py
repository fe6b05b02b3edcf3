"""The engine in one process, on small models of the classes that users bring: real media in, answers or reasons out."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import TypeVar

import grpc
import httpx
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from tests.support import hostile_decoder
from tests.support.hostile_decoder import marked
from tests.support.small_full_model import LABELS, small_media_model, write_small_model

from fedaffect.edge.calibration.doubt import doubted
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.proto import affect_pb2_grpc as rpc
from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.errors import BundleError
from fedaffect.edge.sample import Sample, Waveform
from fedaffect.server.errors import DeadlinePassed, InvalidRequest, NotFound, ServingError, Unavailable
from fedaffect.server.models.full_model import Compute, FullModel, ModelCard
from fedaffect.server.models.full_model.card import FUSION
from fedaffect.server.models.full_model.model import RANDOM_WEIGHTS
from fedaffect.server.serving.app import background
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.engine import Answer, Request
from fedaffect.server.serving.engines.local_engine import LocalEngine
from fedaffect.server.serving.gateway.limits import Limits
from fedaffect.server.serving.scheduling.batcher import BatcherConfig

T = TypeVar("T")


@pytest.fixture(scope="module")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("full")
    return small_media_model(folder)


@pytest.fixture(scope="module")
def model(media_folder: Path) -> FullModel:
    return FullModel.load(media_folder)


@pytest.fixture(scope="module")
def features_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    widths, keys = {"text": 24, "audio": 16}, {"text": "a" * 64}
    folder = tmp_path_factory.mktemp("features")
    return write_small_model(folder, version="f1", profile="edge-features", widths=widths, encoder_keys=keys)


def wav(seconds: float = 1.0, loud: float = 0.2) -> bytes:
    out = io.BytesIO()
    sound = loud * np.random.default_rng(0).normal(size=int(16_000 * seconds))
    soundfile.write(out, np.clip(sound, -1, 1), 16_000, format="WAV")
    return out.getvalue()


def png() -> bytes:
    out = io.BytesIO()
    # Small and square: a face that somebody has cut out.
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def run(model: FullModel, body: Callable[[LocalEngine], Awaitable[T]], **options: object) -> T:
    async def whole() -> T:
        engine = LocalEngine(model, BatcherConfig(workers=1), **options)  # type: ignore[arg-type]
        try:
            return await body(engine)
        finally:
            await engine.close(5)

    return asyncio.run(whole())


def ask(model: FullModel, request: Request, **options: object) -> Answer:
    return run(model, lambda engine: engine.predict(request), **options)


def refusal(model: FullModel, request: Request, kind: type[ServingError] = InvalidRequest) -> str:
    with pytest.raises(kind) as caught:
        ask(model, request)
    return str(caught.value)


def of(**media: object) -> Request:
    return Request(id="r", sample=Sample(id="r", **media))  # type: ignore[arg-type]


def test_any_subset_is_answered(model: FullModel) -> None:
    media = {"text": "i am happy !", "video": png()}
    for names in (("text",), ("video",), ("text", "video")):
        answer = ask(model, of(**{name: media[name] for name in names}))
        assert answer.modalities == names
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert answer.confidence == max(answer.probabilities.values()) == answer.probabilities[answer.label]
        assert tuple(answer.probabilities) == LABELS
        assert answer.model_version == "v1"
        assert RANDOM_WEIGHTS not in answer.notes
    assert ask(model, of(audio=wav())).modalities == ("audio",)


@pytest.mark.slow
def test_neighbours_do_not_change_an_answer(model: FullModel) -> None:
    requests = [of(text="i am happy ! " * n, video=png()) for n in (1, 9, 3)] + [of(audio=wav(n)) for n in (0.5, 1.5)]
    alone = [ask(model, request) for request in requests]
    from fedaffect.server.serving.engines.inference import Inference, Question
    from fedaffect.server.serving.engines.intake import take_in

    with contextlib.closing(Decoders()) as decoders:
        intakes = [take_in(r.sample, model.encoders, decoders) for r in requests if r.sample]
    outcomes = Inference(model)([Question(prepared=intake.prepared) for intake in intakes]).results
    for answer, intake, outcome in zip(alone, intakes, outcomes, strict=True):
        assert not isinstance(outcome, Exception)
        shares = doubted(outcome.probabilities, intake.doubtful)
        np.testing.assert_allclose(shares, list(answer.probabilities.values()), atol=1e-5)


def test_calibration_is_that_of_the_modalities_used(model: FullModel, media_folder: Path) -> None:
    from dataclasses import replace

    plain = FullModel(replace(model.card, temperatures={}), model.encoders, model._fusion, model.compute)
    prepared = model.encoders["text"].prepare("i am happy !")
    tokens = {"text": model.encoders["text"].encode([prepared])[0]}
    cool, warm = plain.fuse([tokens])[0], model.fuse([tokens])[0]
    expected = np.sqrt(cool) / np.sqrt(cool).sum()
    np.testing.assert_allclose(warm, expected, atol=1e-6)


def test_what_cannot_be_used_is_left_out_and_said(model: FullModel) -> None:
    answer = ask(model, of(text="i am happy !", audio=b"RIFF not a sound", video=png()))
    assert answer.modalities == ("text", "video")
    assert any(note.startswith("audio left out:") for note in answer.notes)
    silent = ask(model, of(text="i am", audio=wav(loud=0.0)))
    assert silent.modalities == ("text",)
    assert any("silent" in note for note in silent.notes)
    assert "nothing is left to go by" in refusal(model, of(audio=b"junk", video=b"junk"))
    assert "empty" in refusal(model, of())
    assert "empty" in refusal(model, Request(id="r"))


def test_a_file_that_ends_its_decoder_is_left_out_and_said(model: FullModel) -> None:
    with contextlib.closing(Decoders((sys.executable, str(Path(hostile_decoder.__file__))))) as decoders:
        answer = ask(model, of(text="i am happy !", audio=marked("abort", wav())), decoders=decoders)
        assert answer.modalities == ("text",)
        assert "audio left out: the file ended the process that decodes it" in answer.notes[0]
        with pytest.raises(InvalidRequest, match="ended the process"):
            ask(model, of(audio=marked("abort", wav())), decoders=decoders)
        assert ask(model, of(audio=wav()), decoders=decoders).modalities == ("audio",)


@pytest.mark.slow
def test_both_faces_say_how_much_of_a_long_sound_was_heard(model: FullModel) -> None:
    limits = Limits(audio_s=60.0, default_deadline_ms=600_000, longest_deadline_ms=600_000)
    note = "only the first 30 s of 45 s were heard"
    with background(LocalEngine(model, BatcherConfig(workers=1)), limits=limits) as cloud:
        reply = httpx.post(f"{cloud.rest_url}/v1/predict", files={"audio": wav(45.0)}, timeout=600)
        assert note in reply.json()["notes"]
        with grpc.insecure_channel(cloud.grpc_target) as channel:
            assert note in rpc.AffectStub(channel).Predict(pb.PredictRequest(audio=wav(45.0)), timeout=600).notes
            short = rpc.AffectStub(channel).Predict(pb.PredictRequest(audio=wav(1.0)), timeout=600)
    assert not any("were heard" in said for said in short.notes)


def test_an_encoder_that_fails_on_one_sample_takes_no_other_with_it(
    model: FullModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedaffect.server.serving.engines.inference import Inference, Question

    text, video = model.encoders["text"], model.encoders["video"]
    good, faces = text.prepare("i am"), video.prepare(png())
    # An id beyond the vocabulary: torch raises for the whole batch.
    broken = Prepared(np.array([2, 999_999, 3]))
    questions = [Question({"text": good}), Question({"text": broken, "video": faces}), Question({"text": broken})]
    first, second, third = Inference(model)(questions).results
    assert not isinstance(first, Exception)
    assert first.modalities == ("text",)
    assert not isinstance(second, Exception)
    assert second.modalities == ("video",)
    assert "text left out" in second.notes[0]
    assert isinstance(third, InvalidRequest)


def test_versions_deadlines_and_closing(model: FullModel) -> None:
    sample = Sample(id="r", text="i am happy !")
    wrong = Request(id="r", sample=sample, model_version="v9")
    assert "served: v1" in refusal(model, wrong, NotFound)
    refusal(model, Request(id="r", sample=sample, deadline_s=monotonic() - 1), DeadlinePassed)

    async def body(engine: LocalEngine) -> None:
        assert engine.ready()
        (info,) = engine.models()
        assert (info.version, info.profile, info.modalities) == ("v1", "cloud", ("text", "audio", "video"))
        await engine.close(1)
        assert not engine.ready()
        with pytest.raises(Unavailable):
            await engine.predict(Request(id="r", sample=sample))

    run(model, body)


def test_words_are_found_in_the_sound_only_when_asked_for(model: FullModel) -> None:
    heard: list[Waveform] = []

    def transcriber(sound: Waveform) -> str:
        heard.append(sound)
        return "i am happy !"

    sample = Sample(id="r", audio=wav())
    answer = ask(model, Request(id="r", sample=sample, transcribe=True), transcriber=transcriber)
    assert answer.transcript == "i am happy !"
    assert answer.transcription_ms is not None
    assert answer.modalities == ("text", "audio")
    ask(model, Request(id="r", sample=sample), transcriber=transcriber)
    ask(model, Request(id="r", sample=Sample(id="r", text="i", audio=wav()), transcribe=True), transcriber=transcriber)
    assert len(heard) == 1
    assert heard[0].sample_rate_hz == 16_000
    without = ask(model, Request(id="r", sample=sample, transcribe=True))
    assert any("does not transcribe" in note for note in without.notes)


def test_features_are_answered_and_checked(features_folder: Path, model: FullModel) -> None:
    small = FullModel.load(features_folder)
    good = np.random.default_rng(0).normal(size=(5, 24)).astype(np.float16)

    def request(features: dict[str, np.ndarray], keys: dict[str, str] | None = None) -> Request:
        return Request(id="r", features=features, encoder_keys=keys or {})

    answer = ask(small, request({"text": good}, {"text": "a" * 64}))
    assert answer.modalities == ("text",)
    assert answer.model_version == "f1"
    spoiled = good.copy()
    spoiled[2, 3] = np.nan
    assert "not numbers" in refusal(small, request({"text": spoiled}))
    assert "(T, 24)" in refusal(small, request({"text": good[:, :20]}))
    assert "(T, 24)" in refusal(small, request({"text": good[:0]}))
    assert "another encoder" in refusal(small, request({"text": good}, {"text": "b" * 64}))
    assert "not of 'video'" in refusal(small, request({"video": good}))
    assert "rows" in refusal(small, request({"text": np.repeat(good, 1000, axis=0)}), ServingError)
    assert "answers on features" in refusal(small, of(text="i am"))
    assert "takes media" in refusal(model, request({"text": good}))


def test_folders_that_do_not_fit_are_refused(media_folder: Path, tmp_path: Path) -> None:
    card = ModelCard.read(media_folder)
    assert ModelCard.read(media_folder).resolved_profile.sources == card.sources

    def broken(reason: str, **changes: object) -> None:
        from dataclasses import replace

        folder = tmp_path / reason.split()[0]
        replace(card, **changes).write(folder)  # type: ignore[arg-type]
        (folder / FUSION).write_bytes((media_folder / FUSION).read_bytes())
        with pytest.raises(BundleError, match=reason):
            FullModel.load(folder)

    broken("width 99", widths={"text": 99, "audio": 64, "video": 32})
    broken("another text encoder", encoder_keys={"text": "0" * 64})
    broken("does not hold", options={"width": 64, "heads": 2, "feedforward": 32})
    with pytest.raises(BundleError, match="name the label set"):
        ModelCard(version="v", profile="cloud", label_set="shared7", labels=("joy",))
    with pytest.raises(BundleError, match="unknown label set"):
        ModelCard(version="v", profile="cloud", label_set="shared99", labels=("joy",))
    with pytest.raises(BundleError, match="does not describe a model"):
        FullModel.load(tmp_path)


def test_random_weights_say_so(media_folder: Path, model: FullModel) -> None:
    from dataclasses import replace

    card = replace(model.card, random_init=True)
    random = FullModel(card, model.encoders, model._fusion, Compute())
    assert RANDOM_WEIGHTS in ask(random, of(text="i am")).notes
    assert run(random, _models_of)[0].random_init


async def _models_of(engine: LocalEngine) -> tuple[object, ...]:
    return engine.models()


def test_both_transports_carry_attention_where_it_is_asked_for(model: FullModel) -> None:
    here = ask(model, Request(id="r", sample=Sample(id="r", text="i am happy !", video=png()), attention=True))
    assert here.attention is not None
    assert ask(model, of(text="i am happy !")).attention is None
    with background(LocalEngine(model, BatcherConfig(workers=1))) as server:
        with httpx.Client(base_url=server.rest_url, timeout=60) as client:
            asked = {"text": "i am happy !", "video": b64encode(png()).decode(), "attention": True}
            by_rest = client.post("/v1/predict", json=asked)
            files = {"video": ("face.png", png(), "image/png")}
            by_form = client.post("/v1/predict", data={"text": "i am happy !", "attention": "true"}, files=files)
            described = client.get("/openapi.json").json()
        with grpc.insecure_channel(server.grpc_target) as channel:
            stub = rpc.AffectStub(channel)
            by_grpc = stub.Predict(pb.PredictRequest(text="i am happy !", video=png(), attention=True)).attention
            assert not stub.Predict(pb.PredictRequest(text="i am happy !")).HasField("attention")
    assert by_rest.status_code == 200, by_rest.text
    told = by_rest.json()["attention"]
    assert told["tokens"] == dict(here.attention.tokens)
    assert list(told["tokens"]) == ["text", "video"]
    np.testing.assert_allclose(told["shares"], here.attention.shares, atol=1e-4)
    assert by_form.json()["attention"]["tokens"] == told["tokens"]
    count = sum(told["tokens"].values())
    shares = np.frombuffer(by_grpc.shares, "<f2").reshape(by_grpc.layers, by_grpc.heads, count, count)
    assert (list(by_grpc.modalities), list(by_grpc.tokens)) == (list(told["tokens"]), list(told["tokens"].values()))
    np.testing.assert_allclose(shares, told["shares"], atol=1e-3)
    np.testing.assert_allclose(shares.astype(float).sum(-1), 1, atol=5e-3)
    schemas = described["components"]["schemas"]
    assert "attention" in schemas["PredictionReply"]["properties"]
    asking = described["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    for kind in ("application/json", "multipart/form-data"):
        body = asking[kind]["schema"]
        body = schemas[body["$ref"].rpartition("/")[2]] if "$ref" in body else body
        assert body["properties"]["attention"]["type"] == "boolean"


def test_a_model_that_does_not_tell_its_attention_refuses_to_be_asked(tmp_path: Path) -> None:
    widths, options = {"text": 24}, {"width": 32, "heads": 2, "feedforward": 32}
    folder = write_small_model(
        tmp_path, version="l1", profile="edge-features", widths=widths, model="late", options=options
    )
    features = {"text": np.zeros((2, 24), np.float16)}
    said = refusal(FullModel.load(folder), Request(id="r", features=features, attention=True))
    assert said == "model l1 does not tell its attention; leave attention out"
