"""What is broken is named by file and line, and how to fix it is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.errors import DataError

Tiny = Callable[[str], Path]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def no_transcript(folder: Path) -> None:
    (folder / "Session2/dialog/transcriptions/Ses02F_impro01.txt").unlink()


def no_sentence(folder: Path) -> None:
    (folder / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav").unlink()


def wrong_actor(folder: Path) -> None:
    (folder / "Actor_01/03-01-05-02-01-01-01.wav").rename(folder / "Actor_01/03-01-05-02-01-01-07.wav")


def wrong_folder(folder: Path) -> None:
    (folder / "Angry/SM1_F10_A010.wav").rename(folder / "Sad/SM1_F10_A010.wav")


def without_clip(folder: Path) -> None:
    (folder / "train_splits").mkdir()
    (folder / "train_splits/dia0_utt0.mp4").write_bytes(b"x")


def cut_zip(folder: Path) -> None:
    cut(folder / "FER2013Valid.zip", 400)


def no_picture(folder: Path) -> None:
    (folder / "Manually_Annotated_Images/12/training_b.jpg").unlink()


def pickled(folder: Path) -> None:
    np.save(folder / "train_set/annotations/0_exp.npy", np.array({"code": 1}, dtype=object), allow_pickle=True)


def narrow(folder: Path) -> None:
    with np.load(folder / "mosi_aligned.npz") as archive:
        arrays = dict(archive)
    arrays["train_audio"] = arrays["train_audio"][:, :70]
    np.savez(folder / "mosi_aligned.npz", **arrays)


def not_numbers(folder: Path) -> None:
    with np.load(folder / "mosi_aligned.npz") as archive:
        arrays = dict(archive)
    arrays["test_video"][1, 2] = np.nan
    np.savez(folder / "mosi_aligned.npz", **arrays)


def no_sound_folder_of_one(folder: Path) -> None:
    (folder / "AudioWAV").mkdir()
    (folder / "AudioWAV/1001_IEO_NEU_XX.wav").write_bytes(b"x")


CASES: list[tuple[str, Callable[[Path], object], str]] = [
    ("meld", lambda f: cut(f / "dev_sent_emo.csv", 50), r"dev_sent_emo\.csv:3 .*of 11 fields.*download it again"),
    ("meld", lambda f: cut(f / "dev_sent_emo.csv", 3), r"dev_sent_emo\.csv:3 is not CSV"),
    (
        "meld",
        lambda f: edit(f / "train_sent_emo.csv", "sadness", "bored"),
        r"train_sent_emo\.csv:2: label 'bored' is out",
    ),
    (
        "meld",
        lambda f: edit(f / "train_sent_emo.csv", ",0,1,4,7", ",x,1,4,7"),
        r"csv:3: Dialogue_ID is 'x', not a whole",
    ),
    ("meld", lambda f: (f / "test_sent_emo.csv").unlink(), r"test_sent_emo\.csv is missing"),
    (
        "meld",
        lambda f: edit(f / "train_sent_emo.csv", "Emotion", "Feeling"),
        r"train_sent_emo\.csv:1 has no column Emo",
    ),
    ("meld", without_clip, r"train_sent_emo\.csv:3 has no clip .*dia0_utt1\.mp4; unpack"),
    ("emorynlp", lambda f: edit(f / "emorynlp_dev_final.csv", "['R", "[R"), r"dev_final\.csv:2: Speaker is"),
    ("emorynlp", lambda f: edit(f / "emorynlp_test_final.csv", "Joyful", "Joy"), r"test_final\.csv:3: label 'Joy'"),
    (
        "iemocap",
        lambda f: edit(f / "Session3/dialog/EmoEvaluation/Ses03F_impro01.txt", "\tneu", ""),
        r"impro01\.txt:6 is",
    ),
    ("iemocap", no_transcript, r"transcriptions/Ses02F_impro01\.txt is missing"),
    ("iemocap", no_sentence, r"Ses01F_impro01\.txt:3 has no clip .*_M000\.wav"),
    ("iemocap", lambda f: (f / "Session5").rename(f / "S5"), r"Session5 has no dialog/EmoEvaluation"),
    ("ravdess", wrong_actor, r"03-01-05-02-01-01-07\.wav is of actor 07 by its name"),
    ("crema_d", lambda f: edit(f / "SentenceFilenames.csv", "HAP", "BOR"), r"SentenceFilenames\.csv:3: label 'BOR'"),
    ("crema_d", lambda f: edit(f / "SentenceFilenames.csv", "IEO_HAP", "XYZ_HAP"), r"csv:3: '1001_XYZ_HAP_LO' is not"),
    ("crema_d", no_sound_folder_of_one, r"SentenceFilenames\.csv:3 has no clip .*HAP_LO\.wav; run 'git lfs pull'"),
    ("urdu", wrong_folder, r"Sad/SM1_F10_A010\.wav says Angry by its name; move it"),
    ("urdu", lambda f: (f / "Sad/SF11_F2_S099.flac").rename(f / "Sad/tape7.flac"), r"tape7\.flac is not named like"),
    (
        "emovo",
        lambda f: (f / "m1/gio-m1-d1.wav").rename(f / "m2/gio-m1-d1.wav"),
        r"m2/gio-m1-d1\.wav is of actor m1 by its name",
    ),
    ("emovo", lambda f: [(f / "f2/gio-f2-d1.wav").unlink(), (f / "f2").rmdir()], r"f2 is missing; f1, f2, .* together"),
    ("savee", lambda f: (f / "AudioData/DC/a01.wav").rename(f / "AudioData/DC/x01.wav"), r"x01\.wav is not named like"),
    ("enterface", lambda f: (f / "subject 1/anger").rename(f / "subject 1/rage"), r"label 'rage' is outside the set"),
    ("nemo", lambda f: (f / "samples/WR0_surprised_64.wav").unlink(), r"data\.tsv:2 has no clip WR0_surprised_64"),
    ("nemo", lambda f: edit(f / "data.tsv", "\tneutral\t", "\tbored\t"), r"data\.tsv:3: label 'bored' is outside"),
    ("emobank", lambda f: edit(f / "meta.tsv", "b_1", "b_2"), r"emobank\.csv:4: b_1 is not in meta\.tsv"),
    ("emobank", lambda f: edit(f / "emobank.csv", "3.2", "nan"), r"emobank\.csv:2: A is 'nan', not a number"),
    ("goemotions", lambda f: edit(f / "train.tsv", "\t1,2,2", "\t1,9"), r"train\.tsv:2: emotion 9 is not one of 4"),
    ("goemotions", lambda f: edit(f / "dev.tsv", "\t3", ""), r"dev\.tsv:1 has 2 of 3 fields"),
    ("goemotions", lambda f: (f / "dev.tsv").unlink(), r"dev\.tsv is missing"),
    ("goemotions", lambda f: edit(f / "labels.txt", "confusion", "bliss"), r"train\.tsv:2: label 'bliss' is outside"),
    ("xed", lambda f: edit(f / "en-annotated.tsv", "8, 1", "8, 11"), r"annotated\.tsv:1: label ' ?11' is outside"),
    ("xed", lambda f: edit(f / "en-annotated.tsv", "\t2", ""), r"annotated\.tsv:2 has 1 of 2 fields"),
    ("isear", lambda f: edit(f / "isear.csv", "|joy|", "|bliss|"), r"isear\.csv:2: label 'bliss' is outside"),
    ("isear", lambda f: edit(f / "isear.csv", "Field1", "Emotion"), r"isear\.csv:1 has no column Field1"),
    ("isear", lambda f: edit(f / "isear.csv", "|joy|0110011", ""), r"isear\.csv:2 has 5 of 7 fields"),
    ("dailydialog", lambda f: cut(f / "dailydialog_test.json", 30), r"dailydialog_test\.json:1 is cut off or not"),
    ("dailydialog", lambda f: (f / "dailydialog_valid.json").unlink(), r"valid\.json is missing; all three"),
    (
        "dailydialog",
        lambda f: edit(f / "dailydialog_train.json", '"emotion": "neutral"', '"mood": 1'),
        r"train\.json: train_1, turn 2 has no emotion",
    ),
    ("lrs2", lambda f: (f / "val.txt").write_text("1/00009\n"), r"val\.txt:1 has no clip .*main/1/00009\.mp4"),
    ("lrs2", lambda f: (f / "test.txt").unlink(), r"test\.txt is missing; all four lists"),
    ("shemo", lambda f: cut(f / "shemo.json", 20), r"shemo\.json:1 is cut off or not JSON"),
    ("shemo", lambda f: edit(f / "shemo.json", "fearful", "bored"), r"shemo\.json: F21F01: label 'bored'"),
    ("shemo", lambda f: edit(f / "shemo.json", "speaker_id", "who"), r"F21F01 has no speaker_id"),
    ("shemo", lambda f: (f / "female/F21F01.wav").unlink(), r"F21F01 has no clip .*F21F01\.wav; unpack female\.zip"),
    ("fer2013", lambda f: edit(f / "fer2013.csv", "3,7 7", "3,7"), r"fer2013\.csv:3 has 2303 of 2304 pixels"),
    (
        "fer2013",
        lambda f: edit(f / "fer2013.csv", "3,7 7", "3,7 x"),
        r"fer2013\.csv:3: pixels are not numbers in 0\.\.255",
    ),
    ("fer2013", lambda f: edit(f / "fer2013.csv", "3,7 7", "9,7 7"), r"fer2013\.csv:3: label '9' is outside"),
    ("fer2013", lambda f: cut(f / "fer2013.csv", 3), r"fer2013\.csv:3: Usage is 'PrivateTe'"),
    ("ferplus", cut_zip, r"FER2013Valid\.zip cannot be read .*; download it again"),
    ("ferplus", lambda f: (f / "FER2013Test.zip").unlink(), r"FER2013Test\.zip is missing, and so is the folder"),
    ("affectnet", no_picture, r"training\.csv:3: picture .*12/training_b\.jpg is missing"),
    (
        "affectnet",
        lambda f: edit(f / "validation.csv", ",7,-0.1", ",12,-0.1"),
        r"validation\.csv:3: label '12' is outside",
    ),
    ("affectnet", lambda f: cut(f / "training.csv", 4), r"training\.csv:4 has 8 of 9 fields"),
    ("affectnet", lambda f: edit(f / "training.csv", "0.785714", "good"), r"training\.csv:2: valence is 'good', not"),
    ("iemocap", lambda f: edit(f / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", "2.0000, ", ""), r"txt:3: \["),
    ("affectnet_cropped", pickled, r"train_set/annotations/0_exp\.npy is not one number"),
    ("mosi", lambda f: cut(f / "mosi_aligned.npz", 500), r"mosi_aligned\.npz cannot be read"),
    ("mosi", narrow, r"train_audio has shape \(24, 70\), expected \(24, 73\)"),
    ("mosi", not_numbers, r"test_video holds values that are not numbers"),
]


@pytest.mark.parametrize(("name", "damage", "message"), CASES, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(CASES)])
def test_damage_is_named(tiny: Tiny, name: str, damage: Callable[[Path], object], message: str) -> None:
    folder = tiny(name)
    damage(folder)
    with pytest.raises(DataError) as caught:
        list(open_corpus(name.removesuffix("_cropped"), folder))
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_unpacked_ferplus_names_table_and_line(tiny_unpacked_ferplus: Path) -> None:
    (tiny_unpacked_ferplus / "FER2013Train/0narrow.png").unlink()
    with pytest.raises(DataError, match=r"FER2013Train/label\.csv:2: picture .*0narrow\.png is missing"):
        list(open_corpus("ferplus", tiny_unpacked_ferplus))


def test_unpacked_ferplus_with_a_row_cut_off(tiny_unpacked_ferplus: Path) -> None:
    cut(tiny_unpacked_ferplus / "FER2013Test/label.csv", 6)
    with pytest.raises(DataError, match=r"FER2013Test/label\.csv:6 has 10 of 12 fields"):
        list(open_corpus("ferplus", tiny_unpacked_ferplus))


def test_a_table_in_another_encoding(tiny: Tiny) -> None:
    folder = tiny("meld")
    table = folder / "train_sent_emo.csv"
    table.write_bytes(table.read_text().replace("\x92", "").encode("cp1252", errors="ignore"))
    with pytest.raises(DataError, match=r"train_sent_emo\.csv:1 or soon after is not UTF-8"):
        list(open_corpus("meld", folder))
