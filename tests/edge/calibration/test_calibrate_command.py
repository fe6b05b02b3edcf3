from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from fedaffect.edge.bundle import Bundle, BundleStore, SigningKey
from fedaffect.edge.calibration import choose_threshold, offload_curve
from fedaffect.edge.calibration.drawing import Panel, curve_svg, curve_text
from fedaffect.edge.calibration.fitting import Target, calibrated_probabilities, fit_all
from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.calibration.writing import subsets_of, write_calibration
from fedaffect.edge.cli.calibrate import calibrate
from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.edge.offload import OffloadConfig, OffloadPolicy

SVG = "{http://www.w3.org/2000/svg}"


def _run(bundle: Path | None, predictions: Predictions, folder: Path, *options: str) -> str:
    predictions.write(folder / "dev.npz")
    arguments = ["--predictions", str(folder / "dev.npz"), "--svg", str(folder / "curve.svg"), *options]
    if bundle is not None:
        arguments += ["--bundle", str(bundle)]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(calibrate, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_fits_draws_and_writes_into_the_bundle(answering_bundle, predictions, tmp_path: Path) -> None:
    before = Bundle.load(answering_bundle).version
    output = _run(answering_bundle, predictions, tmp_path)
    # Loading checks the new signature and every file.
    bundle = Bundle.load(answering_bundle)
    calibration = bundle.manifest.calibration
    assert bundle.version != before
    assert bundle.version in output
    assert calibration.temperatures == pytest.approx({"audio": 3, "text": 3, "text+audio": 3}, rel=0.15)
    assert set(calibration.thresholds) == set(subsets_of(("text", "audio", "video")))
    assert all(0 < t < 1 for t in calibration.thresholds.values())
    assert "of the gap" in output
    assert "●" in output
    drawn = ElementTree.parse(tmp_path / "curve.svg").getroot()
    assert len(drawn.findall(f".//{SVG}path[@class='curve']")) == 4, "all, and three subsets"
    assert not [p for p in answering_bundle.iterdir() if p.name.startswith(".")]


def test_what_is_written_drives_the_policy_to_the_share_asked_for(answering_bundle, predictions, tmp_path) -> None:
    _run(answering_bundle, predictions, tmp_path, "--max-offloaded", "0.2")
    calibration = Bundle.load(answering_bundle).manifest.calibration
    config = OffloadConfig(thresholds=calibration.thresholds, calls_per_minute=None)
    policy = OffloadPolicy(config)
    confidences = calibrated_probabilities(predictions, calibration.temperatures).max(axis=1)
    for subset in ("audio", "text", "text+audio"):
        asked = [
            policy.decide(c, modalities=subset.split("+"), request_bytes=1, privacy="raw").offload
            for c, name in zip(confidences, predictions.subsets, strict=True)
            if name == subset
        ]
        assert 0.15 < np.mean(asked) <= 0.2


def test_temperatures_that_are_kept_give_thresholds_of_their_own(answering_bundle, predictions, tmp_path) -> None:
    told = {"audio": 6.0, "text": 3.0}
    write_calibration(Bundle.load(answering_bundle), told, {}, SigningKey.own())
    _run(answering_bundle, predictions, tmp_path, "--max-offloaded", "0.2", "--keep-temperatures")
    calibration = Bundle.load(answering_bundle).manifest.calibration
    assert {name: calibration.temperatures[name] for name in told} == told
    confidences = calibrated_probabilities(predictions, calibration.temperatures).max(axis=1)
    for subset in ("audio", "text"):
        rows = [name == subset for name in predictions.subsets]
        assert 0.15 < np.mean(confidences[rows] < calibration.thresholds[subset]) <= 0.2


def test_one_threshold_for_all(answering_bundle, predictions, tmp_path: Path) -> None:
    _run(answering_bundle, predictions, tmp_path, "--thresholds", "one", "--keep", "0.8")
    assert len(set(Bundle.load(answering_bundle).manifest.calibration.thresholds.values())) == 1


def test_no_write_leaves_the_bundle_alone(answering_bundle, predictions, tmp_path: Path) -> None:
    before = (answering_bundle / "manifest.json").read_bytes()
    _run(answering_bundle, predictions, tmp_path, "--no-write")
    assert (answering_bundle / "manifest.json").read_bytes() == before


def test_an_installed_bundle_stays_for_rollback(
    answering_bundle, predictions, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDAFFECT_CACHE", str(tmp_path / "cache"))
    store = BundleStore.default()
    installed = store.install(answering_bundle)
    _run(None, predictions, tmp_path)
    current = store.current()
    assert current is not None
    assert current.version != installed.version
    assert current.manifest.calibration.temperatures
    assert store.rollback().version == installed.version


def test_without_the_cloud_the_share_alone_decides(answering_bundle, predictions, tmp_path: Path) -> None:
    alone = Predictions(predictions.logits, predictions.labels, predictions.subsets)
    output = _run(answering_bundle, alone, tmp_path, "--max-offloaded", "0.3")
    assert "no curve" in output
    assert not (tmp_path / "curve.svg").exists()
    report = fit_all(alone, Target(0.3))[0]
    assert 0.28 < report.choice.share <= 0.3
    assert report.staying_accuracy > report.curve.edge_accuracy
    with pytest.raises(ConfigError, match="cloud_logits"):
        fit_all(alone, Target(None, 0.9))


def test_a_target_out_of_reach_is_said_to_be(answering_bundle, predictions, tmp_path: Path) -> None:
    output = _run(answering_bundle, predictions, tmp_path, "--keep", "0.99", "--max-offloaded", "0.05", "--no-write")
    assert "out of reach" in output


def test_calibration_error_falls_and_no_answer_changes(predictions) -> None:
    reports = fit_all(predictions, Target(0.35))
    assert reports[0].error_before > 0.15
    assert all(r.error_after < 0.06 for r in reports)
    after = calibrated_probabilities(predictions, {r.name: r.temperature for r in reports if r.name != "all"})
    np.testing.assert_array_equal(after.argmax(axis=1), predictions.logits.argmax(axis=1))


def test_a_small_subset_takes_the_threshold_of_all(predictions) -> None:
    subsets = ("video", *predictions.subsets[1:])
    overall, *rest = fit_all(
        Predictions(predictions.logits, predictions.labels, subsets, predictions.cloud_logits), Target()
    )
    video = next(r for r in rest if r.name == "video")
    assert video.samples == 1
    assert not video.own
    assert video.choice.threshold == overall.choice.threshold


def test_a_bundle_that_predicts_nothing_is_refused(tiny_bundle, predictions, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="predicts nothing"):
        _run(tiny_bundle, predictions, tmp_path)
    with pytest.raises(ConfigError, match="--predictions FILE or --examples"):
        CliRunner().invoke(calibrate, [], catch_exceptions=False)


def test_values_that_make_no_calibration_leave_the_bundle_sound(answering_bundle) -> None:
    bundle = Bundle.load(answering_bundle)
    with pytest.raises(BundleError, match="positive"):
        write_calibration(bundle, {"audio": math.nan}, {}, SigningKey.own())
    assert Bundle.load(answering_bundle).version == bundle.version


def test_drawings_show_ends_choice_and_awkward_titles(predictions) -> None:
    report = fit_all(predictions, Target(0.35))[0]
    panel = Panel("faces & <voices>", report.curve, report.choice)
    drawn = ElementTree.fromstring(curve_svg([panel, panel], "both"))
    assert "faces & <voices>" in [t.text for t in drawn.iter(f"{SVG}text")]
    assert len(drawn.findall(f".//{SVG}circle")) == 2
    text = curve_text(panel, width=40, height=10).plain
    assert text.count("◆") == 1
    assert f"edge {100 * report.curve.edge_accuracy:.1f} %" in text


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_flat_curve_can_be_drawn(right: float) -> None:
    curve = offload_curve(np.array([0.5]), np.array([right]), np.array([right]))
    panel = Panel("flat", curve, choose_threshold(curve, max_offloaded=1))
    assert ElementTree.fromstring(curve_svg([panel], "flat")) is not None
    assert "◆" in curve_text(panel).plain
