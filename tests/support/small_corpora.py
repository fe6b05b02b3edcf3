"""Small corpora in the official layouts, and the files that the pages name: what a reader has and a test does not."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import soundfile  # type: ignore[import-untyped]
from tests.support.certificates import Authority
from tests.support.media_files import picture, tone, video

_MELD_HEADER: Final = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
)
_WORDS: Final = {
    "neutral": "It is on the table.",
    "joy": "What a lovely day!",
    "sadness": "I miss her so much.",
    "anger": "Leave me alone!",
}
_OTHERS: Final = {"surprise": "Oh my God, really?", "disgust": "That is gross.", "fear": "Please do not hurt me."}
_SPEAKERS: Final = ("Monica", "Ross", "Rachel", "Joey", "Phoebe")
# Corpora that are learned from leave out lines that stand in another split.
_AFTER: Final = {"train": " He said so.", "dev": " She said so.", "test": ""}


def write_meld(folder: Path) -> None:
    """Five speakers of two seasons, each with more than ten utterances of the four classes, as FedMultimodal asks."""
    folder.mkdir(parents=True)
    for split, turns in (("train", 16), ("dev", 4), ("test", 4)):
        lines = [_MELD_HEADER]
        for dialogue, (season, speaker) in enumerate(product((1, 2), _SPEAKERS)):
            said = [*list(_WORDS.items()) * (turns // 4), *_OTHERS.items()]
            lines += [
                f'{n},"{words}{_AFTER[split]}",{speaker},{emotion},neutral,{dialogue},{n},{season},1,"00:00:01,000","00:00:02,000"'
                for n, (emotion, words) in enumerate(said)
            ]
        (folder / f"{split}_sent_emo.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")


def write_emobank(folder: Path) -> None:
    """Sixty sentences of three documents with ratings."""
    folder.mkdir(parents=True)
    ratings = {"neutral": (3.0, 2.6), "joy": (4.1, 3.8), "sadness": (1.9, 2.5), "anger": (2.0, 4.0)}
    rows, documents = ["id,split,V,A,D,text"], ["id\tdocument\tcategory"]
    for number, (emotion, (valence, arousal)) in zip(range(60), list(ratings.items()) * 15, strict=True):
        split = "dev" if number % 6 == 4 else "test" if number % 6 == 5 else "train"
        rows.append(f"s{number},{split},{valence},{arousal},3.0,{_WORDS[emotion]}")
        documents.append(f"s{number}\tdocument{number % 3}\tessays")
    (folder / "emobank.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "meta.tsv").write_text("\n".join(documents) + "\n", encoding="utf-8")


def write_ravdess(folder: Path) -> None:
    """24 actors, each with one short sound of each of eight emotions."""
    rng = np.random.default_rng(0)
    for actor, emotion in product(range(1, 25), range(1, 9)):
        path = folder / f"Actor_{actor:02d}" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        pitch = np.sin(2 * np.pi * (80 + 20 * emotion) * np.arange(8_000) / 16_000)
        soundfile.write(path, 0.2 * pitch + 0.02 * rng.normal(size=8_000), 16_000)


def write_materials(folder: Path, home: Path) -> None:
    """Corpora under ``home``, and in ``folder`` the files that the pages name."""
    write_meld(home / "corpora" / "MELD")
    write_ravdess(home / "corpora" / "RAVDESS")
    write_emobank(home / "corpora" / "EmoBank")
    folder.mkdir(exist_ok=True)
    (folder / "face.jpg").write_bytes(picture(96, 96, "JPEG"))
    (folder / "voice.wav").write_bytes(tone(1.0))
    (folder / "clip.mp4").write_bytes(video(96, 96))
    clips = [f"{text},{label},ana" for label, text in _WORDS.items()]
    (home / "corpora" / "lines").mkdir()
    for table in (folder / "clips.csv", home / "corpora" / "lines" / "lines.csv"):
        table.write_text("\n".join(("text,label,speaker", *clips)) + "\n", encoding="utf-8")
    (folder / "devices.csv").write_text("compute_s,network_s\n2,1\n5,1\n9,3\n", encoding="utf-8")
    _write_predictions(folder / "dev.npz")
    authority = Authority(folder)
    certificate, key = authority.issue("server")
    certificate.rename(folder / "cert.pem")
    key.rename(folder / "key.pem")


def _write_predictions(path: Path) -> None:
    """Answers in seven classes of an edge that is often right and a cloud that nearly always is."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 600)
    np.savez(
        path,
        logits=2 * np.eye(7)[labels] + rng.normal(size=(600, 7)),
        labels=labels,
        modalities=np.array(["text", "audio", "text+audio"])[np.arange(600) % 3],
        cloud_logits=4 * np.eye(7)[labels] + rng.normal(size=(600, 7)),
    )
