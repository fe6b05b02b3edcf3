"""What every server is asked: a face, three seconds of voice and a line of text, as files in JSON."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass

import numpy as np
import soundfile  # type: ignore[import-untyped]
from PIL import Image

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


def questions(count: int, seed: int = 0) -> list[Asked]:
    """Constructed questions (synthetic voices and faces, generated, not recorded), the same for every server.

    Voices last two to four seconds, sentences have eight to forty words, so that batches need padding.
    """
    rng = np.random.default_rng(seed)
    corpus = Synthetic()
    asked = []
    for number in range(count):
        places = rng.integers(len(corpus), size=6)
        samples = [corpus[int(place)].sample for place in places]
        words = " ".join(str(each.text) for each in samples[: 1 + number % 4])
        wanted = int(SAMPLE_RATE_HZ * rng.uniform(SECONDS - 1, SECONDS + 1))
        sounds = [each.audio.samples for each in samples]  # type: ignore[union-attr]
        asked.append(_asked(f"{number}", words, np.resize(np.concatenate(sounds), wanted), samples[0]))
    return asked


def _asked(name: str, words: str, sound: np.ndarray, face: Sample) -> Asked:
    wav, png = io.BytesIO(), io.BytesIO()
    soundfile.write(wav, sound, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    picture = Image.fromarray(face.video.images[0]).resize((224, 224))  # type: ignore[union-attr]
    picture.save(png, "PNG")
    sample = Sample(id=name, text=words, audio=wav.getvalue(), video=png.getvalue())
    body = {
        "text": words,
        "audio": base64.b64encode(wav.getvalue()).decode(),
        "video": base64.b64encode(png.getvalue()).decode(),
    }
    return Asked(sample, json.dumps(body).encode())


def decode(body: dict[str, str]) -> Sample:
    """The sample of a question's JSON."""
    return Sample(
        id="asked", text=body["text"], audio=base64.b64decode(body["audio"]), video=base64.b64decode(body["video"])
    )
