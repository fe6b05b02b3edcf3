"""Each corpus from a tiny folder in its official layout."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.client.corpora.conftest import png, put
from tests.support.media_files import tone

from fedaffect.client.corpora.base import CONSTRUCTED, Corpus, Utterance
from fedaffect.client.corpora.crema_d import CremaD
from fedaffect.client.corpora.ferplus import FerPlus
from fedaffect.client.corpora.meld import repaired
from fedaffect.client.corpora.mosaic import Mosaic, VoicedMeld
from fedaffect.client.corpora.mosi import Mosi
from fedaffect.client.corpora.registry import CORPORA, guess, open_corpus
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import label_set
from fedaffect.edge.media.sound import decode_audio
from fedaffect.edge.sample import ZipMember

Tiny = Callable[[str], Path]
REAL = sorted(set(CORPORA) - {"synthetic", "dialogues"})


@pytest.mark.parametrize("name", REAL)
def test_iterates_alike_twice_counts_itself_and_is_recognised(tiny: Tiny, name: str) -> None:
    folder = tiny(name)
    corpus = open_corpus(name, folder)
    once, again = list(corpus), list(corpus)
    ids = [u.sample.id for u in once]
    assert ids == [u.sample.id for u in again]
    assert len(set(ids)) == len(ids) == len(corpus) > 0
    if name == "saudi":  # one's own clips can be laid out so, too
        assert guess(folder) == "folder"
    elif name not in CONSTRUCTED:
        assert guess(folder) == name
    if corpus.info.label_set:
        assert {u.label for u in once} & set(label_set(corpus.info.label_set).labels)
    else:
        assert {u.label for u in once} == {""}
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
    assert first.targets == {"valence": -0.25, "arousal": -0.25, "dominance": -0.25}
    assert second.targets == {"valence": -0.5, "arousal": 0.0, "dominance": 0.25}


def test_ravdess_takes_the_best_file_for_each_modality(tiny: Tiny) -> None:
    first, second = open_corpus("ravdess", tiny("ravdess"))
    assert (first.label, first.client, first.attributes["intensity"]) == ("anger", "Actor_01", "strong")
    assert first.sample.text == "Kids are talking by the door"
    assert isinstance(first.sample.audio, Path)
    assert isinstance(first.sample.video, Path)
    assert (first.sample.audio.name[:2], first.sample.video.name[:2]) == ("03", "01")
    assert second.sample.audio == second.sample.video
    assert (second.label, second.attributes["gender"], second.split) == ("calm", "female", "train")


def test_ravdess_songs_are_asked_for_by_name_where_speech_lies_beside_them(tiny: Tiny) -> None:
    folder = tiny("ravdess")
    assert guess(folder) == "ravdess"
    (song,) = open_corpus("ravdess_song", folder)
    assert (song.sample.id, song.label, song.targets) == ("02-02-01-02-02-02", "calm", {"intensity": 0.0})
    both = open_corpus("ravdess_song", tiny("ravdess_song"))
    assert [(u.sample.modalities, u.targets["intensity"]) for u in both] == [
        (("text", "audio"), 0.0),
        (("text", "audio", "video"), 1.0),
    ]


def test_savee_puts_sound_and_film_together_in_either_layout(tiny: Tiny, tmp_path: Path) -> None:
    both, sad, neutral = open_corpus("savee", tiny("savee"))
    assert isinstance(both.sample.audio, Path)
    assert isinstance(both.sample.video, Path)
    assert (both.sample.audio.suffix, both.sample.video.suffix) == (".wav", ".avi")
    assert [u.label for u in (both, sad, neutral)] == ["anger", "sadness", "neutral"]
    flat = tmp_path / "flat" / "ALL"
    flat.mkdir(parents=True)
    for name in ("DC_a01", "DC_sa14", "KL_n30"):
        (flat / f"{name}.wav").write_bytes(b"x")
    assert {u.sample.id for u in open_corpus("savee", flat.parent)} == {u.sample.id for u in (both, sad, neutral)}
    (flat / "DC_a01.flac").write_bytes(b"x")
    with pytest.raises(DataError, match=r"DC_a01\.wav is a second file of the same clip; keep one"):
        list(open_corpus("savee", flat.parent))


def test_tess_knows_its_misnamed_file_and_never_splits_a_word(tiny: Tiny) -> None:
    folder = tiny("tess")
    utterances = {u.sample.id: u for u in open_corpus("tess", folder)}
    assert set(utterances) == {"OAF_back_angry", "OA_bite_neutral", "YAF_back_ps"}
    assert utterances["OA_bite_neutral"].client == "OAF"
    assert utterances["YAF_back_ps"].label == "surprise"
    assert utterances["YAF_back_ps"].sample.text == "Say the word back"
    for number, word in enumerate(f"w{chr(97 + n)}" for n in range(20)):
        (folder / f"{'OY'[number % 2]}AF_{word}_sad.wav").write_bytes(b"x")
        (folder / f"{'OY'[number % 2]}AF_{word}_happy.wav").write_bytes(b"x")
    splits: dict[str, set[str]] = {}
    for u in open_corpus("tess", folder):
        splits.setdefault(u.attributes["word"], set()).add(u.split)
    assert all(len(each) == 1 for each in splits.values())
    assert set().union(*splits.values()) == {"train", "dev", "test"}


def test_emovo_and_enterface_believe_what_can_be_believed(tiny: Tiny) -> None:
    first, *_ = open_corpus("emovo", tiny("emovo"))
    assert (first.label, first.client, first.sample.text) == ("joy", "f1", "Sabato sera cosa farà?")
    by_client = {u.client: u for u in open_corpus("enterface", tiny("enterface"))}
    assert by_client["subject 11"].label == "surprise"  # whose file says s12
    assert by_client["subject 6"].attributes["sentence"] == ""
    assert by_client["subject 1"].sample.audio == by_client["subject 1"].sample.video


def test_the_saudi_corpus_folds_speakers_where_they_are_known(tiny: Tiny) -> None:
    folder = tiny("saudi")
    corpus = open_corpus("saudi", folder)
    assert corpus.info.client == "image"
    assert {u.split for u in corpus} == {"train", "dev", "test"}
    for emotion in ("anger", "happiness", "neutral", "sadness"):
        for number in range(4):
            put(folder / emotion / f"speaker{number}" / "said.wav", f"{emotion} {number}")
            (folder / emotion / f"{number}.wav").unlink()
    corpus = open_corpus("saudi", folder)
    assert corpus.info.client == "speaker"
    assert {(u.split, u.client) for u in corpus} == {("train", f"speaker{n}") for n in range(4)}
    assert Counter(u.label for u in corpus)["joy"] == 4


def test_nemo_takes_clips_in_whatever_they_were_saved(tiny: Tiny) -> None:
    first, second = open_corpus("nemo", tiny("nemo"))
    assert (first.label, first.client, first.sample.text) == ("surprise", "WR0", "Ucho wykrywa dźwięki.")
    assert isinstance(second.sample.audio, Path)
    assert second.sample.audio.suffix == ".opus"


def test_emobank_ratings_are_about_the_middle_and_give_the_label(tiny: Tiny) -> None:
    folder = tiny("emobank")
    utterances = list(open_corpus("emobank", folder))
    assert [(u.label, u.split, u.client) for u in utterances] == [
        ("neutral", "train", "a"),
        ("negative", "test", "a"),
        ("positive", "dev", "b"),
    ]
    assert utterances[1].targets == pytest.approx({"valence": -0.1, "arousal": 0.05, "dominance": -0.1})
    (folder / "meta.tsv").unlink()
    assert {u.client for u in open_corpus("emobank", folder)} == {"unknown"}


def test_goemotions_groups_emotions_as_its_authors_do(tiny: Tiny) -> None:
    folder = tiny("goemotions")
    praise, stop, plain = open_corpus("goemotions", folder)
    assert (praise.sample.text, praise.label, praise.split) == ('Well done Sam, "really', "joy", "train")
    assert (stop.label, stop.attributes["emotions"]) == ("surprise", "annoyance,confusion,confusion")
    assert stop.votes == pytest.approx((1 / 3, 0, 0, 0, 0, 0, 2 / 3))
    assert (plain.label, plain.split) == ("neutral", "dev")
    put(folder / "test.tsv", "Fine.\t0\td4\n")
    assert [u.split for u in open_corpus("goemotions", folder)] == ["train", "train", "dev", "test"]


def test_xed_leaves_out_emotions_that_are_no_class_and_blank_rows(tiny: Tiny) -> None:
    utterances = list(open_corpus("xed", tiny("xed")))
    assert [(u.sample.text, u.label) for u in utterances] == [
        ('Oh "no, not you.', "anger"),
        ("Well then.", "other"),
        ("Go!", "fear"),
        ("It's late", "neutral"),
        ("Two pair.", "neutral"),
    ]
    assert utterances[2].votes == (0, 0, 0.5, 0.5, 0, 0, 0)
    assert utterances[1].votes is None


def test_isear_is_read_whole_without_those_who_did_not_answer(tiny: Tiny) -> None:
    assert [(u.sample.text, u.label, u.client) for u in open_corpus("isear", tiny("isear"))] == [
        ("When we met and especially later.", "joy", "11001"),
        ('They needed "clever people" and thought of me.', "other", "11001"),
        ("No answer came from home.", "sadness", "312"),
    ]


def test_dailydialog_reads_emotions_in_all_their_spellings(tiny: Tiny) -> None:
    utterances = list(open_corpus("dailydialog", tiny("dailydialog")))
    assert [(u.label, u.split, u.client, u.turn) for u in utterances[:3]] == [
        ("joy", "train", "train_1", 0),
        ("neutral", "train", "train_1", 1),
        ("joy", "dev", "valid_1", 0),
    ]
    assert len({u.speaker for u in utterances}) == 6


def test_unlabelled_corpora_have_words_and_people_and_no_labels(tiny: Tiny) -> None:
    first, second, *_ = open_corpus("voxceleb2", tiny("voxceleb2"))
    assert isinstance(first.sample.audio, Path)
    assert first.sample.audio.suffix == ".m4a"
    assert second.sample.audio == second.sample.video
    assert (first.client, first.split) == ("id00012", "train")
    assert [(u.split, u.sample.text) for u in open_corpus("lrs2", tiny("lrs2"))] == [
        (split, "When you're cooking chips") for split in ("train", "train", "dev", "test")
    ]


def test_crema_d_labels_stand_without_media(tiny: Tiny) -> None:
    first, second = open_corpus("crema_d", tiny("crema_d"))
    assert first.sample.modalities == ("text",)
    assert first.attributes["multimodal_vote"] == "neutral/sadness"
    assert (first.targets, second.targets) == ({}, {"intensity": 0.0})
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


def test_crema_d_hears_its_compressed_sounds_where_the_others_are_not(tiny: Tiny) -> None:
    folder = tiny("crema_d")
    clip = put(folder / "AudioMP3" / "1001_IEO_HAP_LO.mp3", tone(kind="MP3"))
    with pytest.raises(DataError, match=r"SentenceFilenames\.csv:2 has no clip .*AudioMP3.*1001_IEO_NEU_XX\.mp3"):
        list(open_corpus("crema_d", folder))
    (folder / "SentenceFilenames.csv").unlink()
    corpus = open_corpus("crema_d", folder)
    assert guess(folder) == "crema_d"
    assert clip in CremaD(folder).files()
    assert _heard(corpus) == {"1001_IEO_HAP_LO": pytest.approx(0.5, abs=0.06)}
    put(folder / "AudioWAV" / "1001_IEO_NEU_XX.wav", tone())
    assert _heard(corpus) == {"1001_IEO_NEU_XX": pytest.approx(0.5)}


def _heard(corpus: Corpus) -> dict[str, float]:
    """Seconds of sound of each utterance."""
    heard = ((u.sample.id, u.sample.audio) for u in corpus)
    return {name: len(decode_audio(audio, 9.0).samples) / 16_000 for name, audio in heard if audio is not None}


def test_urdu_reads_speaker_from_the_name(tiny: Tiny) -> None:
    utterances = {u.sample.id: u for u in open_corpus("urdu", tiny("urdu"))}
    assert utterances["SM1_F10_A010"].client == utterances["SM1_F1_N01"].client == "SM1"
    assert utterances["SF11_F2_S099"].label == "sadness"
    assert utterances["SF11_F2_S099"].attributes["gender"] == "female"


def test_shemo_with_and_without_sound(tiny: Tiny) -> None:
    folder = tiny("shemo")
    put(folder / "female" / "F21F01.wav", tone())
    (with_sound,) = open_corpus("shemo", folder)
    assert _heard(open_corpus("shemo", folder)) == {"F21F01": pytest.approx(0.5)}
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
    assert test[0].targets == {"valence": 0.785714, "arousal": -0.055556}
    assert corpus.info.faces == "detect"


def test_affectnet_cropped_folders(tiny: Tiny) -> None:
    corpus = open_corpus("affectnet", tiny("affectnet_cropped"))
    assert [(u.sample.id, u.label) for u in corpus if u.split == "test"] == [
        ("val_set/0", "fear"),
        ("val_set/17", "disgust"),
    ]
    assert [u.targets for u in corpus if u.split == "test"] == [{"valence": -0.25, "arousal": 0.5}, {"valence": -0.25}]
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


def test_the_mosaic_puts_together_what_has_one_label_and_is_in_one_split(tiny: Tiny) -> None:
    utterances = list(open_corpus("mosaic", tiny("mosaic")))
    assert len(utterances) == 25
    assert Counter(u.split for u in utterances) == {"train": 10, "dev": 5, "test": 10}
    assert {u.split for u in utterances if u.client == "Actor_17"} == {"dev"}
    for u in utterances:
        assert u.sample.modalities == ("text", "audio", "video")
        assert u.attributes["constructed"] == "yes"
        assert u.label in (u.sample.text or "") or u.label[0] == {"HA HA": "j", "Yes  it is.": "n"}[u.sample.text or ""]
        part = {"train": "FER2013Train", "dev": "FER2013Valid", "test": "FER2013Test"}[u.split]
        assert isinstance(u.sample.video, Path)
        assert u.sample.video.parent.name == part
    # Calm is filed under neutral, as in the shared seven.
    assert {u.label for u in utterances} == {"joy", "neutral"}


def test_voiced_lines_stay_as_they_are_and_have_a_voice_of_their_label_and_split(tiny: Tiny) -> None:
    folder = tiny("meld_voiced")
    lines, voiced = list(open_corpus("meld", folder / "meld")), list(open_corpus("meld_voiced", folder))
    said = [(u.sample.id, u.sample.text, u.label, u.split, u.client, u.dialogue, u.turn) for u in lines]
    assert said == [(u.sample.id, u.sample.text, u.label, u.split, u.client, u.dialogue, u.turn) for u in voiced]
    actors = {"train": {"01", "02"}, "dev": {"17"}, "test": {"21", "22"}}
    for u in voiced:
        assert u.attributes["constructed"] == "yes"
        assert u.attributes["season"] == "4"
        assert isinstance(u.sample.audio, Path)
        emotion, actor = u.sample.audio.stem.split("-")[2], u.sample.audio.stem.split("-")[-1]
        assert emotion in {"joy": {"03"}, "neutral": {"01", "02"}}[u.label]
        assert actor in actors[u.split]
    assert len({u.sample.audio for u in voiced if u.split == "dev"}) == 5  # each once before one returns

    def drawn(seed: int) -> list[str]:
        return [u.attributes["voice"] for u in VoicedMeld(folder, seed=seed)]

    assert drawn(0) == drawn(0) != drawn(1)
    for voice in (folder / "ravdess").glob("*/03-01-03-*-17.wav"):
        voice.unlink()
    with pytest.raises(DataError, match="meld_voiced has no voice of joy for dev in ravdess/; download that part"):
        list(VoicedMeld(folder))


def test_the_mosaic_has_no_picture_and_no_sentence_in_two_splits(tiny: Tiny) -> None:
    contents: dict[object, set[str]] = {}
    for u in open_corpus("mosaic", tiny("mosaic")):
        assert isinstance(u.sample.video, Path)
        contents.setdefault(u.sample.video.read_bytes(), set()).add(u.split)
        contents.setdefault(u.sample.text, set()).add(u.split)
    assert {len(splits) for splits in contents.values()} == {1}
    assert contents[png(5)] == {"test"}
    assert contents["HA HA"] == {"test"}


def test_the_mosaic_follows_its_seed_alone(tiny: Tiny) -> None:
    folder = tiny("mosaic")

    def drawn(seed: int) -> list[tuple[str, str, str]]:
        return [(u.sample.id, u.attributes["face"], u.attributes["line"]) for u in Mosaic(folder, seed=seed)]

    assert drawn(0) == drawn(0) != drawn(1)
    assert Mosaic(folder, seed=1).fingerprint() != Mosaic(folder).fingerprint()
    for path in (folder / "ferplus").glob("*/*2.png"):  # neutral's own face in each split
        path.write_bytes(png(5))
    with pytest.raises(DataError, match=r"the mosaic has no face of neutral for train in ferplus/; download that part"):
        list(Mosaic(folder))
