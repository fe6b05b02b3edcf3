"""The cloud's encoders: answers do not depend on neighbours, on buckets, or, beyond rounding, on precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedaffect.client.corpora.synthetic import Synthetic
from fedaffect.edge.errors import BundleError, ConfigError, DataError
from fedaffect.edge.sample import Frames, Waveform
from fedaffect.server.models.bundling.whisper import WhisperLayers
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.encoder import CloudEncoder
from fedaffect.server.models.full_model.loading import open_encoder
from fedaffect.server.models.full_model.profiles import PROFILES, Profile, default_layers, profile
from fedaffect.server.models.reading import Reading
from fedaffect.server.models.torch_compat import has_bfloat16_tiles

WORDS = ("i am so happy !", "you", "i am sad . so sad . you am so sad !", "i am")
MODALITY = {"bert": "text", "vit": "video"}


def sounds() -> list[Waveform]:
    rng = np.random.default_rng(3)
    return [Waveform(rng.normal(0, 0.1, n).astype(np.float32), 16_000) for n in (9_000, 31_111, 16_003, 4_800)]


def pictures() -> list[Frames]:
    rng = np.random.default_rng(4)
    return [Frames(rng.integers(0, 256, (n, 40, 40, 3), dtype=np.uint8), 5.0) for n in (1, 4, 2)]


def sources(kind: str) -> list[object]:
    return list({"bert": WORDS, "vit": pictures()}.get(kind, sounds()))


def opened(model_folder: Callable[[str], Path], kind: str, compute: Compute | None = None) -> CloudEncoder:
    modality = MODALITY.get(kind, "audio")
    own = PROFILES["cloud"].with_sources(**{modality: str(model_folder(kind))})
    return open_encoder(modality, own, compute or Compute(), faces="whole")


def least_cosine(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    least = 1.0
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        norms = np.linalg.norm(mine, axis=1) * np.linalg.norm(other, axis=1)
        least = min(least, float(((mine * other).sum(1) / norms).min()))
    return least


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
@pytest.mark.parametrize("kind", ["bert", "wav2vec2", "hubert", "wavlm", "whisper", "vit"])
def test_a_batch_gives_what_each_sample_gives_alone(model_folder: Callable[[str], Path], kind: str) -> None:
    encoder = opened(model_folder, kind)
    prepared = [encoder.prepare(source) for source in sources(kind)]
    alone = [encoder.encode([one])[0] for one in prepared]
    together = encoder.encode(prepared)
    assert least_cosine(together, alone) > 0.999999
    assert all(one.shape[1] == encoder.width and one.dtype == np.float32 for one in together)


# transformers' WavLM hands torch a mask and a bias of different types.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
@pytest.mark.parametrize("kind", ["bert", "wav2vec2", "wavlm", "whisper", "vit"])
def test_buckets_and_added_rows_change_nothing(
    model_folder: Callable[[str], Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = opened(model_folder, kind)
    prepared = [exact.prepare(source) for source in sources(kind)]
    monkeypatch.setattr(Compute, "repeats_shapes", property(lambda self: True))
    bucketed = opened(model_folder, kind)
    assert bucketed.key == exact.key
    assert least_cosine(bucketed.encode(prepared[:3]), [exact.encode([one])[0] for one in prepared[:3]]) > 0.99999


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "wav2vec2", "whisper", "vit"])
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precision_stays_near(
    model_folder: Callable[[str], Path], kind: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDAFFECT_CACHE", str(tmp_path))
    full, lower = opened(model_folder, kind), opened(model_folder, kind, Compute(precision=precision))
    prepared = [full.prepare(source) for source in sources(kind)]
    near = least_cosine(lower.encode(prepared), full.encode(prepared))
    assert near > (0.999 if precision == "bf16" else 0.97)
    if precision == "int8":
        # One graph, which the next start finds again.
        made = list((tmp_path / "int8").iterdir())
        assert len(made) == 1
        again = opened(model_folder, kind, Compute(precision=precision))
        assert least_cosine(again.encode(prepared[:1]), lower.encode(prepared[:1])) > 0.999999
        assert list((tmp_path / "int8").iterdir()) == made


def test_whisper_is_the_edge_bundles_whisper(model_folder: Callable[[str], Path]) -> None:
    import torch
    from transformers import WhisperModel

    from fedaffect.edge import tokens

    encoder = opened(model_folder, "whisper")
    prepared = encoder.prepare(sounds()[1])
    reference = WhisperLayers(WhisperModel.from_pretrained(model_folder("whisper")).get_encoder(), default_layers(3))
    with torch.inference_mode():
        frames = reference.eval()(torch.from_numpy(prepared.values)[None])[0].numpy()
    np.testing.assert_allclose(encoder.encode([prepared])[0], tokens.resample(frames, 50, 2.5), atol=2e-5)


def test_wav2vec2_is_what_transformers_makes_of_one_clip(model_folder: Callable[[str], Path]) -> None:
    import torch
    from transformers import Wav2Vec2Model

    from fedaffect.edge import tokens

    encoder = opened(model_folder, "wav2vec2")
    prepared = [encoder.prepare(sound) for sound in sounds()]
    model = Wav2Vec2Model.from_pretrained(model_folder("wav2vec2")).eval()
    with torch.inference_mode():
        states = model(torch.from_numpy(prepared[1].values)[None], output_hidden_states=True).hidden_states
    frames = torch.cat([states[layer] for layer in default_layers(4)], dim=-1)[0].numpy()
    np.testing.assert_allclose(encoder.encode(prepared)[1], tokens.resample(frames, 50.0, 2.5), atol=5e-5)


def test_keys_tell_networks_and_settings_apart(model_folder: Callable[[str], Path]) -> None:
    own = PROFILES["cloud"].with_sources(text=str(model_folder("bert")), video=str(model_folder("vit")))
    key = open_encoder("text", own, Compute()).key
    assert open_encoder("text", own, Compute()).key == key
    other = Profile("cloud", own.sources, {"text": Reading(layers=(1, 2))})
    assert open_encoder("text", other, Compute()).key != key
    whole = open_encoder("video", own, Compute(), faces="whole").key
    assert open_encoder("video", own, Compute(), faces="detect").key != whole


def test_what_cannot_be_opened_says_why(model_folder: Callable[[str], Path]) -> None:
    with pytest.raises(BundleError, match="--speech takes one of"):
        open_encoder("audio", PROFILES["cloud"].with_sources(audio=str(model_folder("bert"))), Compute())
    with pytest.raises(BundleError, match="choose from 0 to 4"):
        open_encoder(
            "text", Profile("cloud", {"text": str(model_folder("bert"))}, {"text": Reading(layers=(9,))}), Compute()
        )
    with pytest.raises(ConfigError, match="known: cloud, cloud-embedded, edge-features"):
        profile("clowd")
    with pytest.raises(ConfigError, match="takes no encoders"):
        PROFILES["edge-features"].with_sources(text="x")
    with pytest.raises(ConfigError, match="precision"):
        Compute(precision="fp8")
    with pytest.raises(ConfigError, match="not a device"):
        Compute(device="abacus")


def test_taking_is_strict_where_preparing_is_not(model_folder: Callable[[str], Path]) -> None:
    silent = Waveform(np.zeros(16_000, np.float32), 16_000)
    audio = opened(model_folder, "wav2vec2")
    assert len(audio.prepare(silent).values)
    with pytest.raises(DataError, match="silent"):
        audio.take(silent)
    with pytest.raises(DataError, match="empty"):
        opened(model_folder, "bert").take("   ")
    text = opened(model_folder, "bert").take("i am " * 400)
    assert "word pieces" in text.notes[0]


@pytest.mark.slow
def test_embedded_text_and_voice_have_scaled_features() -> None:
    corpus = Synthetic()
    chosen = [corpus[place].sample for place in (0, 100, 200)]
    for modality, width in (("text", 1536), ("audio", 2048)):
        try:
            encoder = open_encoder(modality, PROFILES["cloud-embedded"], Compute())
        except BundleError as error:
            pytest.skip(f"weights are not installed: {error}")
        features = np.concatenate(encoder.encode([encoder.prepare(getattr(s, modality)) for s in chosen]))
        assert features.shape[1] == encoder.width == width
        # Standardised on voices like these: no feature is far out, which unscaled Whisper features are.
        assert 0.1 < features.std() < 3
        assert np.abs(features).max() < 60


@pytest.mark.skipif(not has_bfloat16_tiles(), reason="this processor does not multiply bfloat16 in tiles")
def test_a_processor_with_tiles_packs_bfloat16(model_folder: Callable[[str], Path]) -> None:
    names = {type(m).__name__ for m in opened(model_folder, "wav2vec2", Compute(precision="bf16")).network.modules()}
    assert {"PackedLinear", "RoundedConv1d"} <= names
    assert "Linear" not in names
