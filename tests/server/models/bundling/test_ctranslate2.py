from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from fedaffect.edge.errors import BundleError
from fedaffect.server.models.bundling.ctranslate2 import read_variables
from fedaffect.server.models.bundling.whisper import WhisperLayers, encoder_from_ctranslate2

TYPES = {np.dtype(np.float32): 0, np.dtype(np.int16): 2, np.dtype(np.float16): 4}


def write(path: Path, variables: dict[str, np.ndarray], version: int = 6) -> None:
    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    with path.open("wb") as file:
        file.write(struct.pack("<I", version) + string("WhisperSpec") + struct.pack("<II", 3, len(variables)))
        for name, value in variables.items():
            file.write(string(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape))
            file.write(struct.pack("<BI", TYPES[value.dtype], value.nbytes) + value.tobytes())
        file.write(struct.pack("<I", 0))


def tiny_encoder() -> WhisperEncoder:
    torch.manual_seed(1)
    config = WhisperConfig(
        d_model=16, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=32, max_source_positions=100
    )
    config._attn_implementation = "eager"
    encoder = WhisperEncoder(config).eval().requires_grad_(False)
    for parameter in encoder.parameters():  # biases start at zero, which would hide one in the wrong place
        parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


def as_ctranslate2(encoder: WhisperEncoder) -> dict[str, np.ndarray]:
    """What CTranslate2's converter writes: query, key and value in one matrix, layer norms as gamma and beta."""
    state = {name: value.numpy() for name, value in encoder.state_dict().items()}
    out = {
        "encoder/num_heads": np.array(2, np.int16),
        "encoder/position_encodings/encodings": state["embed_positions.weight"],
    }
    for name in ("conv1", "conv2"):
        out |= {f"encoder/{name}/{kind}": state[f"{name}.{kind}"] for kind in ("weight", "bias")}

    def norm(there: str, here: str) -> None:
        out[f"encoder/{there}/gamma"], out[f"encoder/{there}/beta"] = state[f"{here}.weight"], state[f"{here}.bias"]

    norm("layer_norm", "layer_norm")
    for index in range(len(encoder.layers)):
        here, there = f"layers.{index}", f"layer_{index}"
        norm(f"{there}/self_attention/layer_norm", f"{here}.self_attn_layer_norm")
        norm(f"{there}/ffn/layer_norm", f"{here}.final_layer_norm")
        parts = [state[f"{here}.self_attn.{x}_proj.weight"] for x in "qkv"]
        query, value = (state[f"{here}.self_attn.{x}_proj.bias"] for x in "qv")
        out[f"encoder/{there}/self_attention/linear_0/weight"] = np.concatenate(parts)
        out[f"encoder/{there}/self_attention/linear_0/bias"] = np.concatenate([query, np.zeros_like(query), value])
        names = {"self_attention/linear_1": "self_attn.out_proj", "ffn/linear_0": "fc1", "ffn/linear_1": "fc2"}
        for theirs, ours in names.items():
            for kind in ("weight", "bias"):
                out[f"encoder/{there}/{theirs}/{kind}"] = state[f"{here}.{ours}.{kind}"]
    return out


def test_an_encoder_comes_back_from_its_file(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    write(tmp_path / "model.bin", as_ctranslate2(encoder))
    again = encoder_from_ctranslate2(tmp_path / "model.bin").eval()
    log_mel = torch.randn(1, 80, 200)
    with torch.inference_mode():
        torch.testing.assert_close(again(log_mel).last_hidden_state, encoder(log_mel).last_hidden_state)


def test_layers_equal_those_of_the_whole_encoder() -> None:
    encoder = tiny_encoder()
    log_mel = torch.randn(1, 80, 200)
    with torch.inference_mode():
        expected = encoder(log_mel, output_hidden_states=True).hidden_states
        ours = WhisperLayers(encoder, (0, 2))(log_mel)
        torch.testing.assert_close(ours, torch.cat([expected[0], expected[2]], dim=2))
        short = WhisperLayers(encoder, (1,))(log_mel[:, :, :51])
    assert short.shape == (1, 26, 16)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(BundleError, match="that has 3"):
        WhisperLayers(tiny_encoder(), (4,))


def test_half_precision_is_widened(tmp_path: Path) -> None:
    write(tmp_path / "model.bin", {"a": np.array([[1.5, -2.0]], np.float16)})
    np.testing.assert_array_equal(read_variables(tmp_path / "model.bin")["a"], np.array([[1.5, -2.0]], np.float32))


@pytest.mark.parametrize("kept", [0, 3, 20, 60, 400])
def test_a_file_cut_short_says_so(tmp_path: Path, kept: int) -> None:
    write(tmp_path / "whole.bin", as_ctranslate2(tiny_encoder()))
    (tmp_path / "cut.bin").write_bytes((tmp_path / "whole.bin").read_bytes()[:kept])
    with pytest.raises(BundleError, match=r"cut\.bin"):
        read_variables(tmp_path / "cut.bin")


def test_other_versions_and_models_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "new.bin", {}, version=7)
    with pytest.raises(BundleError, match="version 7"):
        read_variables(tmp_path / "new.bin")
    write(tmp_path / "other.bin", {"decoder/weight": np.ones((2, 2), np.float32)})
    with pytest.raises(BundleError, match="no Whisper encoder"):
        encoder_from_ctranslate2(tmp_path / "other.bin")
