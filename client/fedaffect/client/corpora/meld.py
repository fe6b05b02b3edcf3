"""MELD: Friends dialogues in seven emotions; text, and the clips where they lie beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import rows, vocabulary, whole
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "Season", "Episode")
_CLIPS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}

# Reported to the authors and never fixed (their issues 39, 27 and 20): undecodable, absent, and two
# that run for minutes past their utterance.
_UNUSABLE = {("train", 125, 3), ("dev", 110, 7), ("test", 38, 4), ("test", 220, 0)}

_C1 = re.compile("[\x80-\x9f]")
# Latin letters and general punctuation, their UTF-8 bytes read as Windows-1252; anything wider would also
# take good text such as "café’…".
_CONTINUATION = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_DOUBLE_ENCODED = re.compile(f"[ÂÃ]{_CONTINUATION}|â€{_CONTINUATION}")


class Meld(FolderCorpus):
    """Poria et al., MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations, ACL 2019.

    A client is a speaker. Dialogue numbers start again in each split, so dialogues are keyed by both.
    """

    info = CorpusInfo(
        name="meld",
        title="MELD (Multimodal EmotionLines Dataset)",
        modalities=("text", "audio", "video"),
        label_set="meld7",
        label_sets=("meld7", "meld4", "shared4", "shared7"),
        licence="GPL-3.0",
        size="13,708 utterances, 304 speakers, 1,432 dialogues; clips about 10 GB",
        where=(
            "affective-meld.github.io, or declare-lab/MELD on GitHub: the three CSV files are in data/MELD; "
            "for sound and pictures unpack MELD.Raw.tar.gz and the three archives inside it"
        ),
        needs=(
            "train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv; beside them, if you have the clips, "
            "train_splits/, dev_splits_complete/, output_repeated_splits_test/ with diaX_uttY.mp4"
        ),
        counts=MappingProxyType(
            {
                "train": 9989,
                "dev": 1109,
                "test": 2610,
                "dialogues": 1432,
                "label:neutral": 6436,
                "label:joy": 2308,
                "label:surprise": 1636,
                "label:anger": 1607,
                "label:sadness": 1002,
                "label:disgust": 361,
                "label:fear": 358,
            }
        ),
        client="speaker",
        faces="detect",
        citation="Poria, Hazarika, Majumder, Naik, Cambria, Mihalcea: MELD, ACL 2019",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the training table is there."""
        return (folder / "train_sent_emo.csv").is_file()

    def files(self) -> Iterator[Path]:
        """The three tables and whatever clips there are."""
        for split, clips in _CLIPS.items():
            yield self._table(split)
            yield from (self.data_dir / clips).glob("dia*_utt*.mp4")

    def _table(self, split: str) -> Path:
        path = self.data_dir / f"{split}_sent_emo.csv"
        if not path.is_file():
            raise DataError(f"{path} is missing; all three tables of MELD must lie together")
        return path

    def __iter__(self) -> Iterator[Utterance]:
        for split in _CLIPS:
            yield from self._split(split)

    def _split(self, split: str) -> Iterator[Utterance]:
        table = self._table(split)
        clips = self.data_dir / _CLIPS[split]
        with_clips = clips.is_dir()
        for line, row in rows(table, _COLUMNS):
            dialogue = whole(row["Dialogue_ID"], "Dialogue_ID", table, line)
            turn = whole(row["Utterance_ID"], "Utterance_ID", table, line)
            clip = None
            if with_clips and (split, dialogue, turn) not in _UNUSABLE:
                clip = clips / f"dia{dialogue}_utt{turn}.mp4"
                if not clip.is_file():
                    raise DataError(f"{at(table, line)} has no clip {clip}; unpack the archive of {clips.name} again")
            speaker = repaired(row["Speaker"]).strip()
            yield Utterance(
                sample=Sample(
                    id=f"{split}/dia{dialogue}_utt{turn}", text=repaired(row["Utterance"]), audio=clip, video=clip
                ),
                label=vocabulary("meld", row["Emotion"], table, line),
                split=split,
                speaker=speaker,
                client=speaker,
                dialogue=f"{split}/{dialogue}",
                turn=turn,
                attributes={"season": row["Season"], "episode": row["Episode"], "sentiment": row.get("Sentiment", "")},
            )


def repaired(text: str) -> str:
    r"""Put right quotes and dashes that went through the wrong code page.

    Editions of the tables differ: some hold Windows-1252 bytes as control characters
    (``\x92`` for an apostrophe), some UTF-8 that was decoded as Windows-1252 (``â€™``).
    """
    text = _DOUBLE_ENCODED.sub(_decode_again, text)
    return _C1.sub(lambda c: c.group().encode("latin-1").decode("cp1252", errors="replace"), text)


def _decode_again(match: re.Match[str]) -> str:
    # Five bytes have no character in Windows-1252 and pass as control characters.
    data = b"".join(c.encode("latin-1" if c < "\xa0" else "cp1252") for c in match.group())
    return data.decode("utf-8")
