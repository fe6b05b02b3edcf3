"""What the encoders cannot judge lowers confidence and says so, and gives way to what they can."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.calibration.doubt import doubted
from fedaffect.edge.encoders.text import unreadable
from fedaffect.edge.runtime.faces import is_blank
from fedaffect.edge.sample import Frames, Waveform

UNKNOWN = "most of the text is unknown to its encoder"
SPELT = "most of the text is in letters that its encoder hardly knows"


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    """English words, and the letters of one other script, as BERT's vocabulary has them."""
    words = ["[UNK]", "i", "am", "so", "sad", "to", "##day", "!", "lo", "##l"]
    letters = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
    vocabulary = {piece: at for at, piece in enumerate([*words, *letters, *(f"##{letter}" for letter in letters)])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    return tokenizer


@pytest.mark.parametrize(
    ("words", "doubt"),
    [
        ("😀😀😀", UNKNOWN),
        ("ฉันเสียใจมาก", UNKNOWN),
        ("ᚠᚢᚦᚨᚱᚲ", UNKNOWN),
        ("我今天很难过", UNKNOWN),
        ("Мне очень грустно сегодня", SPELT),
        ("I am so sad today", ""),
        ("I am sad 😭", ""),
        ("lol! lol!", ""),
        ("!!!", ""),
        ("I am sad, сегодня", ""),
    ],
)
def test_words_that_a_tokenizer_does_not_know(pieces: Tokenizer, words: str, doubt: str) -> None:
    assert unreadable(pieces, words) == doubt


@pytest.mark.parametrize("text", ["😀😀😀", "ฉันเสียใจมาก", "ᚠᚢᚦ", "xyzzy plugh"])
def test_an_answer_to_unknown_words_is_unsure_and_says_so(runtime: EdgeRuntime, text: str) -> None:
    answer = runtime.predict(text)
    assert answer.notes == (f"{UNKNOWN}; it was used as it is",)
    assert answer.confidence <= 0.25 + 0.75 / len(runtime.labels) + 1e-9
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    (window,) = runtime.stream(text=text, window_s=3.0, hop_s=3.0)
    assert window.notes == answer.notes
    assert window.confidence == pytest.approx(answer.confidence)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.full((48, 48, 3), 255, np.uint8),
        np.zeros((48, 48, 3), np.uint8),
        np.full((64, 64, 3), (200, 30, 90), np.uint8),
    ],
    ids=["pixel", "white", "black", "one colour"],
)
def test_a_blank_picture_is_no_neutral_face(runtime: EdgeRuntime, image: np.ndarray) -> None:
    answer = runtime.predict(Sample(video=Frames(image[None])))
    assert "the picture is blank; it was used as it is" in answer.notes
    assert answer.confidence < 0.4
    both = runtime.predict(Sample(text="i am sad", video=Frames(image[None])))
    assert both.modalities == ("text",)
    assert both.notes == ("video left out: the picture is blank",)


def test_what_can_be_judged_goes_before_what_cannot(runtime: EdgeRuntime, made, voice) -> None:
    crop = Frames(made.face(48, (48, 48), (0, 0))[None])
    answer = runtime.predict(Sample(text="😀", video=crop))
    assert answer.modalities == ("video",)
    assert answer.notes == (f"text left out: {UNKNOWN}",)
    assert answer.probabilities == runtime.predict(Sample(video=crop)).probabilities
    noise = Waveform(np.random.default_rng(0).normal(0, 0.01, 16_000).astype(np.float32), 16_000)
    unsure = runtime.predict(Sample(text="😀", audio=noise))
    assert unsure.modalities == ("text", "audio")
    assert unsure.confidence < 0.4
    assert runtime.predict(Sample(text="😀", audio=voice)).modalities == ("audio",)


def test_doubt_keeps_the_label_and_the_sum() -> None:
    shares = np.array([0.9, 0.06, 0.04])
    assert doubted(shares, doubtful=False) is shares
    lowered = doubted(shares)
    assert lowered.argmax() == 0
    assert lowered.sum() == pytest.approx(1)
    assert lowered[0] == pytest.approx(0.475)


def test_a_dark_room_is_not_blank() -> None:
    draw = np.random.default_rng(0)
    room = draw.integers(0, 16, (1, 48, 48, 3), dtype=np.uint8)
    assert not is_blank(room)
    assert is_blank(room // 16)
