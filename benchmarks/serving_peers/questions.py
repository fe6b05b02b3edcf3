"""What every server is asked: a face, some seconds of voice and a line of text, as files in JSON."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]
from PIL import Image

from fedaffect.client.corpora.meld import Meld
from fedaffect.client.corpora.synthetic import Synthetic
from fedaffect.edge.sample import Sample

SECONDS = 3.0
SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One question.

    Parameters
    ----------
    sample : Sample
        Its files.
    body : bytes
        The same as the JSON that goes over the wire.
    """

    sample: Sample
    body: bytes


def questions(count: int, data_dir: Path | None = None) -> list[Asked]:
    """The same for every server.

    Parameters
    ----------
    count : int
    data_dir : Path, optional
        Holds ``fairface``, ``ravdess`` and ``meld``: portraits, spoken sentences of three to five seconds and lines of
        the development part, which have nothing to do with each other. Without it everything is constructed, and no
        face or voice is found in it.
    """
    return _constructed(count) if data_dir is None else _recorded(count, data_dir)


def _recorded(count: int, data_dir: Path) -> list[Asked]:
    portraits = sorted((data_dir / "fairface").rglob("*.jpg"))
    voices = sorted((data_dir / "ravdess").rglob("*.flac"))
    lines = [each.sample.text for each in Meld(data_dir / "meld") if each.split == "dev"]
    places = [np.linspace(0, len(of) - 1, count).astype(int) for of in (lines, voices, portraits)]
    return [
        _asked(f"{number}", lines[line] or "", voices[voice].read_bytes(), portraits[portrait].read_bytes())
        for number, (line, voice, portrait) in enumerate(zip(*places, strict=True))
    ]


def _constructed(count: int) -> list[Asked]:
    """Voices last two to four seconds, sentences have eight to forty words, so that batches need padding."""
    rng = np.random.default_rng(0)
    corpus = Synthetic()
    asked = []
    for number in range(count):
        places = rng.integers(len(corpus), size=6)
        samples = [corpus[int(place)].sample for place in places]
        words = " ".join(str(each.text) for each in samples[: 1 + number % 4])
        wanted = int(SAMPLE_RATE_HZ * rng.uniform(SECONDS - 1, SECONDS + 1))
        sound = np.resize(np.concatenate([each.audio.samples for each in samples]), wanted)  # type: ignore[union-attr]
        wav, png = io.BytesIO(), io.BytesIO()
        soundfile.write(wav, sound, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
        Image.fromarray(samples[0].video.images[0]).resize((224, 224)).save(png, "PNG")  # type: ignore[union-attr]
        asked.append(_asked(f"{number}", words, wav.getvalue(), png.getvalue()))
    return asked


def _asked(name: str, words: str, sound: bytes, picture: bytes) -> Asked:
    body = {
        "text": words,
        "audio": base64.b64encode(sound).decode(),
        "video": base64.b64encode(picture).decode(),
    }
    return Asked(Sample(id=name, text=words, audio=sound, video=picture), json.dumps(body).encode())


def decode(body: dict[str, str]) -> Sample:
    """The sample of a question's JSON."""
    return Sample(
        id="asked", text=body["text"], audio=base64.b64decode(body["audio"]), video=base64.b64decode(body["video"])
    )
