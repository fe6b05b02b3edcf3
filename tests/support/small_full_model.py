"""A full model of the real classes, small and never trained: BERT, wav2vec2 and ViT of two layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from fedaffect.client.models.registry import build_model
from fedaffect.edge.labels import label_set
from fedaffect.server.models.full_model.card import FUSION, ModelCard

LABELS = label_set("shared7").labels
_SIZE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def small_encoders(folder: Path) -> dict[str, str]:
    """Folders of the three, by modality."""
    torch.manual_seed(0)
    bert = transformers.BertModel(transformers.BertConfig(**_SIZE, vocab_size=8))
    bert.save_pretrained(folder / "bert")
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "am", "happy", "!")
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)  # type: ignore[no-untyped-call]
    fast.save_pretrained(folder / "bert")
    wave: dict[str, Any] = {"conv_dim": (16, 16), "conv_stride": (8, 40), "conv_kernel": (10, 40)}
    wave |= _SIZE | {"num_feat_extract_layers": 2}
    wave |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**wave)).save_pretrained(folder / "wave")
    vit = transformers.ViTModel(transformers.ViTConfig(**_SIZE, image_size=32, patch_size=16))
    vit.save_pretrained(folder / "vit")
    return {"text": str(folder / "bert"), "audio": str(folder / "wave"), "video": str(folder / "vit")}


def write_small_model(folder: Path, **given: object) -> Path:
    """A model folder: what is given of its card, and a fusion of random weights."""
    values = {"version": "v1", "profile": "cloud", "label_set": "shared7", "labels": LABELS} | given
    values.setdefault("options", {"width": 32, "heads": 2, "feedforward": 32})
    card = ModelCard(**values)  # type: ignore[arg-type]
    card.write(folder)
    torch.manual_seed(1)
    fusion = build_model(card.model, card.widths, len(LABELS), card.options)
    save_file({name: tensor.half().contiguous() for name, tensor in fusion.state_dict().items()}, folder / FUSION)
    return folder


def small_media_model(folder: Path, **given: object) -> Path:
    """The folder of a model that takes media, and what else is given of its card."""
    # Two of two layers, half-way and last, stand side by side; a picture's first token stands alone.
    widths = {"text": 64, "audio": 64, "video": 32}
    temperatures = {"text": 2.0, "text+audio+video": 0.5}
    return write_small_model(
        folder / "media", widths=widths, sources=small_encoders(folder), temperatures=temperatures, **given
    )
