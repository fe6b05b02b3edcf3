"""The edge bundle from the weights that packages carry, and building that fails half-way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.built_edge import BuiltEdge

from fedaffect.edge.bundle import MANIFEST, RUNTIME, SIGNATURE, Bundle, default_bundle_path
from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.edge.labels import LABEL_SETS
from fedaffect.edge.sample import Frames, Waveform, ZipMember
from fedaffect.server.models.bundling import build
from fedaffect.server.models.bundling.build import BuildConfig, build_bundle
from fedaffect.server.models.bundling.recipe import is_outdated
from fedaffect.server.models.reading import Reading

Folders = Callable[[str], Path]
Put = Callable[[Path], Path]


@pytest.fixture(scope="module")
def packaged(built_edge: BuiltEdge) -> Bundle:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in built_edge.environment.items():
            patch.setenv(name, value)
        return Bundle.load(default_bundle_path("edge"))


def test_manifest_says_what_there_is(packaged: Bundle) -> None:
    for modality, entry in packaged.manifest.encoders.items():
        assert entry.precision in ("int8", "fp16"), modality
        assert entry.source.version
        assert entry.source.licence
        assert entry.fidelity["cosine"] >= entry.fidelity["bound"]
        worse = entry.fidelity.get("int8_cosine", 1.0) < entry.fidelity["bound"]
        assert entry.precision == "int8" or worse or entry.latency_ms["int8"] > entry.latency_ms["fp32"], modality
    assert {p.name for p in packaged.path.iterdir()} == {
        MANIFEST,
        SIGNATURE,
        *(file.file for file in packaged.manifest.files),
    }
    if all(entry.precision == "int8" for entry in packaged.manifest.encoders.values()):
        assert sum(file.size_bytes for file in packaged.manifest.files) < 45e6
    assert packaged.manifest.minimum_runtime == RUNTIME


def test_a_fresh_build_predicts_by_the_projects_own_fusion(packaged: Bundle) -> None:
    fusion = packaged.fusion()
    assert packaged.manifest.label_set == LABEL_SETS["shared7"]
    assert fusion.widths == {m: entry.width for m, entry in packaged.manifest.encoders.items()}
    encoder = packaged.encoder("text")
    sentences = ("I am so happy, this is wonderful!", "I am so sad, everything is lost and I cry.")
    scores = [fusion({"text": encoder.encode([encoder.prepare(sentence)])[0]}) for sentence in sentences]
    joy, sadness = fusion.labels.index("joy"), fusion.labels.index("sadness")
    assert scores[0][joy] - scores[0][sadness] > scores[1][joy] - scores[1][sadness]
    assert not is_outdated(packaged.path)


def test_every_encoder_gives_its_width(packaged: Bundle) -> None:
    rng = np.random.default_rng(0)
    sources = {
        "text": ["I am so happy today!", "No."],
        "audio": [Waveform(rng.normal(0, 0.1, n).astype(np.float32), 16_000) for n in (40_000, 4_000)],
        "video": [Frames(rng.integers(0, 256, (2, 90, 120, 3), dtype=np.uint8), 5.0)],
    }
    for modality, items in sources.items():
        encoder = packaged.encoder(modality)
        for features in encoder.encode([encoder.prepare(item) for item in items]):
            assert features.shape[1] == encoder.width == packaged.manifest.encoders[modality].width
            assert np.isfinite(features).all()


def test_words_of_one_meaning_lie_together(packaged: Bundle) -> None:
    encoder = packaged.encoder("text")
    sentences = ["I am so happy about this!", "This makes me really glad.", "The train leaves platform nine at noon."]
    means = [features.mean(axis=0) for features in encoder.encode([encoder.prepare(s) for s in sentences])]
    happy, glad, train = (mean / np.linalg.norm(mean) for mean in means)
    assert happy @ glad > 0.5 > happy @ train + 0.1


def test_one_actor_angry_and_calm_lie_apart(packaged: Bundle, shared_data: Callable[[str], Path]) -> None:
    encoder = packaged.encoder("audio")
    folder = shared_data("ravdess") / "Actor_05"
    names = {"calm": ("02-01-01-01", "02-01-02-02"), "angry": ("05-02-01-01", "05-02-02-02")}
    pooled = {
        mood: [encoder.encode([encoder.prepare(folder / f"03-01-{x}-05.flac")])[0].mean(axis=0) for x in clips]
        for mood, clips in names.items()
    }
    within = [np.linalg.norm(a - b) for a, b in pooled.values()]
    across = [np.linalg.norm(a - b) for a in pooled["calm"] for b in pooled["angry"]]
    assert np.mean(across) > 1.1 * np.mean(within)


def test_real_faces_are_read_from_their_archive(packaged: Bundle, shared_data: Callable[[str], Path]) -> None:
    archive = shared_data("ferplus") / "FER2013Test.zip"
    encoder = packaged.encoder("video", faces="whole")
    members = [ZipMember(archive, f"FER2013Test/fer00322{n}.png") for n in (22, 24)]
    one, two = encoder.encode([encoder.prepare(member) for member in members])
    assert one.shape == two.shape == (1, encoder.width)
    assert np.abs(one - two).max() > 0.1


@pytest.mark.slow
def test_models_of_a_users_own(small_models: BuildConfig, model_folder: Folders, tmp_path: Path) -> None:
    config = replace(small_models, quantise=True, speech=str(model_folder("wavlm")))
    steps: list[str] = []
    manifest = build_bundle(config, tmp_path / "cloud", steps.append)
    assert len(steps) == config.steps
    assert {m: e.source.package for m, e in manifest.encoders.items()} == {
        "text": "bert",
        "audio": "wavlm",
        "video": "vit",
    }
    assert str(tmp_path) not in (tmp_path / "cloud" / MANIFEST).read_text()
    encoder = Bundle.load(tmp_path / "cloud").encoder("audio")
    (tokens,) = encoder.encode([encoder.prepare(Waveform(np.ones(32_000, np.float32), 16_000))])
    assert tokens.shape == (5, encoder.width)


@pytest.mark.slow
def test_a_failed_build_leaves_the_old_bundle(
    small_models: BuildConfig, built_at: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built_at(tmp_path / "b" / "cloud")
    before = Bundle.load(folder).manifest

    def fail(name: str | None, scratch: Path, reading: Reading) -> None:
        raise BundleError("no")

    monkeypatch.setitem(build._DRAFTS, "audio", fail)
    with pytest.raises(BundleError, match="no"):
        build_bundle(small_models, folder)
    assert Bundle.load(folder).manifest.created == before.created
    assert [p.name for p in folder.parent.iterdir()] == ["cloud"]


@pytest.mark.slow
def test_a_bundle_is_replaced_and_nothing_else_is(small_models: BuildConfig, built_at: Put, tmp_path: Path) -> None:
    built_at(tmp_path / "cloud")
    (tmp_path / "cloud" / "stray.txt").write_text("left over")
    keys = [e.key() for e in build_bundle(small_models, tmp_path / "cloud").encoders.values()]
    assert not (tmp_path / "cloud" / "stray.txt").exists()
    assert len(set(keys)) == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(BundleError, match="not a bundle"):
        build_bundle(small_models, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_only_edge_has_packaged_weights() -> None:
    with pytest.raises(ConfigError, match="--speech"):
        BuildConfig(profile="cloud", text="x")
