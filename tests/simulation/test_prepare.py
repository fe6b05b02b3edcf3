"""Cohorts from settings: on small corpora and a small bundle written here, and on real ones where they are."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from fedaffect.client.cohort import Cohort
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.bundle import (
    RUNTIME,
    EncoderEntry,
    FileEntry,
    Manifest,
    SigningKey,
    Source,
    default_bundle_path,
    sign,
)
from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.encoders.text import TextEncoder
from fedaffect.edge.errors import BundleError, ConfigError, DataError
from fedaffect.edge.labels import label_set
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.models.bundling.recipe import VERSION
from fedaffect.simulation.partition import Rows
from fedaffect.simulation.prepare import _with_a_modality, prepare
from fedaffect.simulation.preparing.columns import read_columns
from fedaffect.simulation.preparing.splits import assign_splits, by_folds, by_samples, default_folds
from fedaffect.simulation.running import Runner

WORDS = ("yes", "no", "why", "well", "oh", "you", "did", "what")
EMOTIONS = ("neutral", "joy", "anger", "sadness", "fear")
SPEAKERS = ("Ann", "Bob", "Cy", "Dee")


def write_meld(folder: Path) -> None:
    """Dialogues of five in MELD's layout: 120 training, 40 development and 40 test utterances."""
    rng = np.random.default_rng(3)
    folder.mkdir()
    header = ["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season"]
    for split, count in (("train", 120), ("dev", 40), ("test", 40)):
        with (folder / f"{split}_sent_emo.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([*header, "Episode", "StartTime", "EndTime"])
            for i in range(count):
                text = " ".join(rng.choice(WORDS, rng.integers(1, 6)))
                emotion = EMOTIONS[rng.integers(5)]
                writer.writerow([i, text, SPEAKERS[rng.integers(4)], emotion, "", i // 5, i % 5, 1 + i % 2, 1, "", ""])


def write_mosi(folder: Path) -> None:
    """Twelve training and four test videos of ten utterances in MOSI's layout."""
    rng = np.random.default_rng(4)
    folder.mkdir()
    arrays: dict[str, Any] = {}
    for split, videos in (("train", 12), ("test", 4)):
        n = 10 * videos
        for modality, width in (("text", 100), ("audio", 73), ("video", 100)):
            arrays[f"{split}_{modality}"] = rng.normal(size=(n, width)).astype(np.float32)
        arrays[f"{split}_label"] = rng.integers(0, 2, n)
        arrays[f"{split}_utt"] = np.array([f"{split}video{i // 10}_{i % 10}" for i in range(n)])
    np.savez(folder / "mosi_aligned.npz", **arrays)


def write_bundle(folder: Path, version: str = VERSION) -> Path:
    """A text encoder that looks each word up in a table of random vectors."""
    folder.mkdir(parents=True, exist_ok=True)
    vectors = np.random.default_rng(6).normal(size=(len(WORDS) + 1, 5)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["vectors", "input_ids"], ["hidden"])],
        "words",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "T"])],
        [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["B", "T", 5])],
        [numpy_helper.from_array(vectors, "vectors")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "text.onnx")
    vocabulary = {word: index for index, word in enumerate(("?", *WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    entry = EncoderEntry(
        modality="text",
        network=FileEntry.of(folder / "text.onnx"),
        assets={"tokenizer": FileEntry.of(folder / "tokenizer.json")},
        width=5,
        tokens_per_second=0.0,
        precision="fp32",
        source=Source("this test"),
        preprocessing={"max_tokens": 16},
    )
    Manifest("edge", version, "2026-01-01T00:00:00Z", RUNTIME, {"text": entry}).write(folder)
    sign(folder, SigningKey.own())
    return folder


@pytest.fixture
def meld(tmp_path: Path) -> Callable[..., RunSettings]:
    write_meld(tmp_path / "meld")
    bundle = str(write_bundle(tmp_path / "bundle"))

    def config(**changes: Any) -> RunSettings:
        return RunSettings.of(
            **{"dataset": "meld", "data_dir": tmp_path / "meld", "bundle": bundle, "context": 0, **changes}
        )

    return config


@pytest.fixture
def mosi(tmp_path: Path) -> Callable[..., RunSettings]:
    write_mosi(tmp_path / "mosi")

    def config(**changes: Any) -> RunSettings:
        return RunSettings.of(**{"dataset": "mosi", "data_dir": tmp_path / "mosi", **changes})

    return config


def cohort(config: RunSettings) -> Cohort:
    return Cohort.load(prepare(config, progress=False))


def test_a_corpus_becomes_clients(meld: Callable[..., RunSettings]) -> None:
    made = cohort(meld())
    assert made.client_names == SPEAKERS
    assert made.widths == {"text": 5}
    assert sorted(made.client_rows) == list(range(120))
    assert {name: len(rows) for name, rows in made.splits.items()} == {"dev": 40, "test": 40}
    assert all(set(made.groups[made.rows_of(k)]) == {k} for k in range(4))
    assert made.group_names == SPEAKERS
    assert (made.labels == made.train_labels).all()
    assert made.about["partition"] == "natural"
    # Rows and their features belong together: the words of row 7, looked up again.
    with (Path(meld().data.data_dir or "") / "train_sent_emo.csv").open() as stream:
        row = list(csv.DictReader(stream))[7]
    vectors = numpy_helper.to_array(onnx.load(Path(meld().data.bundle or "") / "text.onnx").graph.initializer[0])
    expected = vectors[[1 + WORDS.index(word) for word in row["Utterance"].split()]]
    table = made.tables["text"]
    assert np.allclose(table.tokens[table.offsets[7] : table.offsets[8]], expected, atol=2e-3)
    assert made.label_names[made.labels[7]] == row["Emotion"]
    # So do they and their dialogues, of five each.
    assert made.dialogues is not None
    rows, turns = made.dialogues.whole(np.array([7]))
    assert rows.tolist() == [5, 6, 7, 8, 9]
    assert turns.asked.tolist() == [2]
    assert SPEAKERS[made.dialogues.speakers[7]] == row["Speaker"]


def test_acoustic_features_need_sound(meld: Callable[..., RunSettings], mosi: Callable[..., RunSettings]) -> None:
    for config in (meld, mosi):
        with pytest.raises(ConfigError, match=r"--audio-features acoustic needs sound"):
            prepare(config(audio_features="acoustic"), progress=False)
        with pytest.raises(ConfigError, match=r"--video-features landmarks5 needs faces"):
            prepare(config(video_features="landmarks5"), progress=False)


def test_what_cannot_be_used_is_left_out_counted_and_named(
    meld: Callable[..., RunSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_text = TextEncoder.prepare

    def broken(self: TextEncoder, source: Any) -> Prepared:
        if source.startswith("yes"):
            raise DataError("it is damaged")
        return prepare_text(self, source)

    whole = cohort(meld())
    assert "unusable" not in whole.about or not whole.about["unusable"]
    clear_features()
    monkeypatch.setattr(TextEncoder, "prepare", broken)
    made = cohort(meld(seed=1))
    gone = made.about["unusable"]["text"]
    assert 5 < len(gone) < 60
    assert set(gone.values()) == {"it is damaged"}
    left = len(made.client_rows) + len(made.splits["dev"]) + len(made.splits["test"])
    assert left == 200 - len(gone)
    assert made.about["left_out"]["by_protocol"] == len(gone)
    assert (np.diff(made.tables["text"].offsets) > 0).all()
    shown = io.StringIO()
    runner = Runner(Console(file=shown), quiet=True)
    runner._say_unusable(made, meld())
    assert f"{len(gone)} clips of meld cannot be used, the first: text of " in shown.getvalue()
    with pytest.raises(DataError, match=r"clips of meld cannot be used.*without --strict"):
        runner._say_unusable(made, meld(strict=True))


def clear_features() -> None:
    shutil.rmtree(cache_folder() / "features")


def test_the_same_settings_give_the_same_folder_and_do_no_work_again(
    meld: Callable[..., RunSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(meld(), progress=False)
    before = {p.name: p.stat().st_mtime_ns for p in first.iterdir()}
    monkeypatch.setattr("fedaffect.simulation.prepare.read_columns", None)
    assert prepare(meld(rounds=3, lr=0.5, name="other"), progress=False) == first
    assert {p.name: p.stat().st_mtime_ns for p in first.iterdir()} == before


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"partition": "iid:5"},
        {"labels": "meld4"},
        {"context": 2},
        {"normalise": "client"},
        {"label_noise": 0.2},
        {"retrain_with_dev": True},
        {"folds": 4, "fold": 1},
    ],
)
def test_every_setting_that_matters_gives_another_folder(
    meld: Callable[..., RunSettings], change: dict[str, Any]
) -> None:
    assert prepare(meld(**change), progress=False) != prepare(meld(), progress=False)


def test_seeds_share_their_features_on_disk(mosi: Callable[..., RunSettings]) -> None:
    a, b, other = (prepare(mosi(**s), progress=False) for s in ({}, {"seed": 1}, {"normalise": "client"}))
    assert (a / "text.tokens.npy").samefile(b / "text.tokens.npy")
    assert not (a / "text.tokens.npy").samefile(other / "text.tokens.npy")
    assert not (a / "client_rows.npy").samefile(b / "client_rows.npy")
    assert sorted(p.name for p in a.iterdir()) == sorted(p.name for p in b.iterdir())


def test_labels_outside_the_set_are_left_out_and_counted(meld: Callable[..., RunSettings]) -> None:
    made, all_of_it = cohort(meld(labels="meld4")), cohort(meld())
    fearful = int((all_of_it.labels == all_of_it.label_names.index("fear")).sum())
    assert fearful > 0
    assert len(made.labels) == 200 - fearful
    assert made.about["left_out"]["outside_label_set"] == fearful
    with pytest.raises(ConfigError, match="meld7"):
        cohort(meld(labels="mosi2"))


def test_context_comes_from_the_past_of_all_who_speak(meld: Callable[..., RunSettings]) -> None:
    made = cohort(meld(context=3, labels="meld4"))
    assert made.widths == {"text": 5, "context": 7}
    batch = made.gather(np.arange(len(made.labels)), train=True)
    counts = batch.present["context"].sum(1).numpy()
    # In dialogues of five, utterances 0 to 4 have 0, 1, 2, 3 and 3 before them, also where one is outside the set.
    assert set(counts) == {0, 1, 2, 3}
    assert (made.present["context"] == (counts > 0)).all()


def test_changing_the_future_and_the_labels_changes_no_context(meld: Callable[..., RunSettings]) -> None:
    before = cohort(meld(context=3))
    path = Path(meld().data.data_dir or "") / "train_sent_emo.csv"
    lines = path.read_text().splitlines()
    fields = next(csv.reader([lines[5]]))  # the last utterance of the first dialogue
    fields[1], fields[3] = "what what what", "joy" if fields[3] != "joy" else "anger"
    lines[5] = ",".join(fields)
    path.write_text("\n".join(lines) + "\n")
    after = cohort(meld(context=3))
    assert not np.array_equal(before.labels, after.labels)
    a, b = before.tables["context"], after.tables["context"]
    assert np.array_equal(a.offsets, b.offsets)
    assert np.array_equal(a.tokens, b.tokens)


@pytest.mark.slow
def test_partition_and_noise_come_from_the_seed_and_leave_test_alone(mosi: Callable[..., RunSettings]) -> None:
    settings = {"partition": "dirichlet:1:6", "missing_modality": 0.4, "label_noise": 0.3, "seed": 2}
    made, clean = cohort(mosi(**settings)), cohort(mosi(partition="dirichlet:1:6", seed=2))
    assert np.array_equal(made.client_rows, clean.client_rows)
    assert np.array_equal(made.labels, clean.labels)
    training = np.zeros(len(made.labels), bool)
    training[made.client_rows] = True
    assert 0.15 < (made.labels != made.train_labels)[training].mean() < 0.45
    assert (made.labels == made.train_labels)[~training].all()
    held = np.stack(list(made.present.values()))
    assert held[:, ~training].all()
    assert held.any(axis=0).all()
    lost = [{tuple(held[:, row]) for row in made.rows_of(k)} for k in range(6)]
    assert all(len(patterns) == 1 for patterns in lost)
    assert len(set.union(*lost)) > 1
    again = cohort(mosi(**{**settings, "seed": 3}))
    assert not np.array_equal(again.client_rows, made.client_rows)


def test_a_client_without_text_has_no_context(
    meld: Callable[..., RunSettings], mosi: Callable[..., RunSettings]
) -> None:
    made = cohort(mosi(context=2, missing_modality=0.5))
    assert not made.present["text"].all()
    assert not (made.present["context"] & ~made.present["text"]).any()
    with pytest.raises(ConfigError, match="two modalities"):
        cohort(meld(missing_modality=0.5))


def test_normalising_by_client_uses_each_owners_own_clips_whatever_the_partition(
    mosi: Callable[..., RunSettings],
) -> None:
    made = cohort(mosi(normalise="client", partition="iid:5"))
    test = made.splits["test"]
    for owner in np.unique(made.groups[test]):
        own = made.tables["audio"].tokens[made.groups == owner]
        assert np.allclose(own.mean(axis=0), 0, atol=1e-5)
        assert np.allclose(own.std(axis=0), 1, atol=1e-4)


def test_development_rows_may_join_the_training(mosi: Callable[..., RunSettings]) -> None:
    apart, joined = cohort(mosi()), cohort(mosi(retrain_with_dev=True))
    assert "dev" not in joined.splits
    assert len(joined.client_rows) == len(apart.client_rows) + len(apart.splits["dev"]) == 120
    assert joined.num_clients == 12
    assert len(joined.splits["test"]) == 40


def test_folds_test_everyone_once(mosi: Callable[..., RunSettings]) -> None:
    folds = [Cohort.load(prepare(mosi(folds=4, fold=fold), progress=False)) for fold in range(1, 5)]
    tested = [name for made in folds for name in {made.group_names[g] for g in made.groups[made.splits["test"]]}]
    assert sorted(tested) == sorted({*tested})
    assert len(tested) == 16
    for number, made in enumerate(folds):
        owners = [set(made.groups[rows]) for rows in (made.client_rows, made.splits["dev"], made.splits["test"])]
        assert not (owners[0] & owners[1])
        assert not (owners[0] & owners[2])
        assert not (owners[1] & owners[2])
        following = folds[(number + 1) % 4]
        dev = {made.group_names[g] for g in owners[1]}
        assert dev == {following.group_names[g] for g in following.groups[following.splits["test"]]}


def actors(count: int = 24) -> Rows:
    owners = np.repeat(np.arange(count), 3)
    return Rows(
        labels=owners % 2,
        splits=np.full(len(owners), "train"),
        owners=owners,
        owner_names=tuple(f"Actor_{k + 1:02d}" for k in range(count)),
        owner_kind="actor",
        label_names=("a", "b"),
    )


@pytest.mark.parametrize("fold", range(6))
def test_ravdess_has_six_folds_of_four_consecutive_actors(fold: int) -> None:
    rows = actors()
    assert default_folds("ravdess", rows) == 6
    splits = by_folds(rows, 6, fold)
    assert sorted(set(rows.owners[splits == "test"])) == list(range(4 * fold, 4 * fold + 4))
    following = (fold + 1) % 6
    assert sorted(set(rows.owners[splits == "dev"])) == list(range(4 * following, 4 * following + 4))
    if fold == 0:
        assert np.array_equal(assign_splits(rows, "ravdess", 0, None, False).splits, splits)


@pytest.mark.parametrize(("folds", "why"), [(2, "3 or more"), (25, "--folds 24")])
def test_folds_that_cannot_be_are_refused(folds: int, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        by_folds(actors(), folds, 0)


def test_without_a_bundle_the_remedy_is_named_or_the_hook_builds_it(
    meld: Callable[..., RunSettings], tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="fedaffect bundle build --profile edge"):
        prepare(meld(bundle=None), progress=False)
    built = []

    def build() -> Path:
        built.append(write_bundle(default_bundle_path("edge")))
        return built[-1]

    first = prepare(meld(bundle=None), progress=False, ensure_bundle=build)
    assert prepare(meld(bundle=None), progress=False, ensure_bundle=build) == first
    assert len(built) == 1


def test_encoders_of_an_older_recipe_are_made_anew_but_never_those_that_were_given(
    meld: Callable[..., RunSettings], tmp_path: Path
) -> None:
    usual = write_bundle(default_bundle_path("edge"), version="0")
    with pytest.raises(BundleError, match="older recipe made"):
        prepare(meld(bundle=None), progress=False)
    built = []

    def build() -> Path:
        built.append(write_bundle(usual))
        return built[-1]

    prepare(meld(bundle=None), progress=False, ensure_bundle=build)
    assert built == [usual]
    given = str(write_bundle(tmp_path / "mine", version="0"))
    prepare(meld(bundle=given), progress=False, ensure_bundle=build)
    assert built == [usual]


def test_folds_over_samples_have_every_actor_in_every_split_and_each_class_alike() -> None:
    rows = actors()
    tested = np.zeros(len(rows.labels), int)
    for fold in range(3):
        splits = by_samples(rows, 3, fold, seed=1)
        tested += splits == "test"
        assert np.array_equal(splits, assign_splits(rows, "ravdess", 3, fold + 1, False, "samples", 1).splits)
        for split in ("train", "dev", "test"):
            counts = np.bincount(rows.labels[splits == split], minlength=int(rows.labels.max()) + 1)
            assert np.ptp(counts) <= 2
        assert set(rows.owners[splits == "test"]) & set(rows.owners[splits == "train"])
    assert (tested == 1).all()
    assert not np.array_equal(by_samples(rows, 3, 0, seed=1), by_samples(rows, 3, 0, seed=2))
    with pytest.raises(ConfigError, match="use 3 or more"):
        by_samples(rows, 2, 0, seed=0)


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        ({"partition": "iid:5000"}, ConfigError, "clients cannot share 120"),
        ({"partition": "nature"}, ConfigError, "natural"),
        ({"modalities": ("audio",)}, BundleError, "audio"),
        ({"data_dir": Path("/nowhere")}, DataError, "/nowhere"),
        ({"label_noise_matrix": Path("m.csv")}, ConfigError, "--label-noise"),
        ({"dataset": "ravdess", "labels": "ravdess8"}, DataError, "ravdess"),
    ],
)
def test_settings_that_do_not_fit_say_so_and_write_nothing(
    meld: Callable[..., RunSettings], change: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why) as caught:
        prepare(meld(**change), progress=False)
    assert "\n" not in str(caught.value)
    assert not (cache_folder() / "cohorts").exists()


def test_corpora_without_labels_are_for_pretraining_alone(tmp_path: Path) -> None:
    (tmp_path / "dev" / "mp4" / "id00012" / "film").mkdir(parents=True)
    (tmp_path / "dev" / "mp4" / "id00012" / "film" / "00001.mp4").write_bytes(b"x")
    config = RunSettings.of(dataset="voxceleb2", data_dir=tmp_path)
    with pytest.raises(ConfigError, match="voxceleb2 has no emotion labels: it is for pretraining alone; choose"):
        read_columns(open_corpus("voxceleb2", tmp_path), label_set(config.data.labels))


def test_ratings_come_with_the_rows_that_have_a_class(tmp_path: Path) -> None:
    rows = ["id,split,V,A,D,text"]
    for number in range(40):
        split = ("train", "train", "dev", "test")[number % 4]
        rows.append(f"s{number},{split},{2 + number % 3},{3 + number / 40},3,{WORDS[number % 8]} yes")
    (tmp_path / "emobank").mkdir()
    (tmp_path / "emobank" / "emobank.csv").write_text("\n".join(rows) + "\n")
    meta = [f"s{n}\tdocument{n % 2}\tblog" for n in range(40)]
    (tmp_path / "emobank" / "meta.tsv").write_text("\n".join(["id\tdocument\tcategory", *meta]) + "\n")
    given = {"dataset": "emobank", "data_dir": tmp_path / "emobank", "bundle": str(write_bundle(tmp_path / "bundle"))}
    made = cohort(RunSettings.of(**given, targets=("class", "va"), labels="mosi2"))
    assert made.output_names == ("negative", "positive", "valence", "arousal")
    assert made.ratings is not None
    # Neutral sentences are outside this label set.
    assert len(made.labels) < 40
    np.testing.assert_array_equal(made.ratings[:, 0], np.where(made.labels == 0, -0.5, 0.5))
    assert 0 <= made.ratings[:, 1].min() < made.ratings[:, 1].max() <= 0.5
    assert cohort(RunSettings.of(**given)).ratings is None
    with pytest.raises(ConfigError, match="nobody rated intensity in emobank, which has arousal, dominance, valence"):
        cohort(RunSettings.of(**given, targets=("class", "intensity")))


def test_real_mosi(shared_data: Callable[[str], Path]) -> None:
    made = cohort(RunSettings.of(dataset="mosi", data_dir=shared_data("mosi")))
    assert made.widths == {"text": 100, "audio": 73, "video": 100}
    assert len(made.client_rows) + len(made.splits["dev"]) == 1447
    assert len(made.splits["test"]) == 752


def test_real_meld_by_the_fedmultimodal_rule(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    bundle = str(write_bundle(tmp_path / "bundle"))
    settings = {"labels": "meld4", "partition": "fedmultimodal", "context": 4, "bundle": bundle}
    made = cohort(RunSettings.of(dataset="meld", data_dir=shared_data("meld"), **settings))
    assert made.num_clients == 86
    assert len(made.client_rows) == 7318
    assert {name: len(rows) for name, rows in made.splits.items()} == {"dev": 628, "test": 1774}
    assert len(made.labels) == 7318 + 628 + 1774


def test_real_fer_plus_rule(shared_data: Callable[[str], Path]) -> None:
    from fedaffect.client.corpora.registry import open_corpus
    from fedaffect.edge.labels import label_set
    from fedaffect.simulation.preparing.columns import read_columns
    from fedaffect.simulation.preparing.splits import extra_views

    columns = read_columns(open_corpus("ferplus", shared_data("ferplus")), label_set("ferplus8"))
    rows = assign_splits(columns.rows, "ferplus", 0, None, False)
    assert {split: len(rows.of_split(split)) for split in ("train", "dev", "test")} == {
        "train": 25045,
        "dev": 3191,
        "test": 3137,
    }
    views = extra_views(rows, columns.rows)
    assert len(views["test-argmax"]) == 3545
    assert set(rows.of_split("test")) <= set(views["test-argmax"])
    assert columns.soft_labels is not None
    assert np.allclose(columns.soft_labels.sum(axis=1), 1, atol=1e-5)


def test_clips_that_are_missing_are_said_to_be_and_where() -> None:
    config = RunSettings.of(dataset="ravdess", data_dir=Path("corpora/RAVDESS"), modalities=("audio", "video"))
    with pytest.raises(DataError, match="not one of 72 utterances has audio or video in corpora/RAVDESS"):
        _with_a_modality(actors(), np.zeros(72, np.bool_), config)
