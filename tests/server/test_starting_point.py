"""A run begins from what an earlier one, a bundle or a file knows, where that fits; else it does not begin."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.edge.conftest import make_bundle, tiny_bundle
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.client.task import ClientTask
from fedaffect.edge.bundle import Bundle, Manifest, SigningKey, keys_of, sign
from fedaffect.edge.bundle.archive import pack
from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.server.cli.bundle_table import bundle_table
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.models.bundling.fusion import finish_fusion, write_fusion
from fedaffect.server.starting_point import start_of, starting_point, with_start
from fedaffect.server.trained_fusion import fusion_at

__all__ = ["make_bundle", "tiny_bundle"]

CLIENTS = 3
OPTIONS = {"width": 16, "heads": 2, "feedforward": 32}


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., RunSettings]:
    def make(name: str, **more: Any) -> RunSettings:
        small = {"dataset": "synthetic", "labels": "synthetic4", "model_options": OPTIONS, "rounds": 2}
        own = {"clients_per_round": CLIENTS, "local_epochs": 1, "out": tmp_path / "runs", "name": name}
        return RunSettings.of({**small, **own, **more})

    return make


@pytest.fixture
def cohort(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Constructed tokens as wide as the tiny bundle's encoders make them."""
    widths = {m: e.width for m, e in Bundle.load(tiny_bundle, None).manifest.encoders.items()}
    return constructed_cohort(tmp_path / "cohort", clients=CLIENTS, widths=widths, classes=4)


@pytest.fixture
def learned(settings: Callable[..., RunSettings], cohort: Path) -> RunFolder:
    return run(settings("first"), cohort)


def run(config: RunSettings, cohort: Path) -> RunFolder:
    folder = RunFolder.create(config)
    run_federation(InProcessGrid(CLIENTS), config, cohort, folder, start=start_of(config))
    return folder


def best_arrays(folder: RunFolder) -> dict[str, np.ndarray]:
    return dict(folder.checkpoints.load(int(folder.summary()["best_round"])).arrays)


def started(config: RunSettings, cohort: Cohort) -> dict[str, np.ndarray]:
    """Parameters of round 0, by name."""
    task = ClientTask(cohort, config.model.model, config.model.model_options)
    return task.layout.unflatten(start_of(config).weights(task, config.federation.seed))


def test_a_run_goes_on_from_the_best_round_of_another_and_says_from_which(
    learned: RunFolder, settings: Callable[..., RunSettings], cohort: Path
) -> None:
    config = settings("second", start_from=str(learned.path))
    np.testing.assert_equal(started(config, Cohort.load(cohort)), best_arrays(learned))
    second = run(config, cohort)
    start = second.summary()["start"]
    best = learned.summary()["best_round"]
    assert start["name"] == f"first round {best}"
    assert start["lineage"] == [{"run": "first", "round": best, "from": "", "bundle": ""}]
    assert "start" not in learned.summary()
    # A third one knows both, the first one first; by its name in the folder of runs too.
    third = run(settings("third", start_from="second"), cohort).summary()["start"]["lineage"]
    assert [one["run"] for one in third] == ["first", "second"]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
def test_a_bundle_carries_the_weights_that_it_was_made_of(
    packed: bool, learned: RunFolder, settings: Callable[..., RunSettings], cohort: Path, tiny_bundle: Path
) -> None:
    folder = exported(learned, tiny_bundle)
    path = pack(folder, learned.path.parent / "bundle.tar") if packed else folder
    config = settings("second", start_from=str(path))
    np.testing.assert_equal(started(config, Cohort.load(cohort)), best_arrays(learned))
    start = starting_point(str(path))
    assert start.bundle == Bundle.load(folder).version
    assert [one["run"] for one in start.about()["lineage"]] == ["first"]
    best = learned.summary()["best_round"]
    assert f"learned by run first (round {best})" in str(bundle_table(Manifest.read(folder), folder).title)


def exported(learned: RunFolder, encoders: Path) -> Path:
    folder = learned.path.parent / "exported"
    scratch = learned.path.parent / "scratch"
    scratch.mkdir()
    folder.mkdir()
    for file in encoders.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = fusion_at(learned.path)
    manifest = replace(
        Manifest.read(encoders), label_set=weights.labels, fusion=finish_fusion(weights, scratch, folder)
    )
    manifest.write(folder)
    sign(folder, SigningKey.own())
    return folder


def test_a_file_is_a_start_too(
    learned: RunFolder, settings: Callable[..., RunSettings], cohort: Path, tmp_path: Path
) -> None:
    write_fusion(fusion_at(learned.path), tmp_path / "fusion.safetensors")
    config = settings("second", start_from=str(tmp_path / "fusion.safetensors"))
    np.testing.assert_equal(started(config, Cohort.load(cohort)), best_arrays(learned))


