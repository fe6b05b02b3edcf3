"""What an app may ship: permissive weights come from permissive corpora alone, and a bundle says whose terms it has."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.support.built_edge import BuiltEdge

from fedaffect.client.corpora.registry import factory
from fedaffect.client.onnx_engine.graph import StepGraph
from fedaffect.edge.bundle import Bundle, EncoderEntry, Manifest, Source, default_bundle_path
from fedaffect.edge.cli.main import fedaffect
from fedaffect.edge.errors import BundleError, ConfigError, DataError
from fedaffect.edge.media.timed import TimedWords
from fedaffect.edge.runtime import EdgeRuntime
from fedaffect.edge.runtime.probes import drawn_frames, spoken
from fedaffect.edge.sample import Sample
from fedaffect.server.cli.bundle import build as build_command
from fedaffect.server.cli.encoders import words as words_command
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.models.bundling.build import BuildConfig, build_bundle
from fedaffect.server.models.bundling.fusion import read_fusion
from fedaffect.server.models.bundling.licences import OFFERED, PERMISSIVE, SHIPPABLE, as_a_whole, licences_of, strictest
from fedaffect.server.models.bundling.recipe import (
    BROUGHT,
    DEFAULT_FUSION,
    NON_COMMERCIAL,
    PERMISSIVE_FUSION,
    PERMISSIVE_STEP,
    is_outdated,
    licence_of_weights,
    own_fusion,
)
from fedaffect.server.models.bundling.step import StepModel
from fedaffect.server.models.encoders.words.rows import TAUGHT, teachers_of
from fedaffect.server.models.encoders.words.weights import PERMISSIVE_UPPER, UPPER, words_source
from fedaffect.server.trained_fusion import learned_behind
from fedaffect.simulation.shared_emotions.settings import corpora_of

# Written out, so that a licence which is added to the code's list is looked at twice.
ALLOWED = {"MIT", "Apache-2.0", "CC BY 4.0", "CC BY-SA 4.0"}


def run(*arguments: str) -> str:
    result = CliRunner().invoke(fedaffect, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def environment(built_edge: BuiltEdge) -> Mapping[str, str]:
    """Under which the default bundle lies built, and the permissive one beside it, both by the command."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in built_edge.environment.items():
            patch.setenv(name, value)
        said = run("bundle", "build", "--licence", "permissive", "--if-missing")
        assert not said or "CC BY-SA 4.0; an app may ship it" in said
    return built_edge.environment


