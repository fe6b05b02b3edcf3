"""The feature cache: encoded once, resumed to the same bytes, shared between processes, damage named."""

from __future__ import annotations

import errno
import json
import multiprocessing
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedaffect.client.corpora.archives import Archives
from fedaffect.client.corpora.base import Corpus, CorpusInfo, Utterance
from fedaffect.client.features import cache, encode_corpus, encoding, feature_key
from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.sample import Sample, ZipMember

INFO = CorpusInfo(
    name="letters", title="letters", modalities=("text", "video"), label_set="meld7", label_sets=("meld7",), licence="",
    size="", where="", needs="", counts={}, client="speaker", faces="whole", citation="",
)  # fmt: skip


class Letters(Corpus):
    """Utterances of random letters; every fifth says nothing."""

    info = INFO

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.texts = [
            None if i % 5 == 4 else "".join(rng.choice(list("abc"), rng.integers(1, 9))) for i in range(count)
        ]

    def __iter__(self) -> Iterator[Utterance]:
        for i, text in enumerate(self.texts):
            yield Utterance(
                sample=Sample(id=str(i), text=text), label="joy", split="train", speaker="one", client="one"
            )

    def fingerprint(self) -> str:
        return str(self.texts)


class LetterEncoder:
    """One vector a letter: a small deterministic network's place is taken by a table."""

    modality = "text"
    width = 3
    tokens_per_second = 0.0

    def __init__(self, key: str = "letters", stop_at: int | None = None) -> None:
        self.key = key
        self.stop_at = stop_at
        self.encoded = 0
        self.table = np.random.default_rng(1).normal(size=(256, 3)).astype(np.float32)

    def prepare(self, source: Any) -> Prepared:
        return Prepared(np.frombuffer(source.encode() if isinstance(source, str) else source, np.uint8))

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        self.encoded += len(batch)
        if self.stop_at is not None and self.encoded > self.stop_at:
            raise KeyboardInterrupt
        return [self.table[item.values] for item in batch]


def encode(corpus: Corpus, encoder: Any, root: Path) -> Any:
    return encode_corpus(corpus, list(corpus), "text", encoder, root, progress=False).table


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_PART_ROWS", 10)
    monkeypatch.setattr(encoding, "_BATCH_ROWS", 4)


def test_features_are_those_of_the_encoder_in_order(tmp_path: Path) -> None:
    corpus, encoder = Letters(57), LetterEncoder()
    table = encode(corpus, encoder, tmp_path)
    assert table.tokens.dtype == np.float16
    assert len(table.offsets) == 58
    for i, text in enumerate(corpus.texts):
        expected = encoder.table[np.frombuffer((text or "").encode(), np.uint8)].astype(np.float16)
        assert np.array_equal(table.tokens[table.offsets[i] : table.offsets[i + 1]], expected)


def test_the_second_time_nothing_is_encoded(tmp_path: Path) -> None:
    encode(Letters(57), LetterEncoder(), tmp_path)
    again = LetterEncoder()
    table = encode(Letters(57), again, tmp_path)
    assert again.encoded == 0
    assert not table.tokens.flags.writeable  # mapped, read only
    changed = LetterEncoder(key="other")
    encode(Letters(57), changed, tmp_path)
    assert changed.encoded > 0


def test_the_key_covers_encoder_corpus_modality_and_faces() -> None:
    corpus, encoder = Letters(5), LetterEncoder()
    keys = [
        feature_key(corpus, "text", encoder),
        feature_key(corpus, "video", encoder),
        feature_key(Letters(6), "text", encoder),
        feature_key(corpus, "text", LetterEncoder("other")),
    ]
    corpus.info = replace(INFO, faces="detect")
    keys.append(feature_key(corpus, "video", encoder))
    assert len(set(keys)) == 5
    assert feature_key(corpus, "text", encoder) == keys[0]


