"""The exported fusion equals the module it comes from, whatever is missing and however long it is."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from client.models.registry import build_model
from edge_runtime.bundle import Fusion
from edge_runtime.labels import LABEL_SETS
from server.bundling.fusion import finish_fusion, read_fusion
from server.bundling.recipe import METADATA

WIDTHS = {"text": 12, "audio": 8, "video": 6}
LABELS = LABEL_SETS["shared7"].labels


def save(path: Path, model: str = "cmt", **changes: object) -> torch.nn.Module:
    torch.manual_seed(3)
    options = {"width": 32, "feedforward": 48} if model == "cmt" else {}
    module = build_model(model, WIDTHS, len(LABELS), options)
    about = {
        "model": model,
        "options": options,
        "widths": WIDTHS,
        "label_set": "shared7",
        "labels": list(LABELS),
        "version": "1",
        "calibration": {"temperatures": {"text": 1.3, "text+audio": 0.9}},
    } | changes
    state = {name: tensor.half().contiguous() for name, tensor in module.state_dict().items()}
    save_file(state, path, metadata={METADATA: json.dumps(about)})
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return module.eval()


@pytest.mark.parametrize("model", ["cmt", "linear"])
def test_scores_are_torchs_for_every_subset(model: str, tmp_path: Path) -> None:
    module = save(tmp_path / "fusion.safetensors", model)
    weights = read_fusion(tmp_path / "fusion.safetensors")
    (tmp_path / "ready").mkdir()
    entry = finish_fusion(weights, tmp_path, tmp_path / "ready")
    fusion = Fusion(tmp_path / "ready" / entry.network.file, entry, LABELS)
    assert fusion.labels == LABELS
    assert fusion.widths == WIDTHS
    assert weights.calibration.temperature(["audio", "text"]) == 0.9
    rng = np.random.default_rng(0)
    for size in (1, 2, 3):
        for chosen in combinations(WIDTHS, size):
            length = int(rng.integers(1, 40))
            tokens = {m: rng.normal(size=(length, WIDTHS[m])).astype(np.float32) for m in chosen}
            if model == "cmt":  # which takes a sample without placeholders for what it lacks
                given = {m: torch.from_numpy(t)[None] for m, t in tokens.items()}
            else:
                given = {
                    m: torch.from_numpy(tokens.get(m, np.zeros((1, w), np.float32)))[None] for m, w in WIDTHS.items()
                }
            present = {m: torch.full(t.shape[:2], m in chosen) for m, t in given.items()}
            with torch.inference_mode():
                expected = module(given, present)[0].numpy()
            # INT8 may have been taken: that is held to probabilities, not to scores.
            tolerance = 1e-4 if entry.precision == "fp16" else 0.05
            np.testing.assert_allclose(fusion(tokens), expected, atol=tolerance)
