"""The words' encoder that this project taught: MiniLM from its package, with layers of our own and tokens for emoji.

Only what differs from the package is kept, in half precision, beside its card.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import AutoTokenizer

from fedaffect.edge.bundle import Source
from fedaffect.edge.errors import BundleError
from fedaffect.server.models.bundling.hub import load, load_model
from fedaffect.server.models.bundling.packages import MINILM
from fedaffect.server.models.bundling.recipe import METADATA, describe
from fedaffect.server.models.encoders.words.emoji import add_emoji

UPPER: Final = Path(__file__).with_name("trained") / "upper.safetensors"
# Taught only by corpora whose licences let an app ship what they taught; what it asks in return stands beside it.
PERMISSIVE_UPPER: Final = UPPER.parent / "permissive" / UPPER.name
PERMISSIVE_TERMS: Final = PERMISSIVE_UPPER.with_name("LICENSE-WEIGHTS")
_LAYERS: Final = "encoder.layer."


def untaught_words() -> tuple[Any, Any]:
    """MiniLM as it comes, with tokens for emoji, and its tokenizer; in FP32, ready to infer.

    Raises
    ------
    BundleError
        If its package is missing or damaged.
    """
    where = str(MINILM.file("model"))
    model, tokenizer = load_model(where, ("bert",), "--text"), load(where, AutoTokenizer, use_fast=True)
    add_emoji(model, tokenizer)
    return model, tokenizer


def taught_words(upper: Path = UPPER) -> tuple[Any, Any]:
    """The encoder that devices and cloud read words with, and its tokenizer; in FP32, ready to infer.

    Parameters
    ----------
    upper : Path
        As :func:`save_upper` writes it.

    Raises
    ------
    BundleError
        If MiniLM's package or our layers are missing or damaged.
    """
    model, tokenizer = untaught_words()
    try:
        with safe_open(upper, "pt") as file:
            taught = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{upper} cannot be read ({error}); install fedaffect again") from error
    found = model.load_state_dict(taught, strict=False)
    if found.unexpected_keys or not taught:
        raise BundleError(f"{upper} does not fit MiniLM; install fedaffect again")
    return model, tokenizer


def save_upper(model: Any, frozen: int, path: Path, version: str, licence: str) -> None:
    """Write the layers above the first ``frozen``, in half precision.

    Parameters
    ----------
    model : transformers.BertModel
    frozen : int
    path : Path
    version, licence : str
        For the manifests of bundles that are made of them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    above = {
        name: tensor.to(torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if name.startswith(_LAYERS) and int(name.removeprefix(_LAYERS).partition(".")[0]) >= frozen
    }
    about = {"name": "fedaffect words", "version": version, "licence": licence}
    save_file(above, path, metadata={METADATA: json.dumps(about)})


def words_source(upper: Path = UPPER) -> Source:
    """Name, version and licence, for the manifest; MiniLM's release stands in the version, since most of it is that."""
    about, beneath = describe(upper), MINILM.source()
    return Source(
        str(about["name"]), f"{about['version']} on {beneath.package} {beneath.version}", str(about["licence"])
    )