@pytest.fixture
def permissive(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return default_bundle_path("edge-permissive")


def test_permissive_weights_learn_only_from_corpora_that_allow_it() -> None:
    assert set(SHIPPABLE) == ALLOWED
    for corpora in (teachers_of("permissive"), corpora_of("permissive")):
        assert corpora
        assert {factory(name).info.licence for name in corpora} <= ALLOWED
    assert teachers_of("permissive") == ("goemotions", "xed", "emobank")
    assert corpora_of("permissive") == ("goemotions", "xed")
    assert teachers_of("non-commercial") == TAUGHT
    terms = [factory(name).info.licence for name in teachers_of("permissive")]
    assert licence_of_weights(terms) == words_source(PERMISSIVE_UPPER).licence == "CC BY-SA 4.0"
    assert licence_of_weights([*terms, "GPL-3.0"]) == NON_COMMERCIAL
    assert read_fusion(PERMISSIVE_FUSION).source.licence in ALLOWED
    for weights in (PERMISSIVE_UPPER, PERMISSIVE_FUSION):
        said = weights.with_name("LICENSE-WEIGHTS").read_text()
        assert all(name in said for name in ("GoEmotions", "XED", "EmoBank", "MiniLM", "by-sa/4.0/legalcode"))


def test_commands_offer_what_the_code_knows() -> None:
    for command in (build_command, words_command):
        (option,) = (each for each in command.params if each.name == "licence")
        assert tuple(option.type.choices) == OFFERED  # type: ignore[attr-defined]
        assert option.default == OFFERED[0] == "non-commercial"


def test_every_part_of_a_permissive_bundle_may_be_shipped(permissive: Path) -> None:
    manifest = Bundle.load(permissive).manifest
    assert set(manifest.encoders) == {"text"}
    parts = licences_of(manifest)
    assert set(parts) == {"text", "fusion"}
    assert set(parts.values()) <= ALLOWED
    # CC BY asks for names: they travel with the weights.
    terms = permissive / manifest.encoders["text"].assets["licence"].file
    assert "EmoBank" in terms.read_text()
    assert manifest.fusion is not None
    assert manifest.fusion.step is not None
    shown = run("bundle", "show", str(permissive))
    assert "licence of the whole: CC BY-SA 4.0; an app may ship it" in shown
    assert "words alone" in shown


def test_the_default_says_what_it_is_not_for(permissive: Path) -> None:
    manifest = Bundle.load(default_bundle_path()).manifest
    assert set(licences_of(manifest)) == {"text", "audio", "video", "fusion"}
    assert as_a_whole(manifest).startswith("research and other non-commercial use (text, video, fusion); no app")
    assert "no app that is sold may ship it" in run("bundle", "show")


def test_the_licence_of_the_whole_is_the_strictest_of_its_parts(permissive: Path) -> None:
    assert strictest(["MIT", "CC BY-SA 4.0", "Apache-2.0"]) == "CC BY-SA 4.0"
    assert strictest(["MIT", "GPL-3.0", "CC BY-NC-SA 4.0", "GPL-3.0"]) == "GPL-3.0, CC BY-NC-SA 4.0"
    manifest = Manifest.read(permissive)
    brought = replace(manifest.encoders["text"], source=Source("mine", "", BROUGHT))
    assert as_a_whole(replace(manifest, encoders={"text": brought})).startswith("as the authors of text state")


def test_what_may_not_be_shipped_comes_into_no_permissive_bundle() -> None:
    with pytest.raises(BundleError, match="no permissive bundle holds the fusion of fedaffect"):
        BuildConfig(licence="permissive", fusion=read_fusion(DEFAULT_FUSION))
    with pytest.raises(ConfigError, match="unknown licence"):
        BuildConfig(licence="free")
    assert BuildConfig(licence="permissive").models == {"text": "permissive-words"}
    assert set(BuildConfig(licence="permissive", speech="mine").models) == {"text", "audio"}


def test_a_fusion_goes_with_no_other_edition_of_its_encoder(permissive: Path, tmp_path: Path) -> None:
    fusion = read_fusion(PERMISSIVE_FUSION)
    config = BuildConfig(licence="permissive", fusion=fusion, behind={"text": words_source(UPPER)})
    with pytest.raises(BundleError, match=r"learned behind words-1 on .*, not permissive-words-1 on .* same --licence"):
        build_bundle(config, tmp_path / "bundle")
    assert StepModel.of(fusion).fits(StepGraph.load(PERMISSIVE_STEP).about)
    # What a run read its corpus with: the bundle that it names, or the one in the cache.
    for named, bundle in ((str(permissive), permissive), (None, default_bundle_path())):
        folder = RunFolder.create(RunSettings.of(dataset="x", bundle=named, out=tmp_path, name=bundle.name))
        assert learned_behind(folder.path) == {m: e.source for m, e in Manifest.read(bundle).encoders.items()}
    assert learned_behind(PERMISSIVE_FUSION) == {}


def encoders_of(manifest: Manifest, **sources: Source) -> dict[str, EncoderEntry]:
    return {m: replace(e, source=sources.get(m, e.source)) for m, e in manifest.encoders.items()}


def test_a_fusion_of_ours_stands_only_behind_the_encoder_that_it_learned_behind(permissive: Path) -> None:
    best, free = Manifest.read(default_bundle_path()), Manifest.read(permissive)
    assert best.encoders["text"].width == free.encoders["text"].width
    assert own_fusion(best.encoders) == DEFAULT_FUSION
    assert own_fusion(free.encoders) == PERMISSIVE_FUSION
    assert own_fusion(encoders_of(best, text=words_source(PERMISSIVE_UPPER))) is None
    assert own_fusion(encoders_of(free, text=words_source(UPPER))) is None
    assert own_fusion(encoders_of(free, text=Source("mine", "", BROUGHT))) is None
    assert own_fusion({m: e for m, e in best.encoders.items() if m != "text"}) is None


def test_neither_licence_is_taken_for_the_other(permissive: Path, tmp_path: Path) -> None:
    best = default_bundle_path()
    assert not is_outdated(permissive, "permissive")
    assert not is_outdated(permissive)
    assert is_outdated(permissive, "non-commercial")
    assert not is_outdated(best, "non-commercial")
    assert is_outdated(best, "permissive")
    older = Path(shutil.copytree(permissive, tmp_path / "older"))
    manifest = Manifest.read(older)
    assert manifest.fusion is not None
    fusion = replace(manifest.fusion, source=replace(manifest.fusion.source, version="permissive7-0"))
    replace(manifest, fusion=fusion).write(older)
    assert is_outdated(older, "permissive")


def test_no_permissive_bundle_goes_on_from_weights_that_may_not_be_shipped() -> None:
    ours = read_fusion(DEFAULT_FUSION)
    went_on = replace(
        ours,
        source=Source("mine", "round 3", BROUGHT),
        lineage=({"run": "mine", "from": "default", "licence": ours.source.licence},),
    )
    with pytest.raises(BundleError, match="no permissive bundle holds the fusion of mine began from default"):
        BuildConfig(licence=PERMISSIVE, fusion=went_on)
    free = replace(went_on, lineage=({"run": "mine", "from": "permissive", "licence": "CC BY-SA 4.0"},))
    assert BuildConfig(licence=PERMISSIVE, fusion=free).fusion is free


def test_words_alone_predict_stream_and_calibrate(permissive: Path, tmp_path: Path) -> None:
    with EdgeRuntime.load(permissive) as runtime:
        happy = runtime.predict("I am so happy for you, congratulations!")
        assert (happy.label, happy.modalities) == ("joy", ("text",))
        both = runtime.predict(Sample(text="I am so happy for you, congratulations!", audio=spoken()))
        assert both.label == "joy"
        assert both.notes == ("audio left out: this bundle has no encoder for it",)
        timed = [TimedWords("I am terrified of what might happen tonight.", 1.0)]
        heard = list(runtime.stream(drawn_frames(4.0), spoken(4.0), timed, smoothing_s=0))
        assert {(one.label, one.modalities) for one in heard} == {("fear", ("text",))}
        assert all("audio left out: this bundle has no encoder for it" in one.notes for one in heard)
        with pytest.raises(DataError, match="nothing to go by: video left out: this bundle has no encoder for it"):
            list(runtime.stream(drawn_frames(4.0), spoken(4.0)))
        with pytest.raises(DataError, match="audio: this bundle has no encoder for it"):
            runtime.predict(Sample(audio=spoken()))
    assert "joy" in run("edge", "predict", "--bundle", str(permissive), "--text", "What a wonderful day, I love it!")
    # On a copy: the built one is every test's.
    mine = Path(shutil.copytree(permissive, tmp_path / "mine"))
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 7, 80)
    logits = 9.0 * np.eye(7)[np.where(np.arange(80) % 2, labels, 0)]
    np.savez(tmp_path / "dev.npz", logits=logits, labels=labels, modalities=np.array(["text"] * 80))
    run("edge", "calibrate", "--predictions", str(tmp_path / "dev.npz"), "--bundle", str(mine), "--write")
    before, after = Manifest.read(permissive).calibration, Manifest.read(mine).calibration
    assert set(before.temperatures) == {"text"}
    assert after.temperatures["text"] > before.temperatures["text"]
