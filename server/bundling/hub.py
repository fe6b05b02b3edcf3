"""Models of a user's own choice, through transformers' Auto classes: a local folder or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from edge_runtime.bundle import Source
from edge_runtime.errors import BundleError


def load_model(name: str, kinds: tuple[str, ...], family: str) -> Any:
    """A pretrained model in evaluation mode, with plain attention, which exports.

    Parameters
    ----------
    name : str
        Folder or hub id.
    kinds : tuple of str
        ``model_type`` values that the caller can export.
    family : str
        Their name for the error message: ``"BERT-family"``.

    Raises
    ------
    BundleError
        If it cannot be had, or is of another kind.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = load(name, AutoModel, attn_implementation="eager").eval()
    if model.config.model_type not in kinds:
        raise BundleError(f"{name} is a {model.config.model_type} model; {family} takes one of: {', '.join(kinds)}")
    return model


def load(name: str, auto: Any, **options: Any) -> Any:
    """``auto.from_pretrained``, its many errors in one line.

    Raises
    ------
    BundleError
        If the folder or hub id does not give what is asked for.
    """
    folder = Path(name).expanduser()
    if not folder.exists() and (folder.is_absolute() or name.startswith((".", "~"))):
        raise BundleError(f"{name} does not exist; give a folder saved by save_pretrained, or a hub id")
    try:
        return auto.from_pretrained(str(folder) if folder.is_dir() else name, **options)
    # transformers lets through errors of the hub client, of safetensors and of json alike.
    except Exception as error:
        if folder.is_dir():
            first = str(error).strip().partition("\n")[0]
            raise BundleError(f"{name} is not a model folder that transformers can load ({first})") from error
        raise BundleError(
            f"{name} is neither a local folder nor a model that can be fetched from the hub now; "
            f"check the name and the connection, or give a local folder"
        ) from error


def source_of(name: str, config: Any) -> Source:
    """Where a user's model comes from, without the folders of this machine."""
    folder = Path(name).expanduser()
    label = folder.resolve().name if folder.is_dir() else name
    return Source(label, str(getattr(config, "_commit_hash", None) or ""), "as its authors state")
