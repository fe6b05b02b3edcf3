"""Labelled clips as people have them, and what is said of those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.media_files import picture, tone, video

from fedaffect.edge.errors import DataError
from fedaffect.edge.labelled_clips import looks_labelled, read_labelled_clips


def table(folder: Path, *lines: str, name: str = "clips.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_folder_for_each_emotion_and_speaker(tmp_path: Path) -> None:
    for name, content in (
        ("happy/ana/smile.jpg", picture(32, 32)),
        ("happy/ana/film.mp4", video(32, 32)),
        ("Anger/shout.wav", tone(0.5)),
        ("sad/ben/note.txt", b"I miss her."),
        ("sad/Thumbs.db", b"?"),
        ("sad/.hidden.wav", b""),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    found = read_labelled_clips(tmp_path)
    seen = {c.sample.id: (c.label, c.speaker, c.sample.modalities) for c in found.clips}
    assert seen == {
        "Anger/shout.wav": ("anger", "", ("audio",)),
        "happy/ana/film.mp4": ("joy", "ana", ("audio", "video")),
        "happy/ana/smile.jpg": ("joy", "ana", ("video",)),
        "sad/ben/note.txt": ("sadness", "ben", ("text",)),
    }
    assert found.left_out == ("sad/Thumbs.db",)
    assert looks_labelled(tmp_path)


def test_a_table_beside_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(tone(0.5))
    table(
        tmp_path,
        "Label,file,text,speaker,time",
        'joy,a.wav,"Yes, yes!",ana,2026-05-01T12:30:00',
        "",
        "sad,,Oh no.,ben,",
    )
    first, second = read_labelled_clips(tmp_path).clips
    assert first.sample.audio == tmp_path / "a.wav"
    assert (first.sample.text, first.time) == ("Yes, yes!", "2026-05-01T12:30:00+00:00")
    assert (second.sample.id, second.sample.modalities, second.label) == ("clips.csv:4", ("text",), "sadness")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_as_a_spreadsheet_saves_it(tmp_path: Path, delimiter: str) -> None:
    rows = ('"Label"', "text", "speaker"), ("joy", '"Yes, yes; both!"', "ana")
    path = table(tmp_path, *("".join(f"{delimiter.join(row)}\r") for row in rows))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (clip,) = read_labelled_clips(path).clips
    assert (clip.label, clip.sample.text, clip.speaker) == ("joy", "Yes, yes; both!", "ana")
    assert looks_labelled(tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["text,label", "Hm.,hapy"], "clips.csv:2: label 'hapy'.*did you mean happy"),
        (["text,lable", "Hm.,joy"], "unknown column 'lable'; did you mean label"),
        (["text,label,label", "Hm.,joy,joy"], "each once"),
        (["speaker,label", "ana,joy"], "wants the columns"),
        (["text,label", "Hm., no, joy"], "clips.csv:2 has 3 of 2 fields"),
        (["text,label,file", ",joy,"], "clips.csv:2 has neither a file nor text"),
        (["file,label", "a.wav,joy", "b.wav,joy", "c.png,joy", "d.mp4,joy"], "a.wav .line 2.*and 1 more; nothing was"),
        (["text,label,time", "Hm.,joy,yesterday"], "clips.csv:2: 'yesterday' is no time"),
        (["text,label"], "has no rows"),
        (["text,label", '"Hm.,joy'], "is not CSV"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        read_labelled_clips(table(tmp_path, *lines))
    assert "\n" not in str(error.value)


def test_tables_that_are_not_utf8_and_folders_of_several(tmp_path: Path) -> None:
    table(tmp_path, "text,label", "Hm.,joy").write_bytes(b"text,label\nH\xe4?,joy\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_labelled_clips(tmp_path)
    table(tmp_path, "text\tlabel", "Hm.\tjoy", name="more.tsv")
    assert len(read_labelled_clips(tmp_path / "more.tsv").clips) == 1
    with pytest.raises(DataError, match=r"2 tables: clips.csv, more.tsv"):
        read_labelled_clips(tmp_path)


def test_one_clip_has_one_label(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(tone(0.5))
    (tmp_path / "copy.wav").write_bytes(tone(0.5))
    with pytest.raises(DataError, match=r"clips.csv:2 and clips.csv:3 are one clip, labelled joy and anger"):
        read_labelled_clips(table(tmp_path, "file,label", "a.wav,joy", "copy.wav,angry"))
    same = read_labelled_clips(table(tmp_path, "file,label", "a.wav,joy", "copy.wav,happy"))
    assert len(same.clips) == 2
    # The same words may be meant in two ways.
    assert len(read_labelled_clips(table(tmp_path, "text,label", "Okay.,joy", "Okay.,anger")).clips) == 2


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a folder nor a table"):
        read_labelled_clips(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds neither a table nor folders"):
        read_labelled_clips(tmp_path)
    (tmp_path / "joy").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        read_labelled_clips(tmp_path)
    (tmp_path / "joy" / "a.wav").touch()
    with pytest.raises(DataError, match=r"empty files: joy/a.wav"):
        read_labelled_clips(tmp_path)
    (tmp_path / "holiday").mkdir()
    with pytest.raises(DataError, match=r"holiday.*outside the set"):
        read_labelled_clips(tmp_path)
