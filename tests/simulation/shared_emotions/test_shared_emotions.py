import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.client.corpora.conftest import WRITERS
from tests.support.constructed_materials import WIDTHS, material, one_of_each
from torch import Tensor

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.sample import Waveform
from fedaffect.server.models.alignment.calibrating import NEUTRAL, temperatures
from fedaffect.server.models.alignment.fused import fused_and_alone
from fedaffect.server.models.alignment.material import CORPORA, RAVDESS_DEV, RAVDESS_TEST, Material, read_material
from fedaffect.server.models.alignment.voices import vary as vary_voice
from fedaffect.simulation.shared_emotions.clients import client_data
from fedaffect.simulation.shared_emotions.cohort import build_cohort
from fedaffect.simulation.shared_emotions.faces import vary as vary_face
from fedaffect.simulation.shared_emotions.run import federate, measure, run_config, trained_model
from fedaffect.simulation.shared_emotions.sentences import SENTENCES
from fedaffect.simulation.shared_emotions.settings import SharedConfig

SMALL = SharedConfig(corpora=("ferplus", "ravdess", "meld"), rows_a_client=24)


def test_a_client_is_a_speaker_with_faces_and_dialogues() -> None:
    materials = one_of_each()
    held = client_data(materials, SMALL)
    assert [one.name for one in held] == [f"ravdess/owner-{n}" for n in range(5)]
    for one in held:
        voices = {row["audio"].row for row in one.rows if "audio" in row}
        assert {f"ravdess/{materials[1].owners[row]}" for row in voices} == {one.name}
        assert {tuple(row) for row in one.rows} >= {("text",), ("audio",), ("video",)}
    words = [{row["text"].row for row in one.rows if "text" in row} for one in held]
    assert not any(a & b for n, a in enumerate(words) for b in words[n + 1 :])


def test_constructed_rows_have_equal_labels() -> None:
    materials = one_of_each()
    mixed = [row for one in client_data(materials, SMALL) for row in one.rows if len(row) > 1]
    assert mixed
    for row in mixed:
        assert len({int(materials[p.material].labels[p.row]) for p in row.values()}) == 1


