from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.onnx_session import open_session
from fedaffect.server.models.bundling.distilling import DistilRequest, distil_draft, requests_of
from fedaffect.server.models.bundling.draft import Draft
from fedaffect.server.models.bundling.text import draft_text
from fedaffect.server.models.distillation.distil import DistilConfig


def test_words_of_the_command_become_requests() -> None:
    (request,) = requests_of(("text",), "meld=some/folder", "1,3,6", 4)
    assert (request.modality, request.corpus, request.data_dir) == ("text", "meld", Path("some/folder"))
    assert request.keep == (1, 3, 6)
    assert request.config.epochs == 4
    (request,) = requests_of(("text",), "synthetic", None, 4)
    assert (request.corpus, request.data_dir) == ("synthetic", None)
    assert requests_of((), None, None, 2) == ()


@pytest.mark.parametrize(
    ("modalities", "data", "keep"),
    [(("text",), None, None), (("text",), "meld", None), (("text",), "meld=x", "one"), ((), "meld=x", None)],
)
def test_what_makes_no_sense_is_refused(modalities: tuple[str, ...], data: str | None, keep: str | None) -> None:
    with pytest.raises(ConfigError):
        requests_of(modalities, data, keep, 2)


@pytest.fixture(scope="module")
def deep_draft(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """Of a text encoder of eight layers: a student of one is far faster, and near but not the same."""
    folder = tmp_path_factory.mktemp("deep")
    shutil.copytree(model_folder("bert"), folder / "model")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=12,
        hidden_size=32,
        num_hidden_layers=8,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.05,
    )
    BertModel(config).save_pretrained(folder / "model")
    return draft_text(str(folder / "model"), folder)


def _request(folder: Path, bound: float) -> DistilRequest:
    """To keep one layer, learned from a constructed corpus in the layout of EmoryNLP."""
    for split in ("train", "dev", "test"):
        lines = ["Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode"]
        said = [("I am so happy!", "Joyful"), ("I am sad.", "Sad"), ("You!", "Mad")] * 3
        lines += [f'"{text}","[\'Ross\']",{emotion},1,{turn},1,1' for turn, (text, emotion) in enumerate(said)]
        (folder / f"emorynlp_{split}_final.csv").write_text("\n".join(lines) + "\n")
    return DistilRequest("text", "emorynlp", folder, (1,), DistilConfig(epochs=1, batch_size=4, bound=bound))


@pytest.mark.slow
def test_a_faster_and_faithful_student_is_taken(deep_draft: Draft, tmp_path: Path) -> None:
    made = distil_draft(deep_draft, _request(tmp_path, bound=0.5), tmp_path)
    found = made.findings["student"]
    assert (found["taken"], found["layers"], found["corpus"]) == (True, [1], "emorynlp")
    assert made.network != deep_draft.network
    assert made.module is not None
    assert made.module is not deep_draft.module
    ids = np.array([[2, 4, 5, 6, 7, 3]])
    (exported,) = open_session(made.network).run(None, {"input_ids": ids})
    with torch.inference_mode():
        trained = made.module(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(exported, trained, atol=1e-4)
    assert exported.shape == (1, 6, deep_draft.width)


def test_an_unfaithful_student_is_refused_and_the_manifest_told_why(deep_draft: Draft, tmp_path: Path) -> None:
    made = distil_draft(deep_draft, _request(tmp_path, bound=1.0), tmp_path)
    found = made.findings["student"]
    assert (found["taken"], found["bound"]) == (False, 1.0)
    assert found["cosine_to_teacher"] < 1.0
    assert (made.network, made.module) == (deep_draft.network, deep_draft.module)


def test_an_encoder_of_which_no_module_is_at_hand_is_refused(deep_draft: Draft, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no student can be made of this text encoder"):
        distil_draft(replace(deep_draft, module=None), _request(tmp_path, bound=0.9), tmp_path)