def test_a_new_label_and_a_new_stream_get_fresh_rows_and_the_rest_is_kept(
    learned: RunFolder, settings: Callable[..., RunSettings], cohort: Path, tmp_path: Path
) -> None:
    known, narrow = best_arrays(learned), Cohort.load(cohort)
    without_video = {m: t for m, t in narrow.tables.items() if m != "video"}
    text_and_audio = replace(narrow, tables=without_video, present={m: narrow.present[m] for m in without_video})
    config = settings("second", start_from=str(learned.path))
    less = started(config, text_and_audio)
    np.testing.assert_equal(less["modality_embedding.weight"], known["modality_embedding.weight"][:2])
    assert not [name for name in less if name.startswith("adapters.video")]

    context = replace(
        narrow,
        tables={**narrow.tables, "context": narrow.tables["text"]},
        present={**narrow.present, "context": narrow.present["text"]},
        label_names=("anger", "disgust", "joy", "neutral", "sadness"),
    )
    more = started(config, context)
    np.testing.assert_equal(more["head.bias"][[0, 2, 3, 4]], known["head.bias"])
    np.testing.assert_equal(more["head.weight"][[0, 2, 3, 4]], known["head.weight"])
    np.testing.assert_equal(more["modality_embedding.weight"][:3], known["modality_embedding.weight"])
    np.testing.assert_equal(more["adapters.text.project.weight"], known["adapters.text.project.weight"])
    assert more["adapters.context.project.weight"].any()


def test_ratings_that_the_run_does_not_learn_are_left_out_and_named(
    settings: Callable[..., RunSettings], cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = Cohort.load(cohort)
    rated = replace(plain, rating_names=("valence", "arousal"), ratings=np.zeros((len(plain.labels), 2), np.float32))
    rated.save(tmp_path / "rated")
    first = run(settings("rated", targets="class,va"), tmp_path / "rated")
    config = settings("second", start_from="rated")
    with caplog.at_level("WARNING", logger="flwr"):
        arrays, known = started(config, plain), best_arrays(first)
        assert "does not go on with what rated rates: valence, arousal" in caplog.text
        np.testing.assert_array_equal(arrays["head.weight"], known["head.weight"][: len(plain.label_names)])
        caplog.clear()
        np.testing.assert_equal(started(config, rated), known)
    assert not caplog.text


def test_what_does_not_fit_is_refused_in_one_line(
    learned: RunFolder, settings: Callable[..., RunSettings], cohort: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    whole, folder = Cohort.load(cohort), exported(learned, tiny_bundle)

    def refusal(cohort: Cohort = whole, **more: Any) -> str:
        with pytest.raises(FedAffectError) as caught:
            started(settings("second", **{"start_from": str(folder), **more}), cohort)
        said = str(caught.value)
        assert "\n" not in said
        return said

    assert "of shape (16," in refusal(model_options={**OPTIONS, "width": 32})
    assert "leave --model" in refusal(model="linear", model_options={})
    assert "leave --model" in refusal(model_options={**OPTIONS, "layers": 0})
    assert "knows anger" in refusal(replace(whole, label_names=("fear", "joy", "neutral", "sadness")))
    keys = {m: next(iter(keys_of(e))) for m, e in Bundle.load(folder).manifest.encoders.items()}
    assert started(settings("x", start_from=str(folder)), replace(whole, about={"encoder_keys": keys}))
    assert "other audio encoders" in refusal(replace(whole, about={"encoder_keys": {**keys, "audio": "another"}}))
    assert "nothing that is there" in refusal(start_from="no-such-run")
    assert "neither a bundle nor a run" in refusal(start_from=str(tmp_path))
    assert "encoders alone" in refusal(start_from=str(tiny_bundle))
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"0" * 64)
    assert "give another" in refusal(start_from=str(junk))


def test_a_bundle_of_another_fusion_without_weights_says_so(make_bundle: Callable[..., Path]) -> None:
    folder = make_bundle()
    sign(folder, SigningKey.own())
    with pytest.raises(FedAffectError, match="carries no weights"):
        starting_point(str(folder))


def test_the_shipped_weights_fill_in_what_the_user_left_out() -> None:
    filled = with_start({"dataset": "meld", "start-from": "default"})
    assert filled["labels"] == "shared7"
    assert filled["model_options"]["width"] == 128
    assert RunSettings.of(filled).data.modalities == ("text",)
    assert with_start({"start_from": "default", "labels": "meld7"})["labels"] == "meld7"
    assert with_start({"lr": 0.1}) == {"lr": 0.1}


def test_experts_go_along_where_the_classes_stay(tmp_path: Path) -> None:
    same = with_start({"dataset": "meld", "start_from": "default", "modalities": "text"})
    assert same["model_options"]["experts"]["neutral"] == 4
    assert "experts" in with_start({"dataset": "meld", "start_from": "default", "labels": "shared7"})["model_options"]
    for other in ({"labels": "shared4"}, {"targets": "va"}):
        assert "experts" not in with_start({"dataset": "meld", "start_from": "default", **other})["model_options"]
    # In a run's own file they come back as they were.
    config = RunSettings.of({**same, "out": tmp_path, "name": "on"})
    again = RunFolder.open(RunFolder.create(config).path).config
    assert again.model.model_options == config.model.model_options == same["model_options"]


def test_the_start_is_part_of_what_a_run_is(learned: RunFolder, settings: Callable[..., RunSettings]) -> None:
    one, other = settings("a"), settings("a", start_from=str(learned.path))
    assert one.differences(other)
    assert one.changed(name=None).run_name != other.changed(name=None).run_name
    assert json.dumps(other.to_dict())


def test_a_missing_start_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="safetensors file, or default"):
        starting_point("nowhere")


