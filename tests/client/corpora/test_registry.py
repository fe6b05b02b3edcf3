"""Corpora by name: ours, unknown ones, and those of other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedaffect.client.corpora.registry import CORPORA, factory, guess, names, open_corpus
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import CORPUS_LABELS, label_set

FOREIGN = """
from fedaffect.client.corpora.base import Corpus, CorpusInfo, Utterance
from fedaffect.edge.sample import Sample

class Diary(Corpus):
    info = CorpusInfo(
        name="diary", title="A diary", modalities=("text",), label_set="shared4", label_sets=("shared4",),
        licence="mine", size="one page", where="at home", needs="nothing", counts={"train": 1},
        client="speaker", faces="none", citation="none",
    )
    def __init__(self, data_dir, *, seed=0):
        self.seed = seed
    def __iter__(self):
        yield Utterance(sample=Sample(id="1", text="Dear diary"), label="joy", split="train", speaker="me", client="me")
    def fingerprint(self):
        return "0" * 64

broken = 7
"""


def test_every_corpus_has_names_for_its_labels() -> None:
    assert set(CORPORA) == set(CORPUS_LABELS)
    for name, corpus in CORPORA.items():
        info = corpus.info
        assert info.name == name
        known = set(CORPUS_LABELS[name].values())
        counted = {what.removeprefix("label:") for what in info.counts if what.startswith("label:")}
        assert counted <= known
        for chosen in info.label_sets:
            labels = label_set(chosen)
            assert {labels.index(x) for x in known} - {None}, f"{name} has nothing in {chosen}"


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown corpus 'melt'; did you mean 'meld'\? known: affectnet"):
        open_corpus("melt", None)


@pytest.mark.parametrize("name", sorted(set(CORPORA) - {"synthetic", "dialogues"}))
def test_a_missing_or_foreign_folder_says_in_a_line_what_is_expected(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for folder in (None, Path("nowhere"), Path()):
        with pytest.raises(DataError) as caught:
            open_corpus(name, folder)
        said = str(caught.value)
        assert len(said) <= 160
        assert f"; expected {CORPORA[name].info.needs[:20]}" in said
        assert said.endswith(f"; see 'fedaffect data list {name}'")


@pytest.mark.parametrize("name", sorted(set(CORPORA)))
def test_an_unknown_name_is_one_line_with_whatever_is_installed(name: str) -> None:
    for asked in (f"{name}x", "nothing-like-it"):
        with pytest.raises(ConfigError, match="unknown corpus") as caught:
            open_corpus(asked, None)
        assert len(str(caught.value)) <= 160


def test_a_folder_one_level_off_says_which_it_should_be(tiny: Callable[[str], Path]) -> None:
    folder = tiny("meld")
    (folder / "train_splits").mkdir()
    for off in (folder.parent, folder / "train_splits"):
        with pytest.raises(DataError, match=rf"is not laid out as corpus meld, and {folder} is; give that one"):
            open_corpus("meld", off)
        with pytest.raises(DataError, match=rf"is not the folder of a corpus, and {folder} is that of meld"):
            guess(off)


def test_a_folder_that_could_be_two_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "train_sent_emo.csv").touch()
    (tmp_path / "shemo.json").touch()
    with pytest.raises(DataError, match="could be meld or shemo; say which with --dataset"):
        guess(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        guess(tmp_path / "nowhere")


def test_another_package_adds_a_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "diary_of_mine.py").write_text(FOREIGN)
    about = tmp_path / "diary_of_mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: diary-of-mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[fedaffect.corpora]\ndiary = diary_of_mine:Diary\nbroken = diary_of_mine:broken\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "diary_of_mine", raising=False)
    assert names()[-2:] == ["diary", "broken"]
    corpus = open_corpus("diary", None, seed=3)
    assert len(corpus) == 1
    assert next(iter(corpus)).sample.text == "Dear diary"
    with pytest.raises(ConfigError, match="'broken' of diary_of_mine:broken is not a class with an 'info'"):
        factory("broken")
