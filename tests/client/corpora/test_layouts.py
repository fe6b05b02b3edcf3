"""Each corpus from a tiny folder in its official layout."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedaffect.client.corpora.base import Utterance
from fedaffect.client.corpora.ferplus import FerPlus
from fedaffect.client.corpora.meld import repaired
from fedaffect.client.corpora.mosi import Mosi
from fedaffect.client.corpora.registry import CORPORA, guess, open_corpus
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import ZipMember

Tiny = Callable[[str], Path]
REAL = sorted(set(CORPORA) - {"synthetic"})


@pytest.mark.parametrize("name", REAL)
def test_iterates_alike_twice_counts_itself_and_is_recognised(tiny: Tiny, name: str) -> None:
    folder = tiny(name)
    corpus = open_corpus(name, folder)
    once, again = list(corpus), list(corpus)
    ids = [u.sample.id for u in once]
    assert ids == [u.sample.id for u in again]
    assert len(set(ids)) == len(ids) == len(corpus) > 0
    assert guess(folder) == name
    assert {u.label for u in once} & set(label_set(corpus.info.label_set).labels)
    assert all(u.client for u in once)


@pytest.mark.parametrize("name", REAL)
def test_fingerprint_follows_the_files(tiny: Tiny, tmp_path: Path, name: str) -> None:
    folder = tiny(name)
    before = open_corpus(name, folder).fingerprint()
    assert before == open_corpus(name, folder).fingerprint()
    assert len(bytes.fromhex(before)) == 32
    moved = folder.rename(tmp_path / "elsewhere")
    assert open_corpus(name, moved).fingerprint() == before
    longest = max((p for p in open_corpus(name, moved).files()), key=lambda p: p.stat().st_size)  # type: ignore[attr-defined]
    longest.write_bytes(longest.read_bytes() + b"\n")
    assert open_corpus(name, moved).fingerprint() != before


def test_a_mended_label_of_the_same_length_changes_the_fingerprint(tiny: Tiny) -> None:
    folder = tiny("meld")
    before = open_corpus("meld", folder).fingerprint()
    table = folder / "dev_sent_emo.csv"
    table.write_text(table.read_text().replace("sadness", "disgust"))
    assert open_corpus("meld", folder).fingerprint() != before


def test_meld_text(tiny: Tiny) -> None:
    first, second, *rest = open_corpus("meld", tiny("meld"))
    assert first.sample.text == "Oh my God, he’s lost it."
    assert second.sample.text == "Café’s “open”"
    assert (first.speaker, second.speaker, second.client) == ("Phoebe", "Ross", "Ross")
    assert (first.label, first.split, first.dialogue, second.turn) == ("sadness", "train", "train/0", 1)
    assert (first.attributes["season"], first.attributes["episode"]) == ("4", "7")
    assert first.sample.modalities == ("text",)
    assert [u.dialogue for u in rest] == ["dev/0", "dev/0", "test/0", "test/0"]


@pytest.mark.parametrize(
    ("broken", "right"),
    [
        ("he\x92s", "he’s"),
        ("heâ€™s", "he’s"),
        ("cafÃ©", "café"),
        ("café", "café"),
        ("naïve’s", "naïve’s"),
        ("\x96", "–"),
        ("café’…", "café’…"),
    ],
)
def test_meld_mends_quotes_of_either_kind(broken: str, right: str) -> None:
    assert repaired(broken) == right


def test_meld_clips_serve_as_sound_and_pictures(tiny: Tiny) -> None:
    folder = tiny("meld")
    clips = folder / "dev_splits_complete"
    clips.mkdir()
    for turn in (0, 1):
        (clips / f"dia0_utt{turn}.mp4").write_bytes(b"not decoded")
    by_split = {u.split: u.sample for u in open_corpus("meld", folder)}
    assert by_split["dev"].audio == by_split["dev"].video == clips / "dia0_utt1.mp4"
    assert by_split["train"].modalities == ("text",)


def test_meld_goes_without_the_clip_its_authors_never_gave(tiny: Tiny) -> None:
    folder = tiny("meld")
    table = folder / "dev_sent_emo.csv"
    header, first, _ = table.read_text().splitlines()
    table.write_text(f"{header}\n{first.replace(',0,0,4,7', ',110,7,4,7')}\n")
    (folder / "dev_splits_complete").mkdir()
    (dev,) = [u for u in open_corpus("meld", folder) if u.split == "dev"]
    assert dev.sample.modalities == ("text",)


def test_emorynlp_keys_scenes_by_episode_and_files_choruses_under_the_first(tiny: Tiny) -> None:
    _, chorus, *_ = open_corpus("emorynlp", tiny("emorynlp"))
    assert chorus.speaker == "Monica Geller & Phoebe Buffay"
    assert chorus.client == "Monica Geller"
    assert (chorus.label, chorus.turn, chorus.dialogue) == ("joy", 2, "train/s1e15c1")


def test_iemocap_orders_turns_by_time_and_splits_by_session(tiny: Tiny) -> None:
    utterances = list(open_corpus("iemocap", tiny("iemocap")))
    first, second = utterances[:2]
    assert (first.sample.text, first.speaker, first.label, first.turn) == ("Excuse me.", "Ses01F", "neutral", 0)
    assert (second.speaker, second.label, second.turn) == ("Ses01M", "frustration", 1)
    assert isinstance(first.sample.audio, Path)
    assert first.sample.audio.is_file()
    assert Counter(u.split for u in utterances) == {"train": 6, "dev": 2, "test": 2}
    assert {u.split for u in utterances if u.speaker.startswith("Ses05")} == {"test"}


def test_ravdess_takes_the_best_file_for_each_modality(tiny: Tiny) -> None:
    first, second = open_corpus("ravdess", tiny("ravdess"))
    assert (first.label, first.client, first.attributes["intensity"]) == ("anger", "Actor_01", "strong")
    assert first.sample.text == "Kids are talking by the door"
    assert isinstance(first.sample.audio, Path)
    assert isinstance(first.sample.video, Path)
    assert (first.sample.audio.name[:2], first.sample.video.name[:2]) == ("03", "01")
    assert second.sample.audio == second.sample.video
    assert (second.label, second.attributes["gender"], second.split) == ("calm", "female", "train")


def test_crema_d_labels_stand_without_media(tiny: Tiny) -> None:
    first, second = open_corpus("crema_d", tiny("crema_d"))
    assert first.sample.modalities == ("text",)
    assert first.attributes["multimodal_vote"] == "neutral/sadness"
    assert (first.attributes["gender"], first.attributes["age"]) == ("male", "51")
    assert (second.label, second.attributes["intensity"], second.client) == ("joy", "low", "1001")


def test_crema_d_finds_clips_and_names_from_them(tiny: Tiny) -> None:
    folder = tiny("crema_d")
    (folder / "AudioWAV").mkdir()
    for name in ("1001_IEO_NEU_X", "1001_IEO_HAP_LO"):
        (folder / "AudioWAV" / f"{name}.wav").write_bytes(b"x")
    assert [u.sample.audio.name for u in open_corpus("crema_d", folder)] == [  # type: ignore[union-attr]
        "1001_IEO_NEU_X.wav",
        "1001_IEO_HAP_LO.wav",
    ]
    (folder / "SentenceFilenames.csv").unlink()
    assert [u.label for u in open_corpus("crema_d", folder)] == ["joy", "neutral"]


def test_urdu_reads_speaker_from_the_name(tiny: Tiny) -> None:
    utterances = {u.sample.id: u for u in open_corpus("urdu", tiny("urdu"))}
    assert utterances["SM1_F10_A010"].client == utterances["SM1_F1_N01"].client == "SM1"
    assert utterances["SF11_F2_S099"].label == "sadness"
    assert utterances["SF11_F2_S099"].attributes["gender"] == "female"


def test_shemo_with_and_without_sound(tiny: Tiny) -> None:
    folder = tiny("shemo")
    (with_sound,) = open_corpus("shemo", folder)
    assert (with_sound.label, with_sound.client, with_sound.sample.modalities) == ("fear", "F21", ("text", "audio"))
    (folder / "female" / "F21F01.wav").unlink()
    (folder / "female").rmdir()
    (without,) = open_corpus("shemo", folder)
    assert without.sample.modalities == ("text",)


def test_fer2013_pictures_are_readable_bytes(tiny: Tiny) -> None:
    first, second = open_corpus("fer2013", tiny("fer2013"))
    assert (first.label, first.split, second.label, second.split) == ("anger", "train", "joy", "test")
    assert isinstance(first.sample.video, bytes)
    picture = np.asarray(Image.open(io.BytesIO(first.sample.video)))
    assert picture.shape == (48, 48)
    assert (picture == 7).all()


@pytest.mark.parametrize(
    ("name", "header", "tail"),
    [
        ("icml_face_data.csv", "emotion, Usage, pixels", ""),
        ("fer2013.csv", "emotion, Usage, pixels", "\n"),
        ("fer2013.csv", "emotion,Usage,pixels", ",,,,,\n ,\n"),
        ("fer2013.csv", "\ufeffemotion,Usage,pixels", "\r\n\r\n"),
    ],
)
def test_fer2013_in_the_tables_that_are_given_out(tmp_path: Path, name: str, header: str, tail: str) -> None:
    pixels = " ".join(["7"] * 2304)
    (tmp_path / name).write_text(f"{header}\n0,Training,{pixels}\n3, PrivateTest,{pixels} \n{tail}", encoding="utf-8")
    first, second = open_corpus("fer2013", tmp_path)
    assert (first.label, first.split, second.label, second.split) == ("anger", "train", "joy", "test")


def _ferplus(utterances: FerPlus, split: str = "test") -> dict[str, Utterance]:
    return {u.sample.id[1:]: u for u in utterances if u.split == split}


def test_ferplus_rules(tiny: Tiny) -> None:
    folder = tiny("ferplus")
    kept = _ferplus(FerPlus(folder))
    assert {name: u.label for name, u in kept.items()} == {
        "clear": "joy",
        "narrow": "neutral",
        "lone": "neutral",
        "first": "surprise",
    }
    published = {name for name, u in kept.items() if u.attributes["published"] == "yes"}
    assert published == {"clear", "lone"} == set(_ferplus(FerPlus(folder, rule="published")))
    assert kept["clear"].votes == pytest.approx((0, 0.8, 0.2, 0, 0, 0, 0, 0))
    assert kept["lone"].votes == pytest.approx((1, 0, 0, 0, 0, 0, 0, 0))
    assert FerPlus(folder).fingerprint() != FerPlus(folder, rule="published").fingerprint()
    with pytest.raises(ConfigError, match="known: argmax, published"):
        FerPlus(folder, rule="median")


def test_ferplus_zipped_and_unpacked_agree(tiny_unpacked_ferplus: Path, tmp_path: Path, tiny: Tiny) -> None:
    unpacked = list(FerPlus(tiny_unpacked_ferplus))
    assert all(isinstance(u.sample.video, Path) for u in unpacked)
    tiny_unpacked_ferplus.rename(tmp_path / "unpacked")
    zipped = list(FerPlus(tiny("ferplus")))
    assert [(u.sample.id, u.label, u.votes) for u in zipped] == [(u.sample.id, u.label, u.votes) for u in unpacked]
    member = zipped[0].sample.video
    assert isinstance(member, ZipMember)
    assert member.read().startswith(b"\x89PNG")


def test_affectnet_tables(tiny: Tiny) -> None:
    corpus = open_corpus("affectnet", tiny("affectnet"))
    test = [u for u in corpus if u.split == "test"]
    assert [u.label for u in test] == ["joy", "contempt"]  # the third row is no emotion, and has no picture
    assert test[0].attributes["face_width"] == "899"
    assert corpus.info.faces == "detect"


def test_affectnet_cropped_folders(tiny: Tiny) -> None:
    corpus = open_corpus("affectnet", tiny("affectnet_cropped"))
    assert [(u.sample.id, u.label) for u in corpus if u.split == "test"] == [
        ("val_set/0", "fear"),
        ("val_set/17", "disgust"),
    ]
    assert corpus.info.faces == "whole"
    assert corpus.info.counts["test"] == 3999


def test_mosi_holds_whole_videos_out_of_train_by_the_seed(tiny: Tiny) -> None:
    folder = tiny("mosi")
    utterances = list(open_corpus("mosi", folder))
    splits: dict[str, set[str]] = {}
    for u in utterances:
        splits.setdefault(u.client, set()).add(u.split)
    assert all(len(each) == 1 for each in splits.values())
    assert Counter(next(iter(each)) for each in splits.values()) == {"train": 10, "dev": 2, "test": 3}
    held_out = [{u.client for u in Mosi(folder, seed=seed) if u.split == "dev"} for seed in range(8)]
    assert held_out[0] == {u.client for u in utterances if u.split == "dev"}
    assert len({frozenset(each) for each in held_out}) > 1
    assert Mosi(folder, seed=1).fingerprint() != Mosi(folder, seed=0).fingerprint()


def test_mosi_features_are_sequences_of_one(tiny: Tiny) -> None:
    first, *_ = open_corpus("mosi", tiny("mosi"))
    assert first.features is not None
    assert {name: (each.shape, each.dtype) for name, each in first.features.items()} == {
        "text": ((1, 100), np.float32),
        "audio": ((1, 73), np.float32),
        "video": ((1, 100), np.float32),
    }
    assert (first.client, first.turn, first.sample.text, first.label) == ("v_0", 1, "SO v_0_1", "negative")
