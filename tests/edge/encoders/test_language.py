"""Texts in another language with the encoder's own letters are told from the encoder's language, however slangy."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from fedaffect.edge.encoders.language import is_foreign, language_of
from fedaffect.edge.encoders.text import unreadable
from fedaffect.server.models.bundling.packages import MINILM

FOREIGN = "the text is in another language than its encoder's"
# Of development texts at most this share may be taken for another language.
FALSE_ALARMS = 0.005


@pytest.fixture(scope="module")
def english() -> Tokenizer:
    """BERT's, as the shipped encoder has it."""
    tokenizer = Tokenizer.from_file(str(next(MINILM.file(".").rglob("tokenizer.json"))))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    return tokenizer


@pytest.mark.parametrize(
    "words",
    [
        "Jestem dzisiaj bardzo smutny",
        "Ich bin heute so traurig",
        "Mir geht es heute gar nicht gut",
        "Estoy muy triste hoy",
        "¡Qué alegría verte otra vez!",
        "Je suis tellement triste aujourd'hui",
        "Laisse-moi tranquille",
        "Nina huzuni sana leo",
        "Mujhe tumse milkar bahut khushi hui",
        "Main aaj bahut dukhi hoon",
        "Aku sangat sedih hari ini",
        "Bugün çok üzgünüm",
        "Ik ben vandaag zo verdrietig",
    ],
)
def test_another_language_in_latin_letters_is_told(english: Tokenizer, words: str) -> None:
    assert unreadable(english, words) == FOREIGN


@pytest.mark.parametrize(
    "words",
    [
        "I am so sad today",
        "Damn it, Joey!",
        "lol no way dude",
        "Yeah, I gotta get outta here, y'all",
        "Pierre and Françoise met in Zürich",
        "I'm sooooo happyyyy!!!",
        "Ok",
        "Hmm",
        "Gracias!",
    ],
)
def test_slang_names_and_single_words_are_not(english: Tokenizer, words: str) -> None:
    assert unreadable(english, words) == ""


def share_of(tokenizer: Tokenizer, texts: Iterable[str]) -> float:
    told = [unreadable(tokenizer, text) == FOREIGN for text in texts]
    return sum(told) / len(told)


@pytest.mark.parametrize(
    ("corpus", "table"),
    [("meld", "dev_sent_emo.csv"), ("emorynlp", "emorynlp_dev_final.csv"), ("goemotions", "dev.tsv")],
)
def test_english_of_dialogues_and_forums_is_english(
    english: Tokenizer, shared_data: Callable[[str], Path], corpus: str, table: str
) -> None:
    path = shared_data(corpus) / table
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        if path.suffix == ".tsv":
            texts = [line.split("\t")[0] for line in file]
        else:
            texts = [row["Utterance"] for row in csv.DictReader(file)]
    assert len(texts) > 900
    assert share_of(english, texts) <= FALSE_ALARMS


def test_polish_that_people_said_is_told(english: Tokenizer, shared_data: Callable[[str], Path]) -> None:
    lines = (shared_data("nemo") / "data.tsv").read_text(encoding="utf-8").splitlines()[1:]
    sentences = {line.split("\t")[2] for line in lines}
    plain = {sentence.translate(str.maketrans("ąćęłńóśźż", "acelnoszz")) for sentence in sentences}
    assert len(sentences) == 90
    assert share_of(english, sentences) >= 0.98
    assert share_of(english, plain) >= 0.95


def test_an_encoder_has_the_language_of_its_vocabulary(english: Tokenizer) -> None:
    assert language_of(english) == "en"
    few = Tokenizer(WordPiece({"[UNK]": 0, "ich": 1, "bin": 2}, unk_token="[UNK]"))
    assert language_of(few) == ""
    assert not is_foreign(few, "ich bin", 2)
    many = Tokenizer(WordPiece({"[UNK]": 0} | {f"word{place}": place for place in range(1, 70_000)}, unk_token="[UNK]"))
    assert language_of(many) == ""


def test_a_text_of_an_encoder_of_another_language_is_its_own() -> None:
    common = (
        "nicht auch sich eine wird dass oder sind nach haben werden über durch wurde diese dieser sein mehr zwischen"
    )
    german = f"{common} kann immer wieder unter zwei gegen schon wenn habe seine ihrer ihre dann noch weil ohne".split()
    filler = [f"{one}{other}" for one in german for other in german][:1_200]
    vocabulary = {piece: place for place, piece in enumerate(["[UNK]", *german, *filler])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    assert language_of(tokenizer) == "de"
    assert not is_foreign(tokenizer, "Ich bin heute so traurig, weil du nicht mehr da bist", 3)
    assert is_foreign(tokenizer, "I am so sad today because you are not here any more", 9)
