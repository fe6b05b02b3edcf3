"""The middle layers of a Whisper encoder, at a clip's real length."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from fedaffect.edge.errors import BundleError
from fedaffect.server.models.bundling.ctranslate2 import read_variables
from fedaffect.server.models.transformers_compat import set_attention


class WhisperLayers(nn.Module):
    """Hidden states after some of the encoder's layers, one beside the other.

    Whisper's own encoder takes 30 s, padded with silence. Here a clip keeps its length and takes the first of the
    position encodings, so that a short clip costs little and silence does not enter its statistics.

    Parameters
    ----------
    encoder : WhisperEncoder
        Any size; layers after the last one wanted are dropped.
    layers : tuple of int
        Counted from 1; 0 is what enters the first layer.
    """

    def __init__(self, encoder: WhisperEncoder, layers: tuple[int, ...]) -> None:
        super().__init__()
        if not layers or not all(0 <= layer <= len(encoder.layers) for layer in layers):
            raise BundleError(f"layers {layers} of an encoder that has {len(encoder.layers)}; choose from those")
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.positions = encoder.embed_positions
        self.layers = encoder.layers[: max(layers)]
        self.wanted = layers

    def forward(self, log_mel: Tensor) -> Tensor:
        """Features of a clip.

        Parameters
        ----------
        log_mel : Tensor, shape (B, bands, T)
            T up to 3000: 100 frames a second.

        Returns
        -------
        Tensor, shape (B, ceil(T / 2), len(layers) * W)
        """
        x = nn.functional.gelu(self.conv1(log_mel))
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)  # (B, T / 2, W)
        x = x + self.positions.weight[: x.shape[1]]
        states = [x]
        for layer in self.layers:
            x = layer(x, None)
            states.append(x)
        return torch.cat([states[layer] for layer in self.wanted], dim=2)


def encoder_from_ctranslate2(path: Path, *more: Path) -> WhisperEncoder:
    """A transformers WhisperEncoder with the weights of a CTranslate2 file, or of one cut into several in order.

    Raises
    ------
    BundleError
        If the file holds no Whisper encoder.
    """
    variables = {
        name: torch.from_numpy(value) for name, value in read_variables(path, *more, prefix="encoder/").items()
    }
    try:
        width, bands, _ = variables["encoder/conv1/weight"].shape
        places = variables["encoder/position_encodings/encodings"].shape[0]
        hidden = variables["encoder/layer_0/ffn/linear_0/weight"].shape[0]
        heads = int(variables["encoder/num_heads"])
        depth = sum(
            name.endswith("self_attention/linear_0/weight") for name in variables if name.startswith("encoder/")
        )
        config = WhisperConfig(
            d_model=width,
            num_mel_bins=bands,
            max_source_positions=places,
            encoder_ffn_dim=hidden,
            encoder_attention_heads=heads,
            encoder_layers=depth,
        )
        set_attention(config, "eager")
        encoder = WhisperEncoder(config)
        encoder.load_state_dict(_state(variables, depth))
    except (KeyError, RuntimeError, ValueError) as error:
        raise BundleError(f"{path} holds no Whisper encoder that this version knows ({error})") from error
    return encoder


def _state(variables: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Names of transformers from those of CTranslate2, which keeps query, key and value in one matrix."""
    state = {"embed_positions.weight": variables["encoder/position_encodings/encodings"]}
    plain = {"conv1": "conv1", "conv2": "conv2", "layer_norm": "layer_norm"}
    for layer in range(depth):
        here, there = f"encoder/layer_{layer}", f"layers.{layer}"
        plain |= {
            f"layer_{layer}/self_attention/layer_norm": f"{there}.self_attn_layer_norm",
            f"layer_{layer}/self_attention/linear_1": f"{there}.self_attn.out_proj",
            f"layer_{layer}/ffn/layer_norm": f"{there}.final_layer_norm",
            f"layer_{layer}/ffn/linear_0": f"{there}.fc1",
            f"layer_{layer}/ffn/linear_1": f"{there}.fc2",
        }
        weights = variables[f"{here}/self_attention/linear_0/weight"].chunk(3)
        biases = variables[f"{here}/self_attention/linear_0/bias"].chunk(3)
        for name, weight, bias in zip(("q_proj", "k_proj", "v_proj"), weights, biases, strict=True):
            state[f"{there}.self_attn.{name}.weight"] = weight
            # Whisper's keys have no bias; CTranslate2 stores zeros there.
            if name != "k_proj":
                state[f"{there}.self_attn.{name}.bias"] = bias
    for ours, theirs in plain.items():
        for suffix, names in (("weight", ("weight", "gamma")), ("bias", ("bias", "beta"))):
            found = next(f"encoder/{ours}/{name}" for name in names if f"encoder/{ours}/{name}" in variables)
            state[f"{theirs}.{suffix}"] = variables[found]
    return state