@pytest.mark.parametrize("stop_at", [0, 9, 30, 45])
def test_an_interrupted_encoding_goes_on_to_the_same_bytes(tmp_path: Path, stop_at: int) -> None:
    whole = LetterEncoder()
    encode(Letters(57), whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        encode(Letters(57), LetterEncoder(stop_at=stop_at), tmp_path / "stopped")
    rest = LetterEncoder()
    encode(Letters(57), rest, tmp_path / "stopped")
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")
    # At most the part under way is done twice: 10 rows, 8 of which say something, and a batch.
    assert rest.encoded <= whole.encoded - stop_at + 8 + 4


def test_a_damaged_part_is_encoded_again(tmp_path: Path) -> None:
    encode(Letters(57), LetterEncoder(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        encode(Letters(57), LetterEncoder(stop_at=30), tmp_path / "stopped")
    part = sorted((tmp_path / "stopped").rglob("*.npz"))[0]
    part.write_bytes(part.read_bytes()[:-40])
    encode(Letters(57), LetterEncoder(), tmp_path / "stopped")
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_damage_to_the_cache_is_named_with_the_remedy(tmp_path: Path) -> None:
    encode(Letters(57), LetterEncoder(), tmp_path)
    tokens = next(tmp_path.rglob("tokens.npy"))
    index = tokens.parent / "index.json"
    index.write_text(index.read_text().replace('"unusable"', '"unusabel"'))
    with pytest.raises(DataError, match=r"'unusable'.*delete that folder and run again"):
        encode(Letters(57), LetterEncoder(), tmp_path)
    index.write_text(index.read_text().replace('"unusabel"', '"unusable"'))
    tokens.write_bytes(tokens.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"tokens.npy has \d+ of \d+ bytes.*delete that folder and run again"):
        encode(Letters(57), LetterEncoder(), tmp_path)
    index.write_text("{")
    with pytest.raises(DataError, match="delete that folder"):
        encode(Letters(57), LetterEncoder(), tmp_path)
    index.unlink()
    with pytest.raises(DataError, match=r"index\.json is missing"):
        encode(Letters(57), LetterEncoder(), tmp_path)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    really = np.savez

    def savez(stream: Any, **arrays: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:
            stream.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        really(stream, **arrays)

    monkeypatch.setattr(cache.np, "savez", savez)
    with pytest.raises(DataError, match=r"the disk is full.*FEDAFFECT_CACHE") as caught:
        encode(Letters(57), LetterEncoder(), tmp_path)
    assert "\n" not in str(caught.value)
    assert [p.suffix for p in sorted(tmp_path.rglob("*")) if p.is_file()] == [".lock", ".npz", ".npz"]
    rest = LetterEncoder()
    encode(Letters(57), rest, tmp_path)
    assert rest.encoded == 46 - 16


def test_clips_that_cannot_be_used_have_no_tokens_and_a_reason(tmp_path: Path) -> None:
    class Strict(LetterEncoder):
        def prepare(self, source: Any) -> Prepared:
            if source in broken:
                raise DataError("it is silent")
            return super().prepare(source)

    corpus = Letters(57)
    corpus.texts[3], corpus.texts[31], corpus.texts[56] = broken = ("one", "another", "last")
    with pytest.raises(KeyboardInterrupt):
        encode(corpus, Strict(stop_at=30), tmp_path)
    for _ in range(2):
        encoded = encode_corpus(corpus, list(corpus), "text", Strict(), tmp_path, progress=False)
        assert encoded.unusable == {"3": "it is silent", "31": "it is silent", "56": "it is silent"}
        assert list(np.flatnonzero(np.diff(encoded.table.offsets) == 0)) == sorted([3, 31, 56, *range(4, 57, 5)])


@pytest.mark.parametrize(("value", "why"), [(np.nan, "not numbers"), (1e6, "not numbers or above 65504")])
def test_an_encoder_out_of_range_is_refused(tmp_path: Path, value: float, why: str) -> None:
    encoder = LetterEncoder()
    encoder.table[ord("b")] = value
    with pytest.raises(BundleError, match=why):
        encode(Letters(57), encoder, tmp_path)


def _encode_elsewhere(root: Path, queue: Any) -> None:
    encoder = LetterEncoder()
    encode(Letters(400), encoder, root)
    queue.put(encoder.encoded)


def test_two_processes_take_turns(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    both = [context.Process(target=_encode_elsewhere, args=(tmp_path, queue)) for _ in range(2)]
    for process in both:
        process.start()
    counts = sorted(queue.get(timeout=60) for _ in both)
    for process in both:
        process.join()
    assert counts == [0, 320]
    assert len(json.loads(next(tmp_path.rglob("index.json")).read_text())["files"]) == 2


def test_an_archive_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(20):
            archive.writestr(f"{i}.txt", f"text {i}" * 50)
    opened = []
    really = zipfile.ZipFile.__init__
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda self, *a, **k: (opened.append(a), really(self, *a, **k))[1])
    with Archives() as archives:
        assert [archives.resolve(ZipMember(path, f"{i}.txt")) for i in range(20)] == [
            f"text {i}".encode() * 50 for i in range(20)
        ]
        assert archives.resolve("as it is") == "as it is"
        with pytest.raises(DataError, match=r"99\.txt cannot be read"):
            archives.resolve(ZipMember(path, "99.txt"))
    assert len(opened) == 1
    path.write_bytes(path.read_bytes()[:100])
    with Archives() as archives, pytest.raises(DataError, match="download the archive again"):
        archives.resolve(ZipMember(path, "1.txt"))
