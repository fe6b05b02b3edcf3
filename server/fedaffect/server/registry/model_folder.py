"""What the registry reads of a model folder: its model.json, and nothing of its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.errors import BundleError

FILE: Final = "model.json"
MEDIA: Final = "media"
FEATURES: Final = "features"


@dataclass(frozen=True, slots=True)
class DescribedModel:
    """What a model folder says it is.

    Parameters
    ----------
    version, profile, label_set : str
    """

    version: str
    profile: str
    label_set: str

    @property
    def kind(self) -> str:
        """See :func:`kind_of`."""
        return kind_of(self.profile)


def kind_of(profile: str) -> str:
    """What models of a profile answer: media, or features that a device sends instead of media.

    Each kind of request is split among the versions that answer it, so shares add up to 1 within a kind.
    """
    return FEATURES if profile == "edge-features" else MEDIA


def describe(folder: Path) -> DescribedModel:
    """Read a folder's model.json.

    Raises
    ------
    BundleError
        If it is missing, no JSON, or lacks a name.
    """
    path = folder / FILE
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder} has no {FILE}; name a model folder, as fedaffect server align makes one"
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read ({error}); make the model folder again") from error
    fields = {}
    for name in ("version", "profile", "label_set"):
        value = values.get(name) if isinstance(values, dict) else None
        if not isinstance(value, str) or not value or len(value) > 100:
            raise BundleError(f"{path} lacks {name!r}, a short text; make the model folder again")
        fields[name] = value
    return DescribedModel(**fields)
