"""A full model small enough for a test, with encoders of real classes, and media for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile  # type: ignore[import-untyped]
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from fedaffect.client.models.registry import build_model
from fedaffect.edge.labels import label_set
from fedaffect.server.models.full_model.card import FUSION, ModelCard

_SIZE: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "am", "so", "happy", "sad", "you", "!", ".")


def text_folder(folder: Path) -> Path:
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**_SIZE, vocab_size=len(_WORDS))).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(_WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast: Any = transformers.PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


def speech_folder(folder: Path) -> Path:
    torch.manual_seed(1)
    config = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=250,
    )
    transformers.WhisperModel(config).save_pretrained(folder)
    return folder


def vision_folder(folder: Path) -> Path:
    torch.manual_seed(2)
    transformers.ViTModel(transformers.ViTConfig(**_SIZE, image_size=32, patch_size=8)).save_pretrained(folder)
    return folder


def write_model(folder: Path, card: ModelCard) -> Path:
    card.write(folder)
    torch.manual_seed(3)
    fusion = build_model(card.model, card.widths, len(card.labels), card.options)
    save_file(fusion.state_dict(), folder / FUSION)
    return folder


def card(version: str, profile: str, widths: dict[str, int], sources: dict[str, str]) -> ModelCard:
    names = label_set("shared7").labels
    return ModelCard(
        version=version,
        profile=profile,
        label_set="shared7",
        labels=names,
        options={"width": 16, "heads": 2, "feedforward": 32},
        widths=widths,
        temperatures={"text": 1.5, "text+audio+video": 0.7},
        sources=sources,
    )


def wav(seconds: float, seed: int) -> bytes:
    drawn = np.random.default_rng(seed)
    tone = np.sin(np.arange(int(16_000 * seconds)) * 0.05) * 0.3 + drawn.normal(0, 0.05, int(16_000 * seconds))
    sound = io.BytesIO()
    soundfile.write(sound, tone.astype(np.float32), 16_000, format="WAV")
    return sound.getvalue()


def png(seed: int) -> bytes:
    drawn = np.random.default_rng(seed)
    picture = io.BytesIO()
    Image.fromarray(drawn.integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(picture, "PNG")
    return picture.getvalue()


def cloud_folder(root: Path) -> Path:
    """A model folder with encoders of all modalities below ``root``."""
    makers = {"text": text_folder, "audio": speech_folder, "video": vision_folder}
    sources = {modality: str(make(root / modality)) for modality, make in makers.items()}
    return write_model(root / "model", card("v1", "cloud", {"text": 64, "audio": 64, "video": 32}, sources))
