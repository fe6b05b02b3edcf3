"""The engine on Ray against the same model in this process. Ray starts once for the whole file."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import ray
import soundfile
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from client.models.registry import build_model
from edge_runtime.errors import ConfigError
from edge_runtime.labels import label_set
from edge_runtime.sample import MODALITIES, Sample
from server.full_model.card import FUSION, ModelCard
from server.full_model.compute import Compute
from server.full_model.model import FullModel
from server.serving.engine import Request
from server.serving.errors import DeadlinePassed, InvalidRequest, Unavailable
from server.serving.ray_engine import RayEngine, RayOpener
from server.serving.ray_settings import PARTS, RaySettings, Replicas
from server.serving.versions import VersionedEngine

pytestmark = [
    # Ray leaves sockets and files to the interpreter's end, and starts its processes beside other threads.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*unclosed.*"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "am", "so", "happy", "sad", "you", "!", ".")


def _text_folder(folder: Path) -> Path:
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**_SIZE, vocab_size=len(_WORDS))).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(_WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return folder


def _speech_folder(folder: Path) -> Path:
    torch.manual_seed(1)
    config = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=250,
    )
    transformers.WhisperModel(config).save_pretrained(folder)
    return folder


def _vision_folder(folder: Path) -> Path:
    torch.manual_seed(2)
    transformers.ViTModel(transformers.ViTConfig(**_SIZE, image_size=32, patch_size=8)).save_pretrained(folder)
    return folder


def _write_model(folder: Path, card: ModelCard) -> Path:
    from safetensors.torch import save_file

    card.write(folder)
    torch.manual_seed(3)
    fusion = build_model(card.model, card.widths, len(card.labels), card.options)
    save_file(fusion.state_dict(), folder / FUSION)
    return folder


def _card(version: str, profile: str, widths: dict[str, int], sources: dict[str, str]) -> ModelCard:
    names = label_set("shared7").labels
    return ModelCard(
        version=version,
        profile=profile,
        label_set="shared7",
        labels=names,
        options={"width": 16, "heads": 2, "feedforward": 32},
        widths=widths,
        temperatures={"text": 1.5, "text+audio+video": 0.7},
        sources=sources,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ray")
    makers = {"text": _text_folder, "audio": _speech_folder, "video": _vision_folder}
    sources = {modality: str(make(root / modality)) for modality, make in makers.items()}
    return _write_model(root / "model", _card("v1", "cloud", {"text": 64, "audio": 64, "video": 32}, sources))


@pytest.fixture(scope="module")
def features_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_model(
        tmp_path_factory.mktemp("ray") / "small", _card("small", "edge-features", {"text": 24, "audio": 8}, {})
    )


def _wav(seconds: float, seed: int) -> bytes:
    drawn = np.random.default_rng(seed)
    tone = np.sin(np.arange(int(16_000 * seconds)) * 0.05) * 0.3 + drawn.normal(0, 0.05, int(16_000 * seconds))
    sound = io.BytesIO()
    soundfile.write(sound, tone.astype(np.float32), 16_000, format="WAV")
    return sound.getvalue()


def _png(seed: int) -> bytes:
    drawn = np.random.default_rng(seed)
    picture = io.BytesIO()
    Image.fromarray(drawn.integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(picture, "PNG")
    return picture.getvalue()


def _samples() -> list[Sample]:
    words = ("i am so happy !", "sad .", "you")
    samples = []
    for number, kept in enumerate((("text",), ("audio",), ("video",), ("text", "audio"), MODALITIES, MODALITIES)):
        everything = {"text": words[number % 3], "audio": _wav(1 + number / 4, number), "video": _png(number)}
        samples.append(Sample(id=f"{number}", **{modality: everything[modality] for modality in kept}))
    return samples


def _here(model: FullModel, sample: Sample) -> NDArray[np.float32]:
    tokens = {}
    for modality in sample.modalities:
        encoder = model.encoders[modality]
        (tokens[modality],) = encoder.encode([encoder.prepare(getattr(sample, modality))])
    return model.fuse([tokens])[0]


def _settings() -> RaySettings:
    # Two cores hold all of it, whatever the machine has.
    parts = {part: Replicas(cpus=0.1, max_replicas=2) for part in PARTS}
    return RaySettings(parts=parts, cores=2, store_bytes=128 << 20)


@asynccontextmanager
async def _versions() -> AsyncIterator[VersionedEngine]:
    engine = VersionedEngine(RayOpener(_settings()), drain_s=10)
    try:
        yield engine
    finally:
        await engine.close(10)


def test_answers_on_ray_are_those_of_this_process(folder: Path, features_folder: Path) -> None:
    torch.set_num_threads(1)
    model = FullModel.load(folder, Compute())
    small = FullModel.load(features_folder, Compute())
    samples = _samples()
    wanted = [_here(model, sample) for sample in samples]
    drawn = np.random.default_rng(0)
    features = {m: drawn.normal(size=(5, width)).astype(np.float16) for m, width in small.card.widths.items()}

    async def scenario() -> None:
        async with _versions() as engine:
            await engine.load(folder)
            assert engine.ready()
            answers = await asyncio.gather(*(engine.predict(Request(id=s.id, sample=s)) for s in samples * 5))
            for answer, sample, probabilities in zip(answers, samples * 5, wanted * 5, strict=True):
                assert answer.modalities == sample.modalities
                assert answer.model_version == "v1"
                assert answer.notes == ()
                np.testing.assert_allclose(list(answer.probabilities.values()), probabilities, atol=1e-4)
                assert answer.label == model.labels[int(np.argmax(probabilities))]
                assert answer.confidence == pytest.approx(float(probabilities.max()), abs=1e-4)
            await _bad_input(engine)
            await _deadlines(engine, samples[0])
            await engine.load(features_folder)
            answer = await engine.predict(Request(id="f", features=features))
            expected = small.fuse([{m: tokens.astype(np.float32) for m, tokens in features.items()}])[0]
            np.testing.assert_allclose(list(answer.probabilities.values()), expected, atol=1e-5)
            await _wrong_features(engine)
            with pytest.raises(Unavailable, match="do not start"):
                await _without_room(folder)
            again = await engine.predict(Request(id="still", sample=samples[0]))
            assert again.model_version == "v1"

    asyncio.run(scenario())
    assert not ray.is_initialized()


async def _bad_input(engine: VersionedEngine) -> None:
    broken = Sample(id="b", text="you", audio=b"no sound", video=_png(9))
    answer = await engine.predict(Request(id="b", sample=broken))
    assert answer.modalities == ("text", "video")
    assert len(answer.notes) == 1
    assert answer.notes[0].startswith("audio was not used")
    with pytest.raises(InvalidRequest, match="nothing of the sample can be used"):
        await engine.predict(Request(id="b", sample=Sample(id="b", audio=b"no sound")))
    with pytest.raises(InvalidRequest, match="nothing in it"):
        await engine.predict(Request(id="b", sample=Sample(id="b")))


async def _deadlines(engine: VersionedEngine, sample: Sample) -> None:
    for left_s in (-1.0, 0.0005):
        with pytest.raises(DeadlinePassed):
            await engine.predict(Request(id="late", sample=sample, deadline_s=time.monotonic() + left_s))
    assert (await engine.predict(Request(id="on time", sample=sample))).label


async def _wrong_features(engine: VersionedEngine) -> None:
    for wrong, says in (
        ({"text": np.zeros((2, 7), np.float16)}, r"wants \(T, 24\)"),
        ({"video": np.zeros((2, 24), np.float16)}, "takes no video features"),
        ({"text": np.full((2, 24), np.nan, np.float16)}, "not numbers"),
    ):
        with pytest.raises(InvalidRequest, match=says):
            await engine.predict(Request(id="w", features=wrong))


async def _without_room(folder: Path) -> RayEngine:
    parts = {part: Replicas(cpus=50) for part in PARTS}
    return await RayOpener(RaySettings(parts=parts, start_s=2))(folder)


def test_settings_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ray.json"
    path.write_text(json.dumps({"address": "head:6379", "parts": {"audio": {"gpus": 0.25, "max_replicas": 8}}}))
    settings = RaySettings.read(path)
    assert settings.address == "head:6379"
    assert settings.of("audio") == Replicas(gpus=0.25, max_replicas=8)
    assert settings.of("text") == Replicas()


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
