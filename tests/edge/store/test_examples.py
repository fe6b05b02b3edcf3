from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from tests.edge.store.conftest import Wall

from fedaffect.edge.cloud.messages import feedback_request
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store import Database, ExampleStore, Kind, Queue, Retention, StoreError
from fedaffect.edge.store.export import export_examples

DAY_S = 86_400.0
KEYS = {"audio": "key-of-audio", "text": "key-of-text"}


def marked(mark: bytes, rows: int = 40) -> np.ndarray:
    """Features whose float16 bytes can be found in a file."""
    return np.tile(np.frombuffer(mark, "<f2"), (rows, 1))


def fill(store: ExampleStore, prediction: Prediction, *request_ids: str) -> list[int]:
    features = {"audio": np.arange(6.0).reshape(2, 3), "text": np.ones((1, 4), np.float32)}
    return [store.add(request_id, features, KEYS, prediction) for request_id in request_ids]


def test_an_example_comes_back_as_half_precision_with_its_label(database: Database, prediction: Prediction) -> None:
    store = ExampleStore(database)
    (id,) = fill(store, prediction, "r1")
    store.label("r1", "sadness", consent=True)
    (example,) = store.examples()
    assert (example.id, example.request_id, example.predicted, example.label) == (id, "r1", "joy", "sadness")
    assert example.consent is True
    assert example.has_media is False
    assert example.encoder_keys == {"text": "key-of-text", "audio": "key-of-audio"}
    features = store.features(id)
    assert features["audio"].dtype == np.float16
    assert np.array_equal(features["audio"], np.arange(6.0).reshape(2, 3))
    assert list(features) == ["text", "audio"]


def test_added_again_it_stays_as_it_was(database: Database, prediction: Prediction) -> None:
    store = ExampleStore(database)
    (first,) = fill(store, prediction, "r1")
    store.label(first, "anger", consent=True)
    assert fill(store, prediction, "r1") == [first]
    (example,) = store.examples()
    assert example.label == "anger"


def test_consent_can_be_withdrawn(database: Database, prediction: Prediction) -> None:
    store = ExampleStore(database)
    (id,) = fill(store, prediction, "r1")
    store.label(id, "anger", consent=True)
    store.label(id, "anger", consent=False)
    assert store.examples()[0].consent is False


@pytest.mark.parametrize(
    ("features", "keys", "error"),
    [
        ({}, {}, ConfigError),
        ({"smell": np.ones((1, 2))}, {"smell": "k"}, ConfigError),
        ({"audio": np.ones((1, 2))}, {}, ConfigError),
        ({"audio": np.ones(3)}, {"audio": "k"}, DataError),
        ({"audio": np.ones((0, 3))}, {"audio": "k"}, DataError),
        ({"audio": np.full((1, 2), np.nan)}, {"audio": "k"}, DataError),
        ({"audio": np.full((1, 2), 1e6)}, {"audio": "k"}, DataError),
    ],
)
def test_what_is_no_example_is_refused(
    database: Database,
    prediction: Prediction,
    features: dict[str, np.ndarray],
    keys: dict[str, str],
    error: type[Exception],
) -> None:
    store = ExampleStore(database)
    with pytest.raises(error):
        store.add("r1", features, keys, prediction)
    assert store.examples() == []


def test_labels_are_the_vocabularys_and_of_examples_that_exist(database: Database, prediction: Prediction) -> None:
    store = ExampleStore(database)
    fill(store, prediction, "r1")
    with pytest.raises(ConfigError, match="vocabulary"):
        store.label("r1", "hungry", consent=True)
    with pytest.raises(DataError, match="no example"):
        store.label("r2", "joy", consent=True)
    with pytest.raises(DataError, match="no example"):
        store.features(99)


def test_media_only_where_they_were_asked_for(database: Database, prediction: Prediction) -> None:
    features, media = {"audio": np.ones((1, 2))}, {"audio": b"RIFF"}
    with pytest.raises(ConfigError, match="unless the user asks"):
        ExampleStore(database).add("r1", features, KEYS, prediction, media)
    asked = ExampleStore(database, keep_media=True)
    id = asked.add("r1", features, KEYS, prediction, media)
    assert asked.media(id) == media
    assert asked.examples()[0].has_media is True


