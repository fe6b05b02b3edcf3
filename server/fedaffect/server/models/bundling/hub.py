"""Models of a user's own choice, through transformers' Auto classes: a local folder or a hub id."""

from __future__ import annotations

import re
from pathlib import Path
from socket import getaddrinfo
from typing import Any, Final
from urllib.parse import urlparse
from urllib.request import getproxies

from huggingface_hub.constants import ENDPOINT
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from fedaffect.edge.bundle import Source
from fedaffect.edge.errors import BundleError
from fedaffect.server.models.bundling.recipe import BROUGHT

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def load_model(name: str, kinds: tuple[str, ...], family: str) -> Any:
    """A pretrained model in evaluation mode, with plain attention, which exports.

    Parameters
    ----------
    name : str
        Folder, or hub id with its commit: ``ID@COMMIT``.
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

    Parameters
    ----------
    name : str
        A folder, or a hub id with the commit that is meant, ``ID@COMMIT``: what lies under the id alone may change.
    auto : type
        One of transformers' Auto classes.

    Raises
    ------
    BundleError
        If the folder or hub id does not give what is asked for, or an id names no commit.
    """
    folder = Path(name).expanduser()
    if not folder.exists() and (folder.is_absolute() or name.startswith((".", "~"))):
        raise BundleError(f"{name} does not exist; give a folder saved by save_pretrained, or a hub id")
    local = folder.is_dir()
    if not local:
        id, _, commit = name.partition("@")
        if not _COMMIT.fullmatch(commit):
            raise BundleError(
                f"{name} is no folder, and a hub id names the commit that is meant: {id}@COMMIT, 40 hexadecimal digits "
                f"from its page's history"
            )
        options |= {"revision": commit}
    try:
        return auto.from_pretrained(
            str(folder) if local else id, local_files_only=local or not _hub_answers(), **options
        )
    # transformers lets through errors of the hub client, of safetensors and of json alike.
    except Exception as error:
        if local:
            first = str(error).strip().partition("\n")[0]
            raise BundleError(f"{name} is not a model folder that transformers can load ({first})") from error
        raise BundleError(
            f"{name} is neither a local folder nor a model that can be fetched from the hub now; "
            f"check the name and the connection, or give a local folder"
        ) from error


def _hub_answers() -> bool:
    """Whether the hub's name resolves; where not, its client would retry for half a minute before giving up."""
    if getproxies():
        return True
    try:
        return bool(getaddrinfo(urlparse(ENDPOINT).hostname, 443))
    except OSError:
        return False


def source_of(name: str, config: Any) -> Source:
    """Where a user's model comes from, without the folders of this machine."""
    folder = Path(name).expanduser()
    label = folder.resolve().name if folder.is_dir() else name.partition("@")[0]
    return Source(label, str(getattr(config, "_commit_hash", None) or ""), BROUGHT)