def test_fused_answers_are_compared_with_each_modality_alone() -> None:
    class Sum(torch.nn.Module):
        """Scores are the tokens' own, of whichever modality is there."""

        def forward(self, tokens: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
            return sum((t * present[m][..., None]).sum(1)[:, :7] for m, t in tokens.items())

    found = fused_and_alone(Sum(), _own_scores(), 0)
    assert [(one.subset, one.shown) for one in found] == [("audio+video", "all"), ("audio+video", "one")]
    both, one = found
    # Tokens say their class twice as loudly as neutral ones do, so that the sum is right wherever one shows it.
    assert both.uar == one.uar == max(both.alone.values()) == 1
    assert one.gain > 0.2
    assert max(one.alone.values()) < 0.8


def _own_scores() -> list[Material]:
    found = []
    for corpus, modality in (("ravdess", "audio"), ("ferplus", "video")):
        labels = np.arange(700) % 7
        tokens = np.eye(7, dtype=np.float16)[labels] * np.where(labels == NEUTRAL, 1, 2)[:, None]
        table = TokenTable(tokens.astype(np.float16), np.arange(701))
        votes = np.eye(7, dtype=np.float32)[labels]
        splits = np.full(700, "dev")
        found.append(Material(corpus, modality, (table,), labels, votes, np.full(700, ""), splits))
    return found


def test_only_training_rows_are_held() -> None:
    materials = one_of_each()
    for one in client_data(materials, SMALL):
        for row in one.rows:
            assert all(materials[p.material].splits[p.row] == "train" for p in row.values())


def test_evenness_repeats_rare_classes() -> None:
    rare = material("meld", "text")
    splits = np.where((rare.labels == 3) & (np.arange(len(rare.labels)) % 2 == 0), "", rare.splits)
    materials = [type(rare)(rare.corpus, "text", rare.tables, rare.labels, rare.votes, rare.owners, splits, rare.words)]

    def share(evenness: float) -> float:
        config = SharedConfig(corpora=("meld",), rows_a_client=40, evenness=evenness, seed=1)
        labels = [int(rare.labels[row["text"].row]) for one in client_data(materials, config) for row in one.rows]
        return labels.count(3) / len(labels)

    assert share(1.0) > share(0.0)


def test_the_cohort_is_written_and_opened_again(tmp_path: Path) -> None:
    materials = one_of_each()
    build_cohort(materials, client_data(materials, SMALL), SMALL).save(tmp_path / "cohort")
    cohort = Cohort.load(tmp_path / "cohort")
    assert cohort.widths == WIDTHS
    assert {"dev", "test", "test-meld", "test-ravdess", "test-ferplus"} == set(cohort.splits)
    # Rows of several modalities carry each one's own tokens.
    rows = cohort.rows_of(0)
    counts = cohort.counts(rows)
    assert counts["text"] + counts["audio"] + counts["video"] > counts[""]
    batch = cohort.gather(cohort.splits["test-meld"][:4], train=False)
    there = materials[0].of_split("test")[:4]
    wanted, _ = materials[0].tables[0].padded(there)
    assert np.allclose(batch.tokens["text"].numpy(), wanted)
    assert cohort.soft_labels is not None
    assert np.allclose(cohort.soft_labels.sum(1), 1, atol=1e-5)


@pytest.fixture
def _own_ray() -> Iterator[None]:
    """The federation starts Ray itself, and Ray lets the garbage collector close its files and processes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.mark.usefixtures("_own_ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_federation_learns_all_three_modalities(tmp_path: Path) -> None:
    small = {"width": 16, "heads": 2, "layers": 1, "feedforward": 24, "dropout": 0.0, "token_dropout": 0.0}
    run = run_config(
        tmp_path, "shared", 0, rounds=4, lr=5e-3, local_epochs=2, clients_per_round=9, actors=1, model_options=small
    )
    folder = federate(one_of_each(), SMALL, run)
    # There are five.
    assert folder.config["clients_per_round"] == 5
    model = trained_model(folder, WIDTHS)
    found = {(one.corpus, one.split): one for one in measure(model, one_of_each(), SMALL.corpora)}
    assert set(found) == {(corpus, split) for corpus in SMALL.corpora for split in ("dev", "test")}
    assert min(one.figures["uar"] for one in found.values()) > 0.6


@pytest.mark.usefixtures("_own_ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_words_alone_are_learned_where_no_corpus_has_a_test_split(tmp_path: Path) -> None:
    words = material("goemotions", "text", seed=1)
    splits = np.where(words.splits == "test", "dev", words.splits)
    words = replace(words, splits=splits, owners=np.full_like(words.owners, ""))
    config = replace(SMALL, corpora=("goemotions",))
    small = {"width": 16, "heads": 2, "layers": 1, "feedforward": 24, "dropout": 0.0, "token_dropout": 0.0}
    changes = {"modalities": ("text",), "actors": 1, "model_options": small}
    run = run_config(tmp_path, "words", 0, rounds=4, lr=5e-3, local_epochs=2, clients_per_round=5, **changes)
    # EmoryNLP is read too, and only asked about; lines that it shares would not be trained on.
    asked = material("emorynlp", "text", seed=2)
    materials = [words, replace(asked, words=tuple(line.replace("line", "scene") for line in asked.words))]
    model = trained_model(federate(materials, config, run), {"text": WIDTHS["text"]})
    found = {(one.corpus, one.split): one for one in measure(model, materials, config.corpora)}
    assert set(found) == {("goemotions", "dev"), ("emorynlp", "all")}
    assert min(one.figures["uar"] for one in found.values()) > 0.6
    assert set(temperatures(model, [words])) == {"text"}


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="unknown corpus"):
        SharedConfig(corpora=("mosi",))
    with pytest.raises(ConfigError, match="something to train on"):
        SharedConfig(corpora=())


def test_varied_voices_are_finite_audible_and_repeatable() -> None:
    times = np.arange(32_000) / 16_000
    tone = Waveform((0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32), 16_000)
    seen = set()
    for copy in range(12):
        once, again = vary_voice(tone, copy), vary_voice(tone, copy)
        assert once.sample_rate_hz == again.sample_rate_hz
        assert np.array_equal(once.samples, again.samples)
        assert np.isfinite(once.samples).all()
        assert 0.01 < np.abs(once.samples).max() <= 1.0
        assert len(once.samples) >= 1.2 * 16_000
        seen.add((once.sample_rate_hz, len(once.samples), float(once.samples[1000])))
    assert len(seen) == 12


def test_varied_faces_are_pictures_and_repeatable() -> None:
    face = np.random.default_rng(0).integers(0, 255, (48, 48, 3)).astype(np.uint8)
    counts = set()
    for copy in range(12):
        views = vary_face(face, copy)
        assert views.dtype == np.uint8
        assert views.shape[1:] == (48, 48, 3)
        assert np.array_equal(views, vary_face(face, copy))
        counts.add(len(views))
    assert 1 in counts
    assert max(counts) > 1


def test_every_emotion_has_sentences_of_its_own() -> None:
    lines = [line for lines in SENTENCES.values() for line in lines]
    assert len(lines) == len(set(lines)) == 40
    assert len(SENTENCES) == 7


class Letters:
    """Stands for an encoder of words: one token, from the length of the text."""

    modality, width, key, tokens_per_second = "text", 2, "letters", 0.0

    def prepare(self, source: str) -> Prepared:
        return Prepared(np.array([len(source)]))

    def encode(self, batch: list[Prepared]) -> list[np.ndarray]:
        return [np.array([[one.values[0], 1.0]], np.float32) for one in batch]


def test_real_lines_are_read_with_their_splits(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    found = read_material("emorynlp", shared_data("emorynlp"), [Letters()], False, tmp_path)
    assert found.modality == CORPORA["emorynlp"] == "text"
    assert {"train", "dev", "test", ""} == set(np.unique(found.splits))
    # "powerful" is no shared emotion.
    assert (found.labels[found.splits == ""] == -1).all()
    assert len(found.of_split("train")) == 7000


def test_lines_with_and_without_votes_are_read_together(tmp_path: Path) -> None:
    WRITERS["xed"](tmp_path / "xed")
    found = read_material("xed", tmp_path / "xed", [Letters()], False, tmp_path / "cache")
    # "Other" in words has no votes, and takes no part.
    assert found.splits.tolist().count("train") == len(found.labels) - (found.labels < 0).sum()
    assert (found.labels < 0).any()
    shares = found.votes[found.labels >= 0]
    assert np.allclose(shares.sum(axis=1), 1)
    assert (shares.argmax(axis=1) == found.labels[found.labels >= 0]).all()


def test_lines_that_are_nobodys_are_divided_like_faces() -> None:
    lines = material("goemotions", "text", seed=1)
    lines = replace(lines, owners=np.full(len(lines.labels), ""))
    config = SharedConfig(corpora=("goemotions", "ravdess"), rows_a_client=24)
    held = client_data([lines, material("ravdess", "audio", seed=2)], config)
    words = [{row["text"].row for row in one.rows if "text" in row} for one in held]
    assert all(words)
    assert not any(a & b for n, a in enumerate(words) for b in words[n + 1 :])


def test_held_out_actors_are_never_trained_on(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    class Silence(Letters):
        modality = "audio"

        def prepare(self, source: Path) -> Prepared:
            return Prepared(np.array([1]))

    found = read_material("ravdess", shared_data("ravdess"), [Silence()], False, tmp_path)
    assert len(found.of_split("train")) == 18 * 60
    assert set(found.owners[found.of_split("test")]) == set(RAVDESS_TEST)
    assert set(found.owners[found.of_split("dev")]) == set(RAVDESS_DEV)
