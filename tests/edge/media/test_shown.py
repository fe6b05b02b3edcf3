"""What a person sees and hears is what the encoders get: colours, shapes, channels, and all of it or a note."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
import soundfile
from av.stream import Disposition
from PIL import Image
from tests.edge.media.test_opening import RATE, moving, track, voice
from tests.support.theora import still_film

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.beginning import beginning
from fedaffect.edge.media.picture import decode_video, seen
from fedaffect.edge.media.sound import decode_audio, sound_track
from fedaffect.edge.sample import Frames

GREY = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8) * 2


def stored(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        stored(Image.fromarray(GREY.astype(np.uint16) * 257)),
        stored(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"),
        stored(Image.fromarray(GREY.astype(np.int32) * 257), "TIFF"),
        stored(Image.fromarray(GREY.astype(np.int32)), "TIFF"),
        stored(Image.fromarray(GREY), "TIFF"),
    ],
    ids=["16-bit PNG", "16-bit TIFF", "16 bits in 32", "8 bits in 32", "8 bits"],
)
def test_grey_levels_keep_their_place_whatever_their_depth(data: bytes) -> None:
    np.testing.assert_array_equal(decode_video(data, 5.0, 1).images[0], np.repeat(GREY[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    "image",
    [Image.fromarray(GREY.astype(np.float32) / 255), Image.fromarray(GREY.astype(np.int32) * 70_000)],
    ids=["fractions", "32 bits"],
)
def test_levels_without_a_known_white_are_refused_by_name(image: Image.Image) -> None:
    with pytest.raises(DataError, match="save it with 8 or 16 bits"):
        decode_video(stored(image, "TIFF"), 5.0, 1)


def test_what_is_transparent_is_white() -> None:
    layers = np.zeros((8, 8, 4), np.uint8)
    layers[:4, :, 3] = 255
    shown = decode_video(stored(Image.fromarray(layers)), 5.0, 1).images[0]
    assert (shown[:4] == 0).all()
    assert (shown[4:] == 255).all()
    coloured = Image.fromarray(layers[:, :, :3]).convert("P")
    assert (decode_video(stored(coloured, transparency=coloured.getpixel((0, 0))), 5.0, 1).images == 255).all()


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"hevc"])
def test_a_picture_in_tiles_is_refused_by_name(brand: bytes) -> None:
    with pytest.raises(DataError, match="HEIC picture, which is not read; save it as JPEG"):
        decode_video(b"\x00\x00\x00\x18ftyp" + brand + bytes(200), 5.0, 1)


def test_of_an_animation_the_first_picture_is_seen_and_said() -> None:
    pictures = [Image.fromarray(np.roll(GREY, 9 * place)) for place in range(3)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = stored(pictures[0], kind, save_all=True, append_images=pictures[1:])
        assert seen(data, 5.0, 150)[1] == ("only the first of its pictures was seen",)
        assert seen(stored(pictures[0], kind), 5.0, 150)[1] == ()


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [
        (Fraction(2, 1), (120, 320)),
        (Fraction(32, 27), (120, 190)),
        (Fraction(1, 2), (120, 80)),
        (Fraction(1, 1), (120, 160)),
        (Fraction(40, 1), (120, 160)),
        (None, (120, 160)),
    ],
)
def test_pixels_that_are_not_square_are_stretched(aspect: Fraction | None, shape: tuple[int, int]) -> None:
    assert decode_video(moving(5, aspect), 5.0, 150).images.shape[1:3] == shape


def test_of_a_long_film_the_note_says_how_much_was_seen() -> None:
    assert seen(moving(80), 5.0, 20)[1] == ("only the first 4 s of 8 s were seen",)
    assert seen(moving(40), 5.0, 20)[1] == ()
    images = np.zeros((50, 8, 8, 3), np.uint8)
    assert seen(Frames(images, 5.0), 5.0, 20)[1] == ("only the first 4 s of 10 s were seen",)
    assert seen(Frames(images[:20], 5.0), 5.0, 20)[1] == ()


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    size = min(len(one), len(other))
    return float(abs(np.corrcoef(one[:size], other[:size])[0, 1]))


@pytest.mark.parametrize(("left", "right"), [(1.0, -1.0), (1.0, -0.8), (-0.9, 1.0), (1.0, 0.0), (1.0, 1.0)], ids=str)
@pytest.mark.parametrize("kind", ["wav", "flac", "m4a"])
def test_a_mix_that_loses_the_voice_takes_the_louder_channel(kind: str, left: float, right: float) -> None:
    mono = voice()
    both = np.stack([left * mono, right * mono], axis=1)
    if kind == "m4a":
        data = track(both.astype(np.float32), codec="alac")
    else:
        file = BytesIO()
        soundfile.write(file, both, RATE, format=kind.upper())
        data = file.getvalue()
    heard = decode_audio(data).samples
    assert likeness(heard, mono) > 0.99
    assert np.abs(heard).max() > 0.1
    pieces = np.concatenate([piece.samples for piece in sound_track(data)])
    assert likeness(pieces, mono) > 0.99


def test_eight_channels_of_which_two_cancel() -> None:
    mono, file = voice(), BytesIO()
    channels = np.zeros((len(mono), 8), np.float32)
    channels[:, 2], channels[:, 5] = mono, -mono
    soundfile.write(file, channels, RATE, format="WAV")
    assert likeness(decode_audio(file.getvalue()).samples, mono) > 0.99


def late(silent_s: float, sound: np.ndarray) -> bytes:
    file = BytesIO()
    silence = np.zeros((round(silent_s * RATE), *sound.shape[1:]), np.float32)
    soundfile.write(file, np.concatenate([silence, sound]), RATE, format="FLAC")
    return file.getvalue()


def test_a_voice_that_begins_late_is_heard() -> None:
    sound, notes = beginning(late(5.0, voice()), 3.0)
    assert notes == ("the first 5 s are silent and were left out",)
    assert likeness(sound.samples, voice()) > 0.99
    _, notes = beginning(late(5.0, voice(4.0)), 3.0)
    assert notes == (
        "the first 5 s are silent and were left out",
        "only the next 3 s of 9 s were heard",
    )
    both = np.stack([voice(), -voice()], axis=1)
    assert likeness(beginning(late(5.0, both), 3.0)[0].samples, voice()) > 0.99


def test_all_silent_is_silent_and_the_beginning_is_kept_where_it_sounds() -> None:
    assert beginning(late(5.0, voice()[:0]), 3.0)[1] == ("only the first 3 s of 5 s were heard",)
    assert beginning(late(2.0, voice()), 3.0)[1] == ("only the first 3 s of 4 s were heard",)


def test_still_moments_of_a_theora_film_last() -> None:
    """Packets of no bytes show the picture before them again; decoders refuse them."""
    frames, notes = seen(still_film([True, *[False] * 14, True, *[False] * 4]), 5.0, 150)
    assert frames.images.shape == (10, 64, 64, 3)
    assert notes == ()
    assert seen(still_film([True, *[False] * 39]), 5.0, 10)[1] == ("only the first 2 s of 4 s were seen",)


CORNER = np.zeros((24, 40, 3), np.uint8)
CORNER[:12, :20] = 255
# What a viewer does to the stored picture for each value of Exif's orientation.
TURNS = {
    1: CORNER,
    2: CORNER[:, ::-1],
    3: CORNER[::-1, ::-1],
    4: CORNER[::-1],
    5: CORNER.transpose(1, 0, 2),
    6: np.rot90(CORNER, -1),
    7: np.rot90(CORNER, 2).transpose(1, 0, 2),
    8: np.rot90(CORNER, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_is_turned_as_its_head_says(kind: str, orientation: int) -> None:
    """AVIF has it as boxes of the file, ``irot`` and ``imir``, which Pillow writes and reads as Exif's."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = decode_video(stored(Image.fromarray(CORNER), kind, exif=exif), 5.0, 1).images[0]
    assert shown.shape == TURNS[orientation].shape
    assert np.abs(shown.astype(int) - TURNS[orientation]).mean() < 12


