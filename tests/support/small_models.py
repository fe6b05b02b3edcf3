"""Small models of the very classes that users bring, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "am", "so", "happy", "sad", "you", "!", ".")
_WITH_WORDS = ("bert", "distilbert", "roberta")


def model_folders(root: Path, layers: int, channels: int, *, large: bool = False) -> Callable[[str], Path]:
    """Folders as ``save_pretrained`` leaves them, by model type, each made when first asked for.

    Parameters
    ----------
    root : Path
        Where they lie.
    layers : int
        Hidden layers.
    channels : int
        Of the convolutions in front of models of speech.
    large : bool
        Whether Hubert normalises layers, as its large ones do.
    """
    size: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    wave = size | {
        "conv_dim": (channels,) * 3,
        "conv_stride": (5, 8, 8),
        "conv_kernel": (10, 8, 8),
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    }
    hubert = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"} if large else {}
    whisper: dict[str, Any] = {
        "encoder_layers": 3,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    }
    whisper |= {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_source_positions": 250}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "bert": ("Bert", size | {"vocab_size": len(_WORDS)}),
        "distilbert": ("DistilBert", {"vocab_size": 12, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}),
        "roberta": ("Roberta", size | {"vocab_size": len(_WORDS)}),
        "wav2vec2": ("Wav2Vec2", wave),
        "hubert": ("Hubert", wave | hubert),
        "wavlm": ("WavLM", wave),
        "whisper": ("Whisper", whisper),
        "vit": ("ViT", size | {"image_size": 32, "patch_size": 8}),
        "gpt2": ("GPT2", {"vocab_size": len(_WORDS), "n_embd": 16, "n_layer": 1, "n_head": 2}),
    }

    def folder(kind: str) -> Path:
        if not (root / kind).exists():
            name, settings = kinds[kind]
            torch.manual_seed(0)
            model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**settings))
            model.save_pretrained(root / kind)
            if kind in _WITH_WORDS:
                _tokenizer().save_pretrained(root / kind)
        return root / kind

    return folder


def _tokenizer() -> Any:
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(_WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast: Any = transformers.PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
