"""A bundle's calibration goes into the fusion's file, and nothing else changes there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from fedaffect.edge.bundle import RUNTIME, Bundle, Calibration, Manifest
from fedaffect.edge.errors import BundleError
from fedaffect.edge.labels import label_set
from fedaffect.server.models.bundling.carry_calibration import carry_calibration
from fedaffect.server.models.bundling.fusion import read_fusion
from fedaffect.server.models.bundling.recipe import DEFAULT_FUSION

CALIBRATION = Calibration({"text": 1.5, "text+audio": 1.25}, {"text": 0.3})


def calibrated(labels: str) -> Bundle:
    manifest = Manifest("edge", "3", "2026-01-01T00:00:00Z", RUNTIME, {}, label_set(labels), None, CALIBRATION)
    return Bundle(Path("bundle"), manifest, "edge-3-0")


def test_calibration_is_carried_and_weights_stay(tmp_path: Path) -> None:
    fusion = Path(shutil.copy(DEFAULT_FUSION, tmp_path / "fusion.safetensors"))
    before = read_fusion(fusion)
    carry_calibration(calibrated("shared7"), fusion)
    after = read_fusion(fusion)
    assert after.calibration == CALIBRATION
    assert (after.source, after.options, after.widths) == (before.source, before.options, before.widths)
    assert all(torch.equal(tensor, before.state[name]) for name, tensor in after.state.items())
    assert [path.name for path in tmp_path.iterdir()] == ["fusion.safetensors"]


def test_a_bundle_of_other_emotions_is_refused(tmp_path: Path) -> None:
    fusion = Path(shutil.copy(DEFAULT_FUSION, tmp_path / "fusion.safetensors"))
    bytes_before = fusion.read_bytes()
    with pytest.raises(BundleError, match="not built from"):
        carry_calibration(calibrated("meld4"), fusion)
    assert fusion.read_bytes() == bytes_before


def test_the_shipped_fusion_says_when_to_ask_the_cloud() -> None:
    calibration = read_fusion(DEFAULT_FUSION).calibration
    assert {"text", "audio", "video"} <= {*calibration.thresholds}
    assert all(0.2 < threshold < 0.95 for threshold in calibration.thresholds.values())
