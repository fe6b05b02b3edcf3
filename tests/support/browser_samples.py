"""Samples and what the device runtime answers to them, for a browser that must answer the same."""

from __future__ import annotations

import wave
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedaffect import EdgeRuntime, Sample
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.media.sound import decode_audio, has_sound, resample
from fedaffect.edge.runtime.probes import drawn_face, spoken
from fedaffect.edge.sample import Frames, Waveform

WORDS = (
    "What a lovely day!",
    "Leave me alone, I hate you.",
    "I don't know … it's the naïve café — 東京, ok?",
    "I thought that they would never come back to us, but then the door opened and there they were. " * 9,
    "🙂🙂🙂",
    "No way 😂😂 you did NOT!! ❤️ (🚗 and all) 😡",
)


def turned_face(lean: float) -> NDArray[np.uint8]:
    """The drawn face, turned clockwise, (H, W, 3)."""
    upright = Image.fromarray(drawn_face())
    return np.asarray(upright.rotate(-lean, Image.Resampling.BICUBIC, fillcolor=upright.getpixel((0, 0))))


def samples(films: Path | None) -> dict[str, Sample]:
    """Words, constructed faces and sounds, and where there are any, real films; all decoded."""
    made = {f"words {place}": Sample(text=words) for place, words in enumerate(WORDS)}
    made["face"] = Sample(video=Frames(drawn_face()[None], 0.0))
    made["leaning face"] = Sample(video=Frames(turned_face(30.0)[None], 0.0))
    made["lying face"] = Sample(video=Frames(np.ascontiguousarray(np.rot90(drawn_face()))[None], 0.0))
    moving = np.stack([drawn_face(at=(120, 100 + 8 * place)) for place in range(8)])
    made["moving face"] = Sample(video=Frames(moving, 5.0))
    made["voice"] = Sample(audio=spoken())
    made["noise"] = Sample(audio=Waveform(np.random.default_rng(1).normal(0, 0.01, 16_000).astype(np.float32), 16_000))
    made["all"] = Sample(text=WORDS[0], audio=spoken(2.0), video=Frames(moving, 5.0))
    for film in sorted(films.glob("*.mp4")) if films is not None else ():
        video = decode_video(film, 5.0, 8)
        made[film.stem] = Sample(video=video)
        leaning = np.stack([np.asarray(Image.fromarray(image).rotate(-35)) for image in video.images[:3]])
        made[f"{film.stem} leaning"] = Sample(video=Frames(leaning, 5.0))
        if not has_sound(film):
            continue
        sound = resample(decode_audio(film, 3.0), 16_000)
        if not sound.samples.any():
            continue
        made[f"{film.stem} voice"] = Sample(audio=sound)
        made[f"{film.stem} all"] = Sample(text=WORDS[1], audio=sound, video=video)
    return made


def answered(runtime: EdgeRuntime, sample: Sample) -> dict[str, Any]:
    """A sample as a page is given it, with the device's answer."""
    prediction = runtime.predict(replace(sample, id="browser"))
    body: dict[str, Any] = {
        "label": prediction.label,
        "probabilities": dict(prediction.probabilities),
        "modalities": list(prediction.modalities),
    }
    given: dict[str, Any] = {"expected": body}
    if sample.text is not None:
        given["text"] = sample.text
    if isinstance(sample.audio, Waveform):
        given["sound"] = b64encode(sample.audio.samples.astype("<f4").tobytes()).decode()
    if isinstance(sample.video, Frames):
        count, height, width, _ = sample.video.images.shape
        given["pictures"] = {
            "data": b64encode(sample.video.images.tobytes()).decode(),
            "count": count,
            "width": width,
            "height": height,
            "per_s": sample.video.frames_per_second,
        }
    return given


def camera_of_face(path: Path) -> Path:
    """Two seconds of a face that moves a little, as a file that Chromium takes for a camera. Constructed."""
    height, width = 480, 640
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F30:1 Ip A1:1 C420jpeg\n" % (width, height))
        for place in range(60):
            face = drawn_face(at=(120, round(200 + 20 * np.sin(place / 60 * 2 * np.pi))))
            planes = np.asarray(Image.fromarray(face).convert("YCbCr"))
            file.write(b"FRAME\n" + planes[..., 0].tobytes())
            for colour in (1, 2):
                file.write(planes[::2, ::2, colour].tobytes())
    return path


def microphone_of_voice(path: Path) -> Path:
    """Four seconds of what sounds like speech, as a file that Chromium takes for a microphone. Constructed."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((spoken(4.0).samples * 30_000).astype("<i2").tobytes())
    return path
