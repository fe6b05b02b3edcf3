"""Fusion weights as small files: half precision, with everything a reader needs in their metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from safetensors.torch import save_file
from torch import nn

from fedaffect.edge.errors import BundleError
from fedaffect.edge.labels import label_set
from fedaffect.server.models.bundling.recipe import METADATA

# No committed file of weights is larger.
_LARGEST_BYTES: Final = 3_000_000


def save_fusion(
    model: nn.Module,
    path: Path,
    *,
    options: Mapping[str, Any],
    widths: Mapping[str, int],
    labels: str,
    version: str,
    temperatures: Mapping[str, float],
    licence: str,
) -> None:
    """Write a fusion of kind ``cmt`` as FP16 safetensors.

    Parameters
    ----------
    model : nn.Module
    path : Path
    options, widths
        What the model was built with.
    labels : str
        Name of the label set.
    version : str
    temperatures : mapping of str to float
        By subset of the modalities.
    licence : str
        Where its terms stand.

    Raises
    ------
    BundleError
        If the file is larger than 3 MB.
    """
    about = {
        "model": "cmt",
        "options": dict(options),
        "widths": dict(widths),
        "label_set": labels,
        "labels": list(label_set(labels).labels),
        "version": version,
        "licence": licence,
        "calibration": {"temperatures": dict(temperatures)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path, {METADATA: json.dumps(about)})
    if path.stat().st_size > _LARGEST_BYTES:
        raise BundleError(f"{path} has {path.stat().st_size} bytes, more than {_LARGEST_BYTES}; make the model smaller")