def test_retention_by_count_keeps_what_is_labelled(database: Database, prediction: Prediction, wall: Wall) -> None:
    store = ExampleStore(database, Retention(examples=3), wall_clock=wall)
    for number in range(5):
        fill(store, prediction, f"r{number}")
        wall.now_s += 1
        if number in (0, 1):
            store.label(f"r{number}", "joy", consent=True)
    assert [e.request_id for e in store.examples()] == ["r0", "r1", "r4"]
    assert [e.request_id for e in store.examples()] == ["r0", "r1", "r4"]


def test_retention_by_age(database: Database, prediction: Prediction, wall: Wall) -> None:
    store = ExampleStore(database, Retention(age_s=10 * DAY_S), wall_clock=wall)
    fill(store, prediction, "old")
    wall.now_s += 6 * DAY_S
    fill(store, prediction, "new")
    wall.now_s += 5 * DAY_S
    # A look deletes nothing.
    assert [e.request_id for e in store.examples()] == ["old", "new"]
    fill(store, prediction, "newest")
    assert [e.request_id for e in store.examples()] == ["new", "newest"]


def test_an_example_from_a_clock_that_ran_ahead_does_not_outstay_its_time(
    database: Database, prediction: Prediction, wall: Wall
) -> None:
    store = ExampleStore(database, Retention(age_s=10 * DAY_S), wall_clock=wall)
    fill(store, prediction, "r1")
    wall.now_s -= 365 * DAY_S
    store.retain()
    assert [e.request_id for e in store.examples()] == ["r1"]
    for _ in range(2):
        wall.now_s += 6 * DAY_S
        store.retain()
    assert store.examples() == []


def test_a_device_that_boots_in_1970_every_day_ages_by_days(
    database: Database, prediction: Prediction, wall: Wall
) -> None:
    store = ExampleStore(database, Retention(age_s=30 * DAY_S), wall_clock=wall)
    wall.now_s = right_s = 56 * 365 * DAY_S
    fill(store, prediction, "r1")
    for _ in range(29):
        wall.now_s = 60.0
        store.retain()
        wall.now_s = right_s = right_s + DAY_S
        store.retain()
    assert [e.request_id for e in store.examples()] == ["r1"]
    wall.now_s += 2 * DAY_S
    store.retain()
    assert store.examples() == []


@pytest.mark.parametrize("jump_s", [-56 * 365 * DAY_S, -DAY_S, 3 * 365 * DAY_S])
def test_a_clock_that_jumps_costs_no_example(
    database: Database, prediction: Prediction, wall: Wall, jump_s: float
) -> None:
    store = ExampleStore(database, Retention(age_s=10 * DAY_S), wall_clock=wall)
    fill(store, prediction, "before")
    wall.now_s += jump_s
    store.retain()
    fill(store, prediction, "while wrong")
    wall.now_s -= jump_s
    store.retain()
    assert [e.request_id for e in store.examples()] == ["before", "while wrong"]


def test_forgotten_is_gone_from_the_files_bytes_and_from_the_queue(
    database: Database, prediction: Prediction, data_folder: Path
) -> None:
    store, queue = ExampleStore(database, keep_media=True), Queue(database)
    secret, kept = b"SecretVoiceBytes", b"KeptVoicesBytes!"
    for request_id, mark in (("secret-request", secret), ("kept-request", kept)):
        features = {"audio": marked(mark)}
        store.add(request_id, features, KEYS, prediction, {"video": b"picture of " + mark})
        upload = feedback_request(
            idempotency_key=f"key-{request_id}",
            request_id=request_id,
            label="joy",
            consent=True,
            features=features,
            encoder_keys=KEYS,
        )
        queue.put(Kind.EXAMPLE, upload, f"key-{request_id}")
    everything = b"".join(file.read_bytes() for file in data_folder.iterdir())
    assert secret in everything
    assert b"secret-request" in everything

    assert store.forget(["secret-request"]) == 1

    left = b"".join(file.read_bytes() for file in data_folder.iterdir())
    assert secret not in left
    assert b"secret-request" not in left
    assert kept in left
    assert [e.request_id for e in store.examples()] == ["kept-request"]
    assert [e.request_id for e in queue.entries()] == ["kept-request"]
    assert store.media(store.examples()[0].id) == {"video": b"picture of " + kept}


