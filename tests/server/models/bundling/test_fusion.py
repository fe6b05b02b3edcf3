"""The exported fusion equals the module it comes from, whatever is missing and however long it is."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fedaffect.client.models.registry import OWN_MODELS, build_model
from fedaffect.edge.bundle import Fusion
from fedaffect.edge.errors import BundleError
from fedaffect.edge.labels import LABEL_SETS
from fedaffect.server.federation.checkpoint import Checkpoint
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.models.bundling.fusion import export_fusion, finish_fusion, read_fusion
from fedaffect.server.models.bundling.recipe import METADATA
from fedaffect.server.trained_fusion import fusion_at

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


@pytest.mark.parametrize(("model", "more"), [("cmt", {}), ("hybrid", {}), ("avt", {"fusion": "late"})])
def test_ratings_come_beside_the_scores(model: str, more: dict[str, str], tmp_path: Path) -> None:
    options = {"width": 32, "feedforward": 48} | more
    module = build_model(model, WIDTHS, len(LABELS) + 2, options, ratings=2).eval()
    save(tmp_path / "fusion.safetensors")
    plain = read_fusion(tmp_path / "fusion.safetensors")
    weights = replace(plain, model=model, options=options, state=module.state_dict(), ratings=("valence", "arousal"))
    (tmp_path / "ready").mkdir()
    entry = finish_fusion(weights, tmp_path, tmp_path / "ready")
    assert read_fusion(tmp_path / "ready" / "fusion.safetensors").ratings == entry.ratings == ("valence", "arousal")
    fusion = Fusion(tmp_path / "ready" / entry.network.file, entry, LABELS)
    tokens = {"text": np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)}
    with torch.inference_mode():
        answers = module({"text": torch.from_numpy(tokens["text"])[None]}, {"text": torch.ones(1, 5).bool()})[0].numpy()
    scores, rated = fusion.answer(tokens)
    np.testing.assert_allclose(scores, answers[: len(LABELS)], atol=0.02)
    assert rated == pytest.approx({"valence": answers[-2], "arousal": answers[-1]}, abs=0.02)
    finished = finish_fusion(plain, tmp_path, tmp_path / "ready")
    assert Fusion(tmp_path / "ready" / finished.network.file, finished, LABELS).answer(tokens)[1] == {}


@pytest.mark.parametrize("model", OWN_MODELS)
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
            given = {m: torch.from_numpy(t)[None] for m, t in tokens.items()}
            present = {m: torch.ones(t.shape[:2], dtype=torch.bool) for m, t in given.items()}
            with torch.inference_mode():
                expected = module(given, present)[0].numpy()
            # INT8 may have been taken: that is held to probabilities, not to scores.
            tolerance = 1e-4 if entry.precision == "fp16" else 0.05
            np.testing.assert_allclose(fusion(tokens), expected, atol=tolerance)
            if model in ("cmt", "cmt-paper"):
                told = fusion.attention(tokens)
                lengths = dict.fromkeys(chosen, length if model == "cmt" else 1)
                assert told.tokens == lengths
                assert told.shares.shape[-2:] == (sum(lengths.values()),) * 2
                np.testing.assert_allclose(told.shares.sum(axis=-1), 1.0, atol=1e-5)
                np.testing.assert_allclose(told.between().sum(axis=1), 1.0, atol=1e-5)
                if model == "cmt":
                    with torch.inference_mode():
                        shares = module.with_attention(given, present)[1][0].numpy()
                    np.testing.assert_allclose(told.shares, shares, atol=1e-3 if entry.precision == "fp16" else 0.05)
            else:
                with pytest.raises(BundleError, match=rf"\({model}\) does not tell its attention"):
                    fusion.attention(tokens)


def test_what_is_no_fusion_of_ours_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "noise.safetensors").write_bytes(bytes(range(64)))
    save_file({"x": torch.zeros(1)}, tmp_path / "silent.safetensors")
    save(tmp_path / "moods.safetensors", label_set="moods9")
    save(tmp_path / "turned.safetensors", labels=list(LABELS[::-1]))
    cut = tmp_path / "cut.safetensors"
    save(cut)
    cut.write_bytes(cut.read_bytes()[:-10])
    names = ("noise", "silent", "moods", "turned", "cut", "nothing")
    for name in names:
        with pytest.raises(BundleError) as caught:
            read_fusion(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)
    save(tmp_path / "narrow.safetensors", widths=WIDTHS | {"text": 13})
    with pytest.raises(BundleError, match="do not fit"):
        read_fusion(tmp_path / "narrow.safetensors").module()


def test_a_stream_that_devices_lack_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "fusion.safetensors")
    weights = replace(read_fusion(tmp_path / "fusion.safetensors"), widths={"text": 12, "audio": 8, "context": 6})
    renamed = {name.replace("adapters.video", "adapters.context"): t for name, t in weights.state.items()}
    with pytest.raises(BundleError, match="no context to fuse"):
        export_fusion(replace(weights, state=renamed), tmp_path / "fusion.onnx")


def test_a_runs_best_round_is_taken(tmp_path: Path) -> None:
    config = RunSettings.of(
        dataset="ravdess",
        out=tmp_path,
        name="voices",
        modalities=("audio",),
        labels="shared7",
        model_options={"width": 16, "feedforward": 16},
    )
    folder = RunFolder.create(config)
    modules = {}
    for number, figure in ((1, 0.2), (2, 0.9), (3, 0.5)):
        torch.manual_seed(number)
        modules[number] = build_model("cmt", {"audio": 8}, 7, config.model.model_options).eval()
        arrays = {name: tensor.numpy() for name, tensor in modules[number].state_dict().items()}
        record = {"round": number, "dev": {config.evaluation.select_by: figure}}
        folder.checkpoints.commit(Checkpoint(number, arrays, {}, {}, record))
        folder.append_metrics(record)
    weights = fusion_at(folder.path)
    assert (weights.source.package, weights.source.version) == ("voices", "round 2")
    assert (weights.widths, weights.labels.labels) == ({"audio": 8}, LABELS)
    tokens = {"audio": torch.randn(1, 5, 8)}
    present = {"audio": torch.ones(1, 5, dtype=torch.bool)}
    with torch.inference_mode():
        torch.testing.assert_close(weights.module()(tokens, present), modules[2](tokens, present))


@pytest.mark.parametrize(("setting", "value"), [("normalise", "client"), ("context", 3)])
def test_runs_on_what_a_device_does_not_compute_are_refused(setting: str, value: object, tmp_path: Path) -> None:
    config = RunSettings.of(dataset="ravdess", out=tmp_path, name="x", labels="shared7", **{setting: value})
    RunFolder.create(config)
    with pytest.raises(BundleError, match=f"--{setting}.*device does not compute"):
        fusion_at(tmp_path / "x")