ARM = {"model": "mfer", "model_options": {"hidden": 4}, "start_from": None}


def arms(settings: Callable[..., RunSettings], folder: Path) -> tuple[list[RunFolder], Cohort, Path]:
    """A run for each of two streams, and the cohort of both."""
    both = constructed_cohort(folder / "both", clients=CLIENTS, widths={"audio": 6, "video": 3}, classes=4)
    made = []
    for stream, width in Cohort.load(both).widths.items():
        alone = constructed_cohort(folder / stream, clients=CLIENTS, widths={stream: width}, classes=4)
        made.append(run(settings(stream, **ARM, modalities=(stream,), lr=0.1), alone))
    return made, Cohort.load(both), both


def test_a_model_of_two_streams_begins_from_a_run_of_each_and_may_learn_its_head_alone(
    settings: Callable[..., RunSettings], tmp_path: Path
) -> None:
    learned_arms, cohort, path = arms(settings, tmp_path)
    stage = {**ARM, "model_options": {"hidden": 4, "arms_learn": False}, "modalities": ("audio", "video")}
    config = settings("combined", **{**stage, "start_from": "video,audio"})
    audio, video = (best_arrays(one) for one in learned_arms)
    began = started(config, cohort)
    for name, values in {**audio, **video}.items():
        if name.startswith("arms."):
            np.testing.assert_array_equal(began[name], values)
    np.testing.assert_array_equal(began["head.weight"], np.hstack([audio["head.weight"], video["head.weight"]]))
    np.testing.assert_allclose(began["head.bias"], (audio["head.bias"] + video["head.bias"]) / 2)

    third = run(config, path)
    ended = best_arrays(third)
    moved = {name: float(np.abs(ended[name] - began[name]).max()) for name in began}
    # An average of equal parameters is rounded.
    assert max(by for name, by in moved.items() if name.startswith("arms.")) < 1e-6
    assert moved["head.weight"] > 1e-4
    start = third.summary()["start"]
    assert start["from"] == "video,audio"
    assert {one["run"] for one in start["lineage"]} == {"audio", "video"}
    assert fusion_at(third.path).widths == {"audio": 6, "video": 3}
    # Settings are those of the runs, but for what is given.
    found = with_start({"start_from": "audio,video", "out": tmp_path / "runs", "model_options": {"arms_learn": False}})
    assert (found["model"], found["labels"], found["model_options"]) == ("mfer", "synthetic4", {"arms_learn": False})


def test_what_cannot_be_put_together_is_refused(settings: Callable[..., RunSettings], tmp_path: Path) -> None:
    _, cohort, _ = arms(settings, tmp_path)
    stage = {**ARM, "modalities": ("audio", "video")}
    with pytest.raises(ConfigError, match="audio is known to audio and audio; start from one run for each stream"):
        started(settings("a", **{**stage, "start_from": "audio,audio"}), cohort)
    three = constructed_cohort(tmp_path / "three", clients=CLIENTS, widths={"text": 5, **cohort.widths}, classes=4)
    with pytest.raises(ConfigError, match="text is known to none of those"):
        started(settings("a", **{**stage, "start_from": "audio,video"}), Cohort.load(three))
    wider = settings("a", **{**stage, "model_options": {"hidden": 5}, "start_from": "audio,video"})
    with pytest.raises(ConfigError, match=r"cannot put 'arms.audio.weight_ih_l0' of shape \(15, 6\)"):
        started(wider, cohort)
    with pytest.raises(ConfigError, match="is nothing that is there"):
        start_of(settings("a", **{**stage, "start_from": "audio,nobody"}))


def test_a_fold_begins_from_the_same_fold_of_another_run(settings: Callable[..., RunSettings], tmp_path: Path) -> None:
    _, cohort, both = arms(settings, tmp_path)
    stage = {**ARM, "modalities": ("audio", "video"), "folds": 3}
    whole = RunFolder.create(settings("whole", **stage))
    members = [run(settings(f"fold-{n}", **{**stage, "fold": n, "out": whole.path}), both) for n in (1, 2)]
    second = settings("next", **{**stage, "fold": 2, "start_from": str(whole.path)})
    np.testing.assert_equal(started(second, cohort), best_arrays(members[1]))
    for other in ({"fold": None}, {"folds": 4}, {"seed": 1}, {"folds_over": "samples"}):
        with pytest.raises(ConfigError, match="people whom this run tests"):
            start_of(settings("next", **{**stage, "fold": 2, "start_from": str(whole.path), **other}))
