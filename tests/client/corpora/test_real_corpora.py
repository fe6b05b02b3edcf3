"""The real corpora, where they are on this machine: every official number, and the traps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from fedaffect.client.corpora.base import Corpus
from fedaffect.client.corpora.census import census, findings
from fedaffect.client.corpora.ferplus import FerPlus
from fedaffect.client.corpora.registry import guess, open_corpus
from fedaffect.edge.labels import label_set
from fedaffect.edge.media.beginning import beginning
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.sample import ZipMember

Shared = Callable[[str], Path]


HERE = ("meld", "emorynlp", "ravdess", "urdu", "nemo", "emobank", "ferplus", "mosi", "shemo", "crema_d")
WORDS = ("goemotions", "xed", "isear", "dailydialog")
# Where a folder is not named as its corpus.
FOLDERS = {"dailydialog": "dailydialog_reccon"}


@pytest.fixture(scope="module", params=(*HERE, *WORDS))
def corpus(request: pytest.FixtureRequest, shared_data: Shared) -> Corpus:
    return open_corpus(request.param, shared_data(FOLDERS.get(request.param, request.param)))


def test_all_official_numbers_agree(corpus: Corpus) -> None:
    utterances = list(corpus)
    found = findings(census(utterances), corpus.info.counts)
    assert [each for each in found if not each.agrees] == []
    assert sum(each.official is not None for each in found) >= 2
    assert max(Counter(u.sample.id for u in utterances).values()) == 1
    assert [u.sample.id for u in utterances[:50]] == [u.sample.id for u in islice(corpus, 50)]


def test_is_recognised(corpus: Corpus, shared_data: Shared) -> None:
    assert guess(shared_data(FOLDERS.get(corpus.info.name, corpus.info.name))) == corpus.info.name


def test_meld_text_is_clean(shared_data: Shared) -> None:
    text = "".join(u.sample.text or "" for u in open_corpus("meld", shared_data("meld")))
    assert not any("\x80" <= c <= "\x9f" for c in text)
    assert "â€" not in text
    assert text.count("’") > 1000


def test_meld_has_86_groups_by_the_fedmultimodal_rule(shared_data: Shared) -> None:
    four = label_set("meld4")
    kept = [u for u in open_corpus("meld", shared_data("meld")) if four.index(u.label) is not None]
    groups = Counter((u.attributes["season"], u.speaker) for u in kept if u.split == "train")
    large = {group: count for group, count in groups.items() if count > 10}
    assert len(large) == 86
    assert sum(large.values()) == 7318


def test_ravdess_clips_exist_and_actors_are_balanced(shared_data: Shared) -> None:
    utterances = list(open_corpus("ravdess", shared_data("ravdess")))
    assert set(Counter(u.client for u in utterances).values()) == {60}
    assert all(isinstance(u.sample.audio, Path) and u.sample.audio.is_file() for u in utterances)
    assert len({u.sample.text for u in utterances}) == 2


def test_the_mosaic_of_real_corpora_shares_nothing_between_splits(shared_data: Shared) -> None:
    corpus = open_corpus("mosaic", shared_data("ferplus").parent)
    utterances = list(corpus)
    assert [each for each in findings(census(utterances), corpus.info.counts) if not each.agrees] == []
    splits: dict[str | None, set[str]] = {}
    for utterance in utterances:
        for what in (utterance.attributes["face"], utterance.sample.text, utterance.client):
            splits.setdefault(what, set()).add(utterance.split)
    assert {len(each) for each in splits.values()} == {1}


def test_ravdess_film_is_seen_and_heard(shared_data: Shared) -> None:
    by_id = {u.sample.id: u.sample for u in open_corpus("ravdess", shared_data("ravdess_av"))}
    assert {name: sample.modalities for name, sample in by_id.items()} == {
        "01-01-01-01-01-01": ("text", "audio", "video"),
        "01-04-01-02-01-01": ("text", "video"),  # the silent film
        "01-08-01-01-02-01": ("text", "audio", "video"),
    }
    spoken = by_id["01-01-01-01-01-01"]
    assert isinstance(spoken.audio, Path)
    assert isinstance(spoken.video, Path)
    heard, _ = beginning(spoken.audio, 10.0)
    assert 3 < len(heard.samples) / heard.sample_rate_hz < 4
    assert decode_video(spoken.video, 2.0, 16).images.shape[0] in (6, 7, 8)


def test_ferplus_published_rule(shared_data: Shared) -> None:
    folder = shared_data("ferplus")
    assert sum(u.split == "test" for u in FerPlus(folder, rule="published")) == 3137
    eight = label_set("ferplus8")
    for utterance in FerPlus(folder):
        assert utterance.votes is not None
        assert sum(utterance.votes) == pytest.approx(1)
        best = max(utterance.votes)
        assert utterance.votes[eight.labels.index(utterance.label)] == best
    assert isinstance(utterance.sample.video, ZipMember)
    assert utterance.sample.video.read().startswith(b"\x89PNG")


def test_mosi_splits_share_no_video_and_features_are_finite(shared_data: Shared) -> None:
    by_split: dict[str, set[str]] = {}
    for utterance in open_corpus("mosi", shared_data("mosi")):
        by_split.setdefault(utterance.split, set()).add(utterance.client)
        assert utterance.features is not None
        assert all(np.isfinite(each).all() for each in utterance.features.values())
    assert {split: len(videos) for split, videos in by_split.items()} == {"train": 51, "dev": 11, "test": 31}
    assert not by_split["train"] & by_split["dev"]
    assert not (by_split["train"] | by_split["dev"]) & by_split["test"]
