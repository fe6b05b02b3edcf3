"""Tiny folders in each corpus's official layout, written by the tests."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

MELD_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\r\n"
EMORY_HEADER = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Start_Time,End_Time\r\n"
AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
)


def png(shade: int = 128) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (48, 48), shade).save(buffer, "PNG")
    return buffer.getvalue()


def put(path: Path, content: str | bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def meld(folder: Path) -> None:
    time = '"00:00:01,000","00:00:02,000"'
    for split in ("train", "dev", "test"):
        put(
            folder / f"{split}_sent_emo.csv",
            MELD_HEADER
            + f'1,"Oh my God, he\x92s lost it.",Phoebe,sadness,negative,0,0,4,7,{time}\r\n'
            + f"2,Caf\u00e9\u2019s â€œopenâ€\x9d,Ross ,joy,positive,0,1,4,7,{time}\r\n",
        )


def emorynlp(folder: Path) -> None:
    for split in ("train", "dev", "test"):
        put(
            folder / f"emorynlp_{split}_final.csv",
            EMORY_HEADER
            + "Coffee.,['Rachel Green'],Neutral,1,1,1,15,00:00:03.795,00:00:05.004\r\n"
            + "Wow!,\"['Monica Geller', 'Phoebe Buffay']\",Joyful,1,2,1,15,00:00:05.171,00:00:07.423\r\n",
        )


def iemocap(folder: Path) -> None:
    for number in range(1, 6):
        name = f"Ses{number:02d}F_impro01"
        dialog = folder / f"Session{number}" / "dialog"
        put(
            dialog / "EmoEvaluation" / f"{name}.txt",
            "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
            f"[10.0100 - 11.3925]\t{name}_M000\tfru\t[2.0000, 3.0000, 3.5000]\nC-E2:\tNeutral;\t()\n\n"
            f"[6.2901 - 8.2357]\t{name}_F000\tneu\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n",
        )
        put(dialog / "EmoEvaluation" / f"._{name}.txt", "macOS was here")
        put(
            dialog / "transcriptions" / f"{name}.txt",
            f"{name}_F000 [006.2901-008.2357]: Excuse me.\n{name}_M000 [010.0100-011.3925]: Do you have your forms?\n",
        )
        for who in ("F000", "M000"):
            put(folder / f"Session{number}" / "sentences" / "wav" / name / f"{name}_{who}.wav")


def ravdess(folder: Path) -> None:
    put(folder / "Actor_01" / "03-01-05-02-01-01-01.wav")
    put(folder / "Actor_01" / "01-01-05-02-01-01-01.mp4")
    put(folder / "Actor_01" / "02-01-05-02-01-01-01.mp4")
    put(folder / "Actor_02" / "01-01-02-01-02-02-02.mp4")
    put(folder / "Actor_02" / "03-02-02-01-02-02-02.wav")  # a song


def ravdess_song(folder: Path) -> None:
    put(folder / "Actor_02" / "03-02-02-01-02-02-02.wav")
    put(folder / "Actor_02" / "01-02-03-02-01-01-02.mp4")


def nemo(folder: Path) -> None:
    put(
        folder / "data.tsv",
        "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
        "WR0_surprised_64.wav\tsurprised\tUcho wykrywa dźwięki.\tucho wykrywa dźwięki\t        WR0\tmale\t23\n"
        "EB0_neutral_13.wav\tneutral\tInteresuje mnie historia.\tinteresuje mnie historia\t        EB0\tfemale\t27\n",
    )
    for name in ("WR0_surprised_64.wav", "EB0_neutral_13.opus"):
        put(folder / "samples" / name)


def savee(folder: Path) -> None:
    for name in ("DC/a01", "DC/sa14", "KL/n30"):
        put(folder / "AudioData" / f"{name}.wav")
    put(folder / "AudioVisualClip" / "DC" / "a1.avi")


def tess(folder: Path) -> None:
    for name in (
        "OAF_angry/OAF_back_angry",
        "OAF_neutral/OA_bite_neutral",
        "YAF_pleasant_surprised/YAF_back_ps",
        "YAF_sad/._YAF_back_sad",
    ):
        put(folder / f"{name}.wav")


def emovo(folder: Path) -> None:
    (folder / "documents").mkdir(parents=True)
    for actor in ("f1", "f2", "f3", "m1", "m2", "m3"):
        put(folder / actor / f"gio-{actor}-d1.wav")


def enterface(folder: Path) -> None:
    for name in (
        "subject 1/anger/sentence 1/s1_an_1.avi",
        "subject 11/surprise/sentence 2/s12_su_2.avi",
        "subject 6/fear/s6_fe.avi",
    ):
        put(folder / name)


def saudi(folder: Path) -> None:
    for emotion in ("anger", "happiness", "neutral", "sadness"):
        for number in range(4):
            put(folder / emotion / f"{number}.wav", f"{emotion} {number}")


def voxceleb2(folder: Path) -> None:
    for part in ("dev", "test"):
        for clip in ("00001", "00002"):
            put(folder / part / "mp4" / "id00012" / f"{part}-film" / f"{clip}.mp4")
        put(folder / part / "aac" / "id00012" / f"{part}-film" / "00001.m4a")


def lrs2(folder: Path) -> None:
    for name in ("pretrain", "train", "val", "test"):
        part, mark = "pretrain" if name == "pretrain" else "main", " NF" if name == "test" else ""
        clip = f"5535415699068794046/0000{len(name)}"
        put(folder / f"{name}.txt", f"{clip}{mark}\n")
        put(folder / part / f"{clip}.mp4")
        put(folder / part / f"{clip}.txt", "Text:  WHEN YOU'RE COOKING CHIPS\nConf:  4\n")


def crema_d(folder: Path) -> None:
    put(folder / "SentenceFilenames.csv", '"Stimulus_Number","Filename"\n1,"1001_IEO_NEU_XX"\n2,"1001_IEO_HAP_LO"\n')
    put(
        folder / "VideoDemographics.csv",
        '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","Caucasian","Not Hispanic"\n',
    )
    put(
        folder / "processedResults" / "summaryTable.csv",
        '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"\n'
        '"1","1001_IEO_NEU_XX","N","69.1","N","92.22","N:S","64.78"\n',
    )


def urdu(folder: Path) -> None:
    for emotion, name in (("Angry", "SM1_F10_A010"), ("Happy", "SF2_F1_H01"), ("Neutral", "SM1_F1_N01")):
        put(folder / emotion / f"{name}.wav")
    put(folder / "Sad" / "SF11_F2_S099.flac")


def shemo(folder: Path) -> None:
    entry = {"speaker_id": "F21", "gender": "female", "emotion": "fearful", "transcript": "چرا؟", "ipa": "tʃera"}
    put(folder / "shemo.json", json.dumps({"F21F01": entry}))
    put(folder / "female" / "F21F01.wav")


def fer2013(folder: Path) -> None:
    rows = [f"{code},{' '.join(['7'] * 2304)},{usage}\n" for code, usage in ((0, "Training"), (3, "PrivateTest"))]
    put(folder / "fer2013.csv", "emotion,pixels,Usage\n" + "".join(rows))


# neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, no face
FERPLUS_VOTES = {
    "clear.png": "0,8,2,0,0,0,0,0,0,0",  # both rules: joy
    "narrow.png": "4,0,0,3,3,0,0,0,0,0",  # argmax only: neutral
    "lone.png": "5,1,1,1,1,1,0,0,0,0",  # half as given, all once single votes are dropped: neutral
    "unknown.png": "1,1,0,0,0,0,0,0,8,0",
    "noface.png": "0,0,0,0,0,0,0,0,0,10",
    "first.png": "0,0,5,0,0,0,5,0,0,0",  # a tie: the first column, surprise, by argmax
}


def ferplus(folder: Path, *, unpacked: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(("FER2013Train", "FER2013Valid", "FER2013Test")):
        votes = {f"{number}{name}": cast for name, cast in FERPLUS_VOTES.items()}
        labels = "".join(f'{name},"(0, 0, 48, 48)",{cast}\n' for name, cast in votes.items())
        files = {"label.csv": labels.encode(), **{name: png() for name in votes}}
        if unpacked:
            for name, content in files.items():
                put(folder / part / name, content)
        else:
            with ZipFile(folder / f"{part}.zip", "w") as archive:
                for name, content in files.items():
                    archive.writestr(f"{part}/{name}", content)


def affectnet(folder: Path) -> None:
    for part in ("training", "validation"):
        put(
            folder / f"{part}.csv",
            AFFECTNET_HEADER + f"689/{part}_a.jpg,134,134,899,899,1;2,1,0.785714,-0.055556\n"
            f"12/{part}_b.jpg,1,2,3,4,1;2,7,-0.1,0.2\n12/{part}_c.jpg,1,2,3,4,1;2,10,-2,-2\n",
        )
        for name in (f"689/{part}_a.jpg", f"12/{part}_b.jpg"):
            put(folder / "Manually_Annotated_Images" / name, png())


def affectnet_cropped(folder: Path) -> None:
    for part in ("train_set", "val_set"):
        for number, code in (("0", "4"), ("17", "5")):
            put(folder / part / "images" / f"{number}.jpg", png())
            (folder / part / "annotations").mkdir(parents=True, exist_ok=True)
            for what, value in (("exp", code), ("val", "-0.25"), ("aro", "-2" if number == "17" else "0.5")):
                np.save(folder / part / "annotations" / f"{number}_{what}.npy", np.array(value))


def emobank(folder: Path) -> None:
    rows = ("id,split,V,A,D,text", 'a_1,train,3.0,3.2,3.0,".."', "a_2,test,2.8,3.1,2.8,I was.", "b_1,dev,4.0,3,3,Oh!")
    put(folder / "emobank.csv", "\n".join(rows) + "\n")
    documents = ("id\tdocument\tcategory\tsub", "a_1\ta\tblog\t ", "a_2\ta\tblog\t ", "b_1\tb\tessays\t ")
    put(folder / "meta.tsv", "\n".join(documents) + "\n")


def goemotions(folder: Path) -> None:
    put(folder / "labels.txt", "admiration\nannoyance\nconfusion\nneutral\n")
    put(folder / "train.tsv", 'Well done [NAME], "really\t0\ta1\nWhat?! Stop it.\t1,2,2\tb2\n')
    put(folder / "dev.tsv", "It is Tuesday.\t3\tc3\n")


def xed(folder: Path) -> None:
    put(folder / "en-annotated.tsv", 'Oh "no , not you .\t8, 1\nWell then .\t2\nGo !\t4, 5\n')
    put(folder / "neu_en.txt", "9\tIt's late\t\t\t\n\t\t\t\t\n9\tTwo pair .\n")


def isear(folder: Path) -> None:
    rows = (
        "ID|SEX|Field1|MYKEY|SIT|STATE|",
        "11001|1|joy|0110011|When we met and á especially later.|1|",
        '11001|1|guilt|0110016|They needed \\clever people\\" and á|thought of me."|1|',
        "312|2|fear|3120002|[ No response.]|1|",
        "312|2|anger|3120003|Doesn't apply.|1|",
        "312|2|sadness|3120004|No answer came from home.|1|",
    )
    put(folder / "isear.csv", "\n".join(rows) + "\n")


def dailydialog(folder: Path) -> None:
    turns = [
        {"turn": 1, "speaker": "A", "utterance": "We won !", "emotion": "happines"},
        {"turn": 2, "speaker": "B", "utterance": "At ten .", "emotion": "neutral"},
    ]
    for split in ("train", "valid", "test"):
        put(folder / f"dailydialog_{split}.json", json.dumps({f"{split}_1": [turns]}))


def mosaic(folder: Path) -> None:
    """Joy and neutral: two faces and three lines of each in each split, of which one face and one line recur."""
    shades = iter(range(10, 200))
    for part in ("FER2013Train", "FER2013Valid", "FER2013Test"):
        rows: list[str] = []
        for votes in ("0,9,0,0,0,0,0,0,0,0", "9,0,0,0,0,0,0,0,0,0"):
            for shade in (next(shades), 5):
                name = f"{part}{len(rows)}.png"
                put(folder / "ferplus" / part / name, png(shade))
                rows.append(f'{name},"(0, 0, 48, 48)",{votes}\n')
        put(folder / "ferplus" / part / "label.csv", "".join(rows))
    time = '"00:00:01,000","00:00:02,000"'
    for split in ("train", "dev", "test"):
        said = [(f"{label} {n} {split}", label) for label in ("joy", "neutral") for n in (1, 2)]
        said += [("HA HA", "joy"), ("Yes  it is.", "neutral")]
        rows = [f"{n},{words},Ross,{label},x,0,{n},4,7,{time}\r\n" for n, (words, label) in enumerate(said)]
        put(folder / "meld" / f"{split}_sent_emo.csv", MELD_HEADER + "".join(rows))
    for actor in (1, 2, 17, 21, 22):
        for take in ("03-01-01-01", "03-02-01-01", "03-01-02-01", "01-01-01-01", "02-01-01-01"):
            put(folder / "ravdess" / f"Actor_{actor:02d}" / f"03-01-{take}-{actor:02d}.wav")


def meld_voiced(folder: Path) -> None:
    mosaic(folder)
    shutil.rmtree(folder / "ferplus")


def mosi_arrays(videos: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, first, count in (("train", 0, videos), ("test", 100, 3)):
        names = [f"v_{first + v}_{segment}" for v in range(count) for segment in (1, 2)]
        arrays[f"{split}_utt"] = np.array(names)
        arrays[f"{split}_label"] = np.arange(len(names), dtype=np.int8) % 2
        arrays[f"{split}_transcript"] = np.array([f"SO {name}" for name in names])
        for modality, width in (("text", 100), ("audio", 73), ("video", 100)):
            arrays[f"{split}_{modality}"] = rng.standard_normal((len(names), width)).astype(np.float32)
    return arrays


def mosi(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mosi_aligned.npz", **mosi_arrays())


def folder(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    rows = [f"{words},{label},{who}" for who in ("ana", "ben") for words, label in (("Oh no.", "sad"), ("Yes!", "joy"))]
    (place / "clips.csv").write_text("\n".join(["text,label,speaker", *rows]) + "\n", encoding="utf-8")


WRITERS: dict[str, Callable[[Path], None]] = {
    writer.__name__: writer
    for writer in (
        meld,
        emorynlp,
        iemocap,
        ravdess,
        ravdess_song,
        crema_d,
        urdu,
        shemo,
        nemo,
        savee,
        tess,
        emovo,
        enterface,
        saudi,
        fer2013,
        ferplus,
        affectnet,
        mosi,
        mosaic,
        meld_voiced,
        emobank,
        goemotions,
        xed,
        isear,
        dailydialog,
        voxceleb2,
        lrs2,
        folder,
    )
}


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a corpus of a few utterances and gives its folder."""

    def write(name: str) -> Path:
        folder = tmp_path / name
        {**WRITERS, "affectnet_cropped": affectnet_cropped}[name](folder)
        return folder

    return write


@pytest.fixture
def tiny_unpacked_ferplus(tmp_path: Path) -> Path:
    ferplus(tmp_path / "ferplus", unpacked=True)
    return tmp_path / "ferplus"