@pytest.mark.parametrize(
    ("quarter", "matrix"), [(0, (1, 0, 0, 1)), (1, (0, -1, 1, 0)), (2, (-1, 0, 0, -1)), (3, (0, 1, -1, 0))]
)
def test_a_film_is_turned_as_its_matrix_says(quarter: int, matrix: tuple[int, int, int, int]) -> None:
    data = bytearray(moving(5, kind="mp4"))
    still = decode_video(bytes(data), 5.0, 150).images
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = matrix
    for place, value in enumerate((a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)):
        data[at + 4 * place : at + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    np.testing.assert_array_equal(decode_video(bytes(data), 5.0, 150).images, np.rot90(still, quarter, (1, 2)))


@pytest.mark.parametrize(("kind", "codec"), [("mp3", "libmp3lame"), ("flac", "flac")])
def test_the_cover_of_a_song_is_no_film(kind: str, codec: str) -> None:
    file = BytesIO()
    with av.open(file, "w", format=kind) as container:
        sound = container.add_stream(codec, rate=RATE, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 200, np.uint8), format="rgb24")
        container.mux([*cover.encode(picture), *cover.encode(None)])
        frame = av.AudioFrame.from_ndarray(voice()[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(sound.format.name, "mono", RATE, frame_size=sound.frame_size or 960)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))
    data = file.getvalue()
    assert likeness(decode_audio(data).samples[: len(voice())], voice()) > 0.5
    with pytest.raises(DataError, match="has no pictures; leave video out"):
        decode_video(data, 5.0, 150)
