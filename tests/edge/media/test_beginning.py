"""Of a sound too long for an encoder the beginning is heard, and the caller told."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from tests.support.media_files import tone

from fedaffect.edge.media.beginning import beginning
from fedaffect.edge.media.sound import decode_audio
from fedaffect.edge.sample import Audio, Waveform


def _live(seconds: float) -> bytes:
    """A recording as it comes from a browser: its head does not say how long it is."""
    file = BytesIO()
    with av.open(file, "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        samples = np.zeros((1, int(seconds * 48_000)), np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 48_000
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (tone(4.5, 8_000), ("only the first 3 s of 4.5 s were heard",)),
        (tone(45.0, 8_000, kind="FLAC"), ("only the first 3 s of 45 s were heard",)),
        (Waveform(np.zeros(8_000 * 7, np.float32), 8_000), ("only the first 3 s of 7 s were heard",)),
        (_live(4.0), ("only the first 3 s were heard",)),
        (_live(3.0), ()),
        (tone(3.0, 8_000), ()),
        (tone(3.05, 8_000), ()),
        (tone(0.5, 8_000), ()),
    ],
)
def test_what_is_not_heard_is_said(source: Audio, said: tuple[str, ...]) -> None:
    sound, notes = beginning(source, 3.0)
    assert notes == said
    np.testing.assert_array_equal(sound.samples, decode_audio(source, 3.0).samples)


def test_a_file_is_looked_into_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "long.mkv"
    path.write_bytes(_live(4.0))
    assert beginning(path, 3.0)[1] == ("only the first 3 s were heard",)
