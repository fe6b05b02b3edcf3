"""What a person sees and hears is what the encoders get: colours, shapes, channels, and all of it or a note."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
import soundfile
from PIL import Image
from tests.edge.media.test_opening import RATE, moving, track, voice

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
