"""The command from corpus tables to a model folder, over a tiny bundle's own encoders."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tests.edge.conftest import make_tiny_bundle

from fedaffect.client.models.registry import build_model
from fedaffect.edge.errors import ConfigError
from fedaffect.server.cli.align import align
from fedaffect.server.models.alignment.storing import save_fusion
from fedaffect.server.models.bundling.fusion import read_fusion
from fedaffect.server.models.full_model.card import ModelCard

WIDTHS = {"text": 6, "audio": 8, "video": 3}
OPTIONS = {"width": 16, "heads": 2, "layers": 1, "feedforward": 16}
LINES = (("i am so happy today", "Joyful"), ("you so sad", "Sad"), ("i am today", "Neutral"), ("you you you", "Mad"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "emorynlp"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        rows = ["Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode"]
        for n, (words, emotion) in enumerate(LINES * 4):
            rows.append(f"{words} in {split},\"['Monica']\",{emotion},{n % 3},{n},1,1")
        (folder / f"emorynlp_{split}_final.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def fusion(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "fusion.safetensors"
    model = build_model("cmt", WIDTHS, 7, OPTIONS)
    save_fusion(
        model, path, options=OPTIONS, widths=WIDTHS, labels="shared7", version="3", temperatures={}, licence="test"
    )
    return path


def test_a_model_folder_is_written(tmp_path: Path, corpus: Path, fusion: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    out = tmp_path / "model"
    arguments = ["--fusion", fusion, "--profile", "edge-features", "--bundle", bundle, "--data", f"emorynlp={corpus}"]
    result = CliRunner().invoke(
        align, [*map(str, arguments), "--steps", "3", "--out", str(out)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "emorynlp test, 16 rows: UAR" in result.output
    card = ModelCard.read(out)
    assert card.version == "edge-features-3"
    assert card.widths == WIDTHS
    assert set(card.temperatures) == {"text"}
    assert set(card.encoder_keys) == {"text"}
    assert json.loads((out / "model.json").read_text())["random_init"] is False
    read_fusion(out / "fusion.safetensors").module()


def test_what_is_there_is_not_overwritten(tmp_path: Path, corpus: Path, fusion: Path) -> None:
    with pytest.raises(ConfigError, match="choose another --out"):
        CliRunner().invoke(
            align,
            ["--fusion", str(fusion), "--data", f"emorynlp={corpus}", "--out", str(corpus)],
            catch_exceptions=False,
        )


def test_a_corpus_is_named_with_its_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(align, ["--data", "meld", "--out", str(tmp_path / "model")])
    assert result.exit_code == 2
    assert "is not NAME=DIR" in result.output
