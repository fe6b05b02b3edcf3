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
_SPEAKERS: Final = ("Monica", "Ross", "Rachel", "Joey")


def write_meld(folder: Path) -> None:
    """Four speakers of two seasons, each with more than ten utterances of the four classes, as FedMultimodal asks."""
    folder.mkdir(parents=True)
    for split, turns in (("train", 16), ("dev", 4), ("test", 4)):
        lines = [_MELD_HEADER]
        for dialogue, (season, speaker) in enumerate(product((1, 2), _SPEAKERS)):
            said = [*list(_WORDS.items()) * (turns // 4), *_OTHERS.items()]
            lines += [
                f'{n},"{words}",{speaker},{emotion},neutral,{dialogue},{n},{season},1,"00:00:01,000","00:00:02,000"'
                for n, (emotion, words) in enumerate(said)
            ]
        (folder / f"{split}_sent_emo.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")


def write_ravdess(folder: Path) -> None:
    """24 actors, each with one short sound of each of eight emotions."""
    rng = np.random.default_rng(0)
    for actor, emotion in product(range(1, 25), range(1, 9)):
        path = folder / f"Actor_{actor:02d}" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        pitch = np.sin(2 * np.pi * (80 + 20 * emotion) * np.arange(8_000) / 16_000)
        soundfile.write(path, 0.2 * pitch + 0.02 * rng.normal(size=8_000), 16_000)


def write_materials(folder: Path, home: Path) -> None:
    """Corpora under ``home``, and in ``folder`` a face, a voice, a film, a trace, predictions and a certificate."""
    write_meld(home / "corpora" / "MELD")
    write_ravdess(home / "corpora" / "RAVDESS")
    folder.mkdir()
    (folder / "face.jpg").write_bytes(picture(96, 96, "JPEG"))
    (folder / "voice.wav").write_bytes(tone(1.0))
    (folder / "clip.mp4").write_bytes(video(96, 96))
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
