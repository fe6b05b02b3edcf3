"""`fedaffect edge examples import`, with the bundle that devices use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.edge.conftest import Maker
from tests.edge.store.test_commands import run
from tests.support.media_files import silence, tone

from fedaffect.edge.errors import DataError


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    (tmp_path / "shout.wav").write_bytes(tone(1.0))
    (tmp_path / "nothing.wav").write_bytes(silence(1.0))
    table = tmp_path / "clips.csv"
    rows = (
        "shout.wav,,angry,ana",
        "nothing.wav,,sad,ana",
        ",Okay.,joy,ana",
        ",Okay.,anger,ana",
        ",What a day!,joy,ben",
    )
    table.write_text("\n".join(("file,text,label,speaker", *rows)), encoding="utf-8")
    return table


def test_clips_become_examples_once(clips: Path, make_bundle: Maker) -> None:
    bundle = ("--bundle", str(make_bundle()), "--allow-unsigned")
    said = run("examples", "import", str(clips), "--speaker", "ana", "--consent", *bundle)
    assert "clips.csv:3 is left out" in said
    assert "3 examples kept; they may be learned from" in said
    kept = json.loads(run("examples", "list", "--json"))
    assert sorted(example["label"] for example in kept) == ["anger", "anger", "joy"]
    assert all(example["consent"] for example in kept)
    again = run("examples", "import", str(clips), *bundle)
    assert "1 examples kept, 3 were there already; they may not be learned from; add --consent" in again
    kept = json.loads(run("examples", "list", "--json"))
    assert len(kept) == 4
    clips.write_text(clips.read_text().replace(",angry,ana", ",joy,ana"), encoding="utf-8")
    assert "4 were there already, 1 of them with another label before" in run("examples", "import", str(clips), *bundle)
    assert not any(example["consent"] for example in kept)


def test_clips_of_nobody(clips: Path) -> None:
    assert "it has ana, ben" in run("examples", "import", str(clips), "--speaker", "cem", error=DataError)
