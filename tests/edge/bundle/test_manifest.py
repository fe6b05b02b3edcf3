from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedaffect.edge.bundle import MANIFEST, Bundle, Calibration, FusionEntry, Manifest
from fedaffect.edge.errors import BundleError
from fedaffect.edge.labels import LABEL_SETS

MakeBundle = Callable[..., Path]


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def test_everything_survives_writing(make_bundle: MakeBundle, tmp_path: Path) -> None:
    manifest = Manifest.read(make_bundle())
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert manifest.label_set == LABEL_SETS["shared4"]
    assert isinstance(manifest.fusion, FusionEntry)
    assert {file.file for file in manifest.files} == {"text.onnx", "video.onnx", "video.int8.onnx", "fusion.onnx"}


def test_calibration_is_by_subset_whatever_the_order(make_bundle: MakeBundle) -> None:
    calibration = Manifest.read(make_bundle()).calibration
    assert calibration.temperature(["video", "text"]) == 0.5
    assert calibration.temperature(("text",)) == 2.0
    assert calibration.temperature(["audio"]) == 1.0
    assert (calibration.threshold(["text"]), calibration.threshold(["video"])) == (0.7, None)


@pytest.mark.parametrize(
    ("temperatures", "thresholds"),
    [
        ({"video+text": 1.0}, {}),
        ({"smell": 1.0}, {}),
        ({"text": 0.0}, {}),
        ({"text": float("nan")}, {}),
        ({}, {"text": 1.5}),
    ],
)
def test_calibration_that_makes_no_sense_is_refused(
    temperatures: dict[str, float], thresholds: dict[str, float]
) -> None:
    with pytest.raises(BundleError, match=r"calibrate again|no subset"):
        Calibration(temperatures, thresholds)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda c: c["label_set"].update(name="moods9"), "moods9.*update fedaffect"),
        (lambda c: c["label_set"]["labels"].append("bliss"), "bliss.*build the bundle again"),
        (lambda c: c["label_set"]["labels"].reverse(), "shared4.*build the bundle again"),
        (lambda c: c.update(label_set=None), "without a label set"),
        (lambda c: c["fusion"]["widths"].update(text=5), "width 5.*one of width 4"),
        (lambda c: c["fusion"]["widths"].update(audio=5), "audio.*there is none"),
        (lambda c: c["fusion"]["widths"].update(smell=5), "makes no sense"),
        (lambda c: c["fusion"]["network"].update(file="../x"), "own folder"),
        (lambda c: c["fusion"].pop("network"), "not a bundle's manifest"),
        (lambda c: c["calibration"].update(temperatures={"text": -1}), "positive"),
        (lambda c: c["calibration"].update(temperatures=[1]), "not a bundle's manifest"),
        (lambda c: c.update(profile="../edge"), "profile"),
        (lambda c: c.update(version=3), "version"),
        (lambda c: c.update(minimum_runtime=99), "runtime 99.*update fedaffect"),
        (lambda c: c.update(minimum_runtime="2"), "not a bundle's manifest"),
        (lambda c: c.update(calibratoin={}), "unknown key 'calibratoin'; did you mean 'calibration'"),
        (lambda c: c["fusion"].update(width=4), "unknown key 'width'; did you mean 'widths'"),
        (lambda c: c["encoders"]["text"].update(widht=4), "unknown key 'widht'; did you mean 'width'"),
        (lambda c: c["fusion"]["network"].update(sha265="0"), "unknown key 'sha265'; did you mean 'sha256'"),
        (lambda c: c["calibration"].update(treshold=1), "unknown key 'treshold'"),
        (lambda c: c["encoders"]["video"].update(alternatives=[{}]), "not a bundle's manifest"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(
    make_bundle: MakeBundle, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    folder = make_bundle()
    edit(folder, change)
    with pytest.raises(BundleError, match=why) as caught:
        Bundle.load(folder, trust=None)
    assert "\n" not in str(caught.value)


def test_a_bundle_of_encoders_alone_says_that_it_predicts_nothing(make_bundle: MakeBundle) -> None:
    folder = make_bundle()

    edit(folder, lambda content: content.update(label_set=None, fusion=None))
    bundle = Bundle.load(folder, trust=None)
    assert bundle.manifest.fusion is None
    with pytest.raises(BundleError, match="fedaffect bundle build"):
        bundle.fusion()
