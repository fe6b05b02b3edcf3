"""A bundle that answers, of tiny networks, and small media made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.runtime import EdgeRuntime
from fedaffect.edge.runtime.probes import drawn_face, spoken
from fedaffect.edge.sample import Waveform

Maker = Callable[..., Path]


@pytest.fixture(scope="session")
def answering_bundle(make_bundle: Maker) -> Bundle:
    return Bundle.load(make_bundle(), trust=None)


@pytest.fixture
def runtime(answering_bundle: Bundle) -> Iterator[EdgeRuntime]:
    with EdgeRuntime.load(answering_bundle) as runtime:
        yield runtime


@pytest.fixture(scope="session")
def voice() -> Waveform:
    """Three seconds in which Silero hears somebody speak."""
    return spoken()


class Made:
    """Small media made on the spot."""

    face = staticmethod(drawn_face)

    @staticmethod
    def write_film(
        target: Path | BytesIO,
        images: list[NDArray[np.uint8]],
        sound: Waveform | None = None,
        rate_hz: int = 10,
        kind: str = "mp4",
    ) -> None:
        """A film with or without a sound track."""
        codec, sound_codec = {"mp4": ("mpeg4", "aac"), "webm": ("libvpx", "libopus")}[kind]
        with av.open(target if isinstance(target, BytesIO) else str(target), mode="w", format=kind) as container:
            stream = container.add_stream(codec, rate=Fraction(rate_hz))
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = 4_000_000
            track = None
            if sound is not None:
                track = container.add_stream(sound_codec, rate=48_000 if kind == "webm" else sound.sample_rate_hz)
                track.layout = "mono"
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
            if track is not None and sound is not None:
                frame = av.AudioFrame.from_ndarray(sound.samples[None], format="fltp", layout="mono")
                frame.sample_rate = sound.sample_rate_hz
                fitting = av.AudioResampler(track.format.name, "mono", track.rate, frame_size=track.frame_size or 960)
                for piece in (*fitting.resample(frame), *fitting.resample(None)):
                    container.mux(track.encode(piece))
                container.mux(track.encode(None))

    @staticmethod
    def write_sound(target: Path | BytesIO, sound: Waveform, kind: str = "WAV") -> None:
        soundfile.write(target, sound.samples, sound.sample_rate_hz, format=kind)

    @staticmethod
    def picture_bytes(image: NDArray[np.uint8], kind: str = "PNG") -> bytes:
        file = BytesIO()
        Image.fromarray(image).save(file, kind)
        return file.getvalue()


@pytest.fixture(scope="session")
def made() -> type[Made]:
    return Made
