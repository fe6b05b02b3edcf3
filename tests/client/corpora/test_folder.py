"""One's own labelled clips as a corpus: a folder, or a table by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.media_files import tone

from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.errors import DataError
from fedaffect.server.federation.settings import RunSettings


def test_a_table_is_a_corpus_whatever_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    sound = tmp_path / "elsewhere" / "a.wav"
    sound.write_bytes(tone(0.5))
    place = tmp_path / "mine"
    place.mkdir()
    (place / "clips.csv").write_text(f"file,label,speaker\n{sound},joy,ana\n", encoding="utf-8")
    (place / "more.csv").write_text("text,label\nHm.,anger\n", encoding="utf-8")
    corpus = open_corpus("folder", place / "clips.csv")
    assert [(u.label, u.client, u.sample.audio) for u in corpus] == [("joy", "ana", sound)]
    before = corpus.fingerprint()
    sound.write_bytes(tone(0.7))
    assert open_corpus("folder", place / "clips.csv").fingerprint() != before
    with pytest.raises(DataError, match="2 tables"):
        list(open_corpus("folder", place))
    # Only what is there is learned from, unless told otherwise.
    assert RunSettings.of(dataset="folder", data_dir=str(place / "clips.csv")).data.modalities == ("audio",)
    assert RunSettings.of(dataset="folder", data_dir=str(place / "more.csv")).data.modalities == ("text",)
    asked = RunSettings.of(dataset="folder", data_dir=str(place / "more.csv"), modalities="audio,text")
    assert asked.data.modalities == ("audio", "text")
