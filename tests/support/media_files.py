"""Small media files, made on the spot: sound, pictures, video, and ones that are not what they seem."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import av
import numpy as np
import soundfile  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image


def tone(seconds: float = 0.5, rate_hz: int = 16_000, channels: int = 1, kind: str = "WAV") -> bytes:
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    wave = 0.3 * np.sin(2 * np.pi * 220 * at)
    file = BytesIO()
    soundfile.write(file, np.repeat(wave[:, None], channels, axis=1), rate_hz, format=kind)
    return file.getvalue()


def silence(seconds: float = 0.5) -> bytes:
    file = BytesIO()
    soundfile.write(file, np.zeros(int(seconds * 16_000)), 16_000, format="WAV")
    return file.getvalue()


def picture(width: int = 48, height: int = 48, kind: str = "PNG", seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def huge_png(width: int = 50_000, height: int = 50_000) -> bytes:
    """A few hundred bytes that say they are 2.5 gigapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def text_bomb_png() -> bytes:
    """A small picture whose comment unpacks to 200 MB."""
    whole = picture(8, 8)
    packed = zlib.compress(bytes(200_000_000), 9)
    data = b"Comment\x00\x00" + packed
    comment = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    return whole[:33] + comment + whole[33:]


def video(width: int = 64, height: int = 48, frames: int = 10, fps: int = 5, kind: str = "mp4") -> bytes:
    file = BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for place in range(frames):
            image = np.full((height, width, 3), 20 * place % 255, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file.getvalue()


def film(
    seconds: float = 6.0,
    fps: int = 5,
    sound: bool = True,
    kind: str = "mp4",
    seed: int = 0,
    shown_image: NDArray[np.uint8] | None = None,
) -> bytes:
    """One picture, or small ones whose brightness changes every two seconds, and noise that swells."""
    file, draw = BytesIO(), np.random.default_rng(seed)
    codecs = {"mp4": ("mpeg4", "aac"), "webm": ("libvpx", "libopus")}[kind]
    with av.open(file, "w", format=kind) as container:
        shown: Any = container.add_stream(codecs[0], rate=fps)
        height, width = (48, 64) if shown_image is None else shown_image.shape[:2]
        shown.width, shown.height, shown.pix_fmt = width, height, "yuv420p"
        if shown_image is not None:
            shown.bit_rate = 2_000_000
        heard: Any = container.add_stream(codecs[1], rate=48_000, layout="mono") if sound else None
        for second in range(int(np.ceil(seconds))):
            for place in range(min(fps, round((seconds - second) * fps))):
                image = np.full((48, 64, 3), 40 + 90 * (second // 2 % 3), np.uint8)
                image[place::8] = 200
                image = image if shown_image is None else shown_image
                for packet in shown.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                    container.mux(packet)
            if heard is None:
                continue
            count = round(min(1.0, seconds - second) * 48_000)
            noise = draw.normal(scale=0.02 + 0.1 * (second % 3), size=(1, count)).astype(np.float32)
            block = av.AudioFrame.from_ndarray(np.clip(noise, -1, 1), format="fltp", layout="mono")
            block.sample_rate, block.pts = 48_000, second * 48_000
            for packet in heard.encode(block):
                container.mux(packet)
        for stream in (shown, heard):
            for packet in stream.encode() if stream is not None else ():
                container.mux(packet)
    return file.getvalue()
