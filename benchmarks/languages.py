"""Which texts are taken for another language than the text encoder's; one command measures and prints all of it.

    python -m benchmarks.languages --data-dir DATA [--bundle FOLDER] [--translations /usr/share]

False alarms are counted on development texts of English corpora (``meld``, ``emorynlp``, ``goemotions``), hits on the
Polish sentences of ``nemo`` with and without their diacritics, and on what programs of this machine say in other
languages with Latin letters: translations (``.mo``) of four words and more, 60 a language.
"""

from __future__ import annotations

import argparse
import csv
import gettext
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.bundle import Bundle, usual_bundle_path
from fedaffect.edge.encoders.text import TextEncoder, unreadable

_ENGLISH: Final = {
    "meld": "dev_sent_emo.csv",
    "emorynlp": "emorynlp_dev_final.csv",
    "goemotions": "dev.tsv",
}
_PLAIN: Final = str.maketrans("ąćęłńóśźż", "acelnoszz")
_EACH: Final = 60
_WORDS: Final = 4
_LATIN: Final = "\u024f"
_NOT_SAID: Final = re.compile(r"[%<>{}\\/=|]|--")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--translations", type=Path, default=Path("/usr/share"))
    arguments = parser.parse_args()
    encoder = Bundle.load(arguments.bundle or usual_bundle_path()).encoder("text")
    if not isinstance(encoder, TextEncoder):
        raise SystemExit("the bundle has no text encoder; build another")

    def share(texts: Iterable[str]) -> float:
        told = ["language" in unreadable(encoder.tokenizer, text) for text in texts]
        return sum(told) / len(told)

    print("| texts | taken for another language |")
    print("|---|---|")
    for corpus, table in _ENGLISH.items():
        texts = _texts(arguments.data_dir / corpus / table)
        print(f"| {corpus}, development, {len(texts)} | {share(texts):.4f} |")
    polish = sorted({u.sample.text or "" for u in open_corpus("nemo", arguments.data_dir / "nemo")})
    print(f"| nEMO, Polish, {len(polish)} | {share(polish):.3f} |")
    print(f"| the same without diacritics | {share(text.translate(_PLAIN) for text in polish):.3f} |")
    hits = {language: share(texts) for language, texts in _translated(arguments.translations).items()}
    if hits:
        lowest = sorted(hits, key=hits.__getitem__)[:5]
        named = ", ".join(f"{language} {hits[language]:.2f}" for language in lowest)
        print(f"| translations, {len(hits)} languages (lowest: {named}) | {sum(hits.values()) / len(hits):.3f} |")


def _texts(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        if path.suffix == ".tsv":
            return [line.split("\t")[0] for line in file]
        return [row["Utterance"] for row in csv.DictReader(file)]


def _translated(folder: Path) -> dict[str, list[str]]:
    """Up to 60 sentences of each language that has so many in Latin letters."""
    said: dict[str, set[str]] = defaultdict(set)
    for path in sorted(folder.rglob("LC_MESSAGES/*.mo")):
        language = re.split(r"[._@]", path.parent.parent.name)[0]
        try:
            with path.open("rb") as file:
                catalogue = vars(gettext.GNUTranslations(file))["_catalog"]
        except (OSError, ValueError, IndexError):
            continue
        for source, text in catalogue.items():
            if isinstance(text, str) and text != source and _is_said(text):
                said[language].add(text.strip())
    draw = random.Random(0)
    many = [language for language in sorted(said) if len(said[language]) >= _EACH]
    chosen = {language: draw.sample(sorted(said[language]), _EACH) for language in many}
    return {
        language: texts
        for language, texts in chosen.items()
        if not language.startswith("en")
        and 10 * sum(letter > _LATIN for text in texts for letter in text) < sum(map(len, texts))
    }


def _is_said(text: str) -> bool:
    """Whether it is a sentence rather than a pattern, a path or an option."""
    return not _NOT_SAID.search(text) and len(re.findall(r"[^\W\d_]{2,}", text)) >= _WORDS


if __name__ == "__main__":
    main()
