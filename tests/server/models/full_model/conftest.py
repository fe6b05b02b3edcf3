"""Small models of the very classes that users bring, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

_SIZE = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
_WAVE = _SIZE | {
    "conv_dim": (96, 96, 96),
    "conv_stride": (5, 8, 8),
    "conv_kernel": (10, 8, 8),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_MODELS = {
    "bert": ("Bert", _SIZE | {"vocab_size": 12}),
    "wav2vec2": ("Wav2Vec2", _WAVE),
    "hubert": ("Hubert", _WAVE | {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}),
    "wavlm": ("WavLM", _WAVE),
    "whisper": (
        "Whisper",
        {"d_model": 32, "encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 2}
        | {"decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_source_positions": 250},
    ),
    "vit": ("ViT", _SIZE | {"image_size": 32, "patch_size": 8}),
}


def _tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "am", "so", "happy", "sad", "you", "!", ".")
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder saved by save_pretrained, by model type."""
    root, made = tmp_path_factory.mktemp("models"), {}

    def folder(kind: str) -> Path:
        if kind not in made:
            name, settings = _MODELS[kind]
            torch.manual_seed(0)
            model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**settings))
            model.save_pretrained(root / kind)
            if kind == "bert":
                _tokenizer().save_pretrained(root / kind)
            made[kind] = root / kind
        return made[kind]

    return folder