def test_forget_older_all_and_what_is_not_there(database: Database, prediction: Prediction, wall: Wall) -> None:
    store = ExampleStore(database, wall_clock=wall)
    fill(store, prediction, "old")
    wall.now_s += 40 * DAY_S
    ids = fill(store, prediction, "a", "b", "c")
    assert store.forget([12345, "nobody"]) == 0
    assert store.forget(older_than_s=30 * DAY_S) == 1
    assert store.forget([ids[0], "a"]) == 1
    assert [e.request_id for e in store.examples()] == ["b", "c"]
    assert store.forget(everything=True) == 2
    assert store.examples() == []


def test_a_reader_elsewhere_is_named_rather_than_the_rest_left_in_the_log(
    database: Database, prediction: Prediction, data_folder: Path
) -> None:
    store = ExampleStore(database)
    fill(store, prediction, "r1", "r2")
    database.rows("PRAGMA busy_timeout = 50")
    reader = sqlite3.connect(data_folder / "device.sqlite3", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM examples").fetchall()
    with pytest.raises(StoreError, match=r"being read elsewhere|another process"):
        store.forget(["r1"])
    reader.execute("COMMIT")
    reader.close()
    assert [e.request_id for e in store.examples()] == ["r2"]
    store.forget()
    assert not any(b"r1" in file.read_bytes() for file in data_folder.glob("*-wal"))


def test_the_export_opens_in_numpy_without_pickle(database: Database, prediction: Prediction, tmp_path: Path) -> None:
    store = ExampleStore(database, keep_media=True)
    store.add("both", {"audio": np.ones((2, 3)), "text": np.ones((1, 4))}, KEYS, prediction, {"audio": b"RIFF"})
    store.add("voice", {"audio": np.full((3, 3), 2.0)}, KEYS, prediction)
    store.add("other-encoder", {"audio": np.full((1, 5), 3.0)}, {"audio": "newer"}, prediction)
    target = tmp_path / "mine.npz"
    assert export_examples(store, target) == 3
    assert target.stat().st_mode & 0o777 == 0o600
    with np.load(target, allow_pickle=False) as exported:
        assert exported["audio.3.offsets"].tolist() == [0, 2, 5, 5]
        assert exported["audio.5.offsets"].tolist() == [0, 0, 0, 1]
        assert exported["audio.3.tokens"].dtype == np.float16
        assert exported["text.offsets"].tolist() == [0, 1, 1, 1]
        assert exported["audio.media.1"].tobytes() == b"RIFF"
        assert '"request_id": "voice"' in str(exported["examples"])
    assert list(tmp_path.glob(".*part")) == []


def test_an_empty_store_exports_too(database: Database, tmp_path: Path) -> None:
    assert export_examples(ExampleStore(database), tmp_path / "mine.npz") == 0
    with pytest.raises(DataError, match="cannot be written"):
        export_examples(ExampleStore(database), tmp_path / "no-folder" / "mine.npz")


def test_what_was_answered_ends_where_the_count_is_round(database: Database, prediction: Prediction) -> None:
    store = ExampleStore(database)
    ends = []
    for number in range(1, 41):
        (id,) = fill(store, prediction, f"r{number}")
        ends.append(store.answered(0, 48)[-1][0])
        assert ends[-1] <= id
    assert ends[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert ends[8:20] == [8, 10, 10, 12, 12, 14, 14, 16, 16, 16, 16, 20]
    assert [one[0] for one in store.answered(0, 3)] == [38, 39, 40]
    assert [one[0] for one in store.answered(37, 48)] == [38, 39, 40]
    store.label("r40", "sadness", consent=True)
    store.label("r39", "sadness", consent=False)
    assert [one[1:] for one in store.answered(37, 48)] == [
        ("joy", prediction.confidence, None),
        ("joy", prediction.confidence, None),
        ("joy", prediction.confidence, "sadness"),
    ]


def test_features_of_other_encoders_are_not_given(database: Database, prediction: Prediction) -> None:
    store = ExampleStore(database)
    first, second = fill(store, prediction, "r1", "r2")
    found = store.features_of("audio", ["key-of-audio", "another"], [first, second, 99])
    assert sorted(found) == [first, second]
    np.testing.assert_array_equal(found[first], np.arange(6.0).reshape(2, 3))
    assert store.features_of("audio", ["another"], [first]) == {}
    assert store.features_of("audio", [], []) == {}
