"""Real models as small as they come: random weights, the classes that users have."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from fedaffect.server.models.bundling.build import BuildConfig, build_bundle

_SIZE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
_WAVE = _SIZE | {
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 8, 8),
    "conv_kernel": (10, 8, 8),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_MODELS = {
    "bert": ("Bert", _SIZE | {"vocab_size": 12}),
    "distilbert": ("DistilBert", {"vocab_size": 12, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}),
    "roberta": ("Roberta", _SIZE | {"vocab_size": 12}),
    "wav2vec2": ("Wav2Vec2", _WAVE),
    "hubert": ("Hubert", _WAVE | {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}),
    "wavlm": ("WavLM", _WAVE),
    "whisper": (
        "Whisper",
        {"d_model": 32, "encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 2}
        | {"decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_source_positions": 250},
    ),
    "vit": ("ViT", _SIZE | {"image_size": 32, "patch_size": 8}),
    "gpt2": ("GPT2", {"vocab_size": 12, "n_embd": 16, "n_layer": 1, "n_head": 2}),
}


def _tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "am", "so", "happy", "sad", "you", "!", ".")
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


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
            if kind in ("bert", "distilbert", "roberta"):
                _tokenizer().save_pretrained(root / kind)
            made[kind] = root / kind
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def small_models(model_folder: Callable[[str], Path]) -> BuildConfig:
    """What builds a bundle of such models."""
    kinds = {"text": "bert", "speech": "hubert", "vision": "vit"}
    models = {flag: str(model_folder(kind)) for flag, kind in kinds.items()}
    return BuildConfig(profile="cloud", quantise=False, **models)


@pytest.fixture(scope="session")
def _built(small_models: BuildConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built-once") / "cloud"
    build_bundle(small_models, folder)
    return folder


@pytest.fixture
def built_at(_built: Path) -> Callable[[Path], Path]:
    """Puts a bundle of such models somewhere, as if it had been built there."""

    def put(folder: Path) -> Path:
        return Path(shutil.copytree(_built, folder))

    return put
