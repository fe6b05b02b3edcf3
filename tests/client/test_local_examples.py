from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fedaffect.client.local_examples import local_cohort
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import label_set
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store import Database, ExampleStore

WIDTHS = {"text": 6, "audio": 4}
KEYS = {"text": "text-encoder", "audio": "audio-encoder"}
LABELS = label_set("shared4")
ANSWER = Prediction("joy", {"joy": 1.0}, 1.0, "edge", ("text",), 1.0, "bundle-1", "no-cloud")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ExampleStore]:
    with Database(tmp_path / "device.sqlite3") as database:
        yield ExampleStore(database)


def add(store: ExampleStore, request_id: str, label: str | None, *, consent: bool = True, audio_key: str = "") -> None:
    rng = np.random.default_rng(sum(request_id.encode()))
    mean = 3.0 * ("joy", "excitement").count(label or "")
    features = {"text": rng.normal(mean, 1, (2, 6)), "audio": rng.normal(-mean, 1, (3, 4))}
    store.add(request_id, features, KEYS | ({"audio": audio_key} if audio_key else {}), ANSWER)
    if label:
        store.label(request_id, label, consent)


def test_a_device_trains_on_its_own_examples_and_gets_better(store: ExampleStore) -> None:
    torch.set_num_threads(1)
    for number in range(24):
        add(store, f"r{number}", "joy" if number % 2 else "sadness")
    cohort = local_cohort(store, labels=LABELS, encoder_keys=KEYS, widths=WIDTHS)
    task = ClientTask(cohort, "cmt", {"width": 16, "heads": 2, "feedforward": 32})
    rows = task.cohort.rows_of(0)
    start = task.initial_weights(0)
    update = task.train(start, TrainConfig(lr=0.1, batch_size=8, local_epochs=6), 0, 1, 0)
    before, after = (task.evaluate(weights, rows).loss_sum for weights in (start, update.weights))
    dev = task.rows_for(0, "dev")
    assert update.metrics["steps"] >= 6
    assert after < 0.7 * before
    assert 0 < len(dev) < len(rows)
    assert not set(dev) & set(rows)


def test_only_what_is_labelled_consented_and_of_these_encoders(store: ExampleStore) -> None:
    add(store, "good", "joy")
    add(store, "merged", "excitement")
    add(store, "no-label", None)
    add(store, "no-consent", "anger", consent=False)
    add(store, "not-in-the-set", "contempt")
    add(store, "other-voice", "anger", audio_key="newer")
    store.add("only-other", {"audio": np.ones((1, 9))}, {"audio": "newer"}, ANSWER)
    store.label("only-other", "joy", consent=True)
    cohort = local_cohort(store, labels=LABELS, encoder_keys=KEYS, widths=WIDTHS, dev_share=0.0)
    assert [cohort.label_names[c] for c in cohort.labels] == ["joy", "joy", "anger"]
    assert cohort.present["text"].tolist() == [True, True, True]
    assert cohort.present["audio"].tolist() == [True, True, False]
    assert cohort.tables["audio"].offsets.tolist() == [0, 3, 6, 6]
    assert np.array_equal(cohort.tables["text"].tokens[:2], store.features(1)["text"])


def test_an_example_stays_on_its_side_when_others_come(store: ExampleStore) -> None:
    def held_out() -> set[str]:
        rows = local_cohort(store, labels=LABELS, encoder_keys=KEYS, widths=WIDTHS, dev_share=0.4).splits["dev"]
        return {store.examples()[row].request_id for row in rows}

    for number in range(10):
        add(store, f"r{number}", "joy" if number % 2 else "sadness")
    before = held_out()
    assert before
    for number in range(10, 20):
        add(store, f"r{number}", "anger")
    assert {request_id for request_id in held_out() if int(request_id[1:]) < 10} == before


def test_nothing_to_learn_from_and_settings_that_make_no_sense(store: ExampleStore) -> None:
    add(store, "no-label", None)
    with pytest.raises(DataError, match="too few"):
        local_cohort(store, labels=LABELS, encoder_keys=KEYS, widths=WIDTHS)
    add(store, "good", "joy")
    # Excitement is joy in this set: whoever learned from these would answer joy whatever it hears.
    add(store, "merged", "excitement")
    with pytest.raises(DataError, match="all examples to learn from are labelled joy"):
        local_cohort(store, labels=LABELS, encoder_keys=KEYS, widths=WIDTHS, dev_share=0.0)
    add(store, "another", "anger")
    with pytest.raises(ConfigError, match="share"):
        local_cohort(store, labels=LABELS, encoder_keys=KEYS, widths=WIDTHS, dev_share=1.0)
    with pytest.raises(ConfigError, match="same modalities"):
        local_cohort(store, labels=LABELS, encoder_keys={"text": "text-encoder"}, widths=WIDTHS)
    with pytest.raises(DataError, match="forget it"):
        local_cohort(store, labels=LABELS, encoder_keys=KEYS, widths=WIDTHS | {"audio": 5}, dev_share=0.0)
