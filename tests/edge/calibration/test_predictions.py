from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.errors import ConfigError, DataError

NAMES = ("anger", "joy", "neutral", "sadness")


def _write_lines(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _row(**changes):
    return {"logits": [0, 1, 2, 3], "label": "joy", "modalities": ["audio", "text"]} | changes


def test_both_formats_say_the_same(tmp_path: Path, predictions: Predictions) -> None:
    predictions.write(tmp_path / "p.npz")
    rows = [
        {"logits": z.tolist(), "label": NAMES[y], "modalities": m, "cloud_logits": c.tolist()}
        for z, y, m, c in zip(
            predictions.logits, predictions.labels, predictions.subsets, predictions.cloud_logits, strict=True
        )
    ]
    lines = Predictions.read(_write_lines(tmp_path / "p.jsonl", rows), NAMES)
    arrays = Predictions.read(tmp_path / "p.npz", NAMES)
    for found in (lines, arrays):
        np.testing.assert_array_equal(found.logits, predictions.logits)
        np.testing.assert_array_equal(found.labels, predictions.labels)
        np.testing.assert_array_equal(found.cloud_logits, predictions.cloud_logits)
        assert found.subsets == predictions.subsets


def test_modalities_may_stand_in_any_order_and_the_cloud_may_be_missing(tmp_path: Path) -> None:
    found = Predictions.read(_write_lines(tmp_path / "p.jsonl", [_row(), _row(label=3, modalities="video")]), NAMES)
    assert found.subsets == ("text+audio", "video")
    assert found.labels.tolist() == [1, 3]
    assert found.cloud_right is None


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([], "no predictions"),
        ([_row(label="rage")], "'rage' is not one of the bundle's"),
        ([_row(label=4)], "outside 0 to 3"),
        ([_row(label=1.5)], "class number or a name"),
        ([_row(logits=[0, 1])], "scores 2 classes, the bundle 4"),
        ([_row(logits=[0, 1, 2, float("nan")])], "NaN"),
        ([_row(), _row(cloud_logits=[0, 0, 0, 1])], "1 of 2 lines have cloud_logits"),
        ([{"logits": [0, 1, 2, 3]}], "p.jsonl:1 lacks 'labels'"),
        ([[1]], "p.jsonl:1 is no JSON object"),
        ([_row(), _row(logits=[1, 2, 3])], "is not a predictions file"),
    ],
)
def test_what_is_no_predictions_file_is_refused_with_its_place(tmp_path: Path, rows, what: str) -> None:
    with pytest.raises(DataError, match=what):
        Predictions.read(_write_lines(tmp_path / "p.jsonl", rows), NAMES)


def test_an_unknown_modality_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'smell'"):
        Predictions.read(_write_lines(tmp_path / "p.jsonl", [_row(modalities="smell")]), NAMES)


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut off")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    (tmp_path / "text.jsonl").write_bytes(b"\xff\xfe\x00")
    for name in ("cut.npz", "one.npz", "text.jsonl"):
        with pytest.raises(DataError, match="is not a predictions file"):
            Predictions.read(tmp_path / name, NAMES)
    with pytest.raises(DataError, match="is not there"):
        Predictions.read(tmp_path / "none.npz", NAMES)
    with pytest.raises(DataError, match=r"neither .npz nor .jsonl"):
        Predictions.read(tmp_path / "p.csv", NAMES)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    with (tmp_path / "p.npz").open("wb") as stream:
        np.savez(stream, logits=np.zeros((1, 4)), labels=np.array([0]), modalities=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="allow_pickle=False"):
        Predictions.read(tmp_path / "p.npz", NAMES)
