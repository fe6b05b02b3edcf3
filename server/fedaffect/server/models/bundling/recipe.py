"""Which recipe this code makes the edge bundle by, and whether a bundle in the cache is of an older one.

Apart from the builder, whose imports take seconds.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.bundle import MANIFEST, Manifest
from fedaffect.edge.errors import BundleError

# Raised whenever the same weights would give other features: other layers, windows or scales.
VERSION: Final = "4"
# What a manifest says of weights that somebody brought; packages state theirs.
BROUGHT: Final = "as its authors state"
# And of weights of ours, which were learned from corpora that allow no more.
NON_COMMERCIAL: Final = "research and other non-commercial use; see LICENSE-WEIGHTS"
# The fusion that this project trained, and the key of a safetensors file under which it is described.
DEFAULT_FUSION: Final = Path(__file__).with_name("trained") / "fusion.safetensors"
# Those whom it learned from; see `fedaffect.server.models.bundling.population`.
DEFAULT_POPULATION: Final = DEFAULT_FUSION.with_name("population.npz")
# What devices without torch learn it with; see `fedaffect.server.models.bundling.step`.
DEFAULT_STEP: Final = DEFAULT_FUSION.with_name("step.onnx.gz")
METADATA: Final = "fedaffect"
_LARGEST_HEADER: Final = 1 << 20


def is_outdated(folder: Path) -> bool:
    """Whether there is a bundle of ours there that another recipe made, or that lacks the fusion we have by now.

    Only asked of bundles that are made unasked, in the cache. One with an encoder or a fusion that somebody brought is
    theirs, and never outdated.

    Parameters
    ----------
    folder : Path
        Of the bundle; False where there is none.

    Raises
    ------
    BundleError
        If its manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        return False
    manifest = Manifest.read(folder)
    sources = [entry.source for entry in manifest.encoders.values()]
    if manifest.fusion is not None:
        sources.append(manifest.fusion.source)
    if any(source.licence == BROUGHT for source in sources):
        return False
    return manifest.version != VERSION or _fusion_is_outdated(manifest)


def _fusion_is_outdated(manifest: Manifest) -> bool:
    if manifest.profile != "edge" or not DEFAULT_FUSION.is_file():
        return False
    ours = describe(DEFAULT_FUSION)
    if dict(ours.get("widths", {})) != {m: entry.width for m, entry in manifest.encoders.items()}:
        return False
    made = manifest.fusion
    lacks_people = DEFAULT_POPULATION.is_file() and (made is None or made.population is None)
    return made is None or lacks_people or made.source.version != str(ours.get("version"))


def describe(path: Path) -> Mapping[str, Any]:
    """What a safetensors file of ours says of its weights, read without torch.

    The format begins with the length of a JSON header, 8 bytes little-endian; free text stands there under
    ``__metadata__``.

    Raises
    ------
    BundleError
        If it is no such file, or says nothing.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LARGEST_HEADER:
                raise BundleError(f"{path} is no safetensors file; give another")
            about = json.loads(json.loads(file.read(length))["__metadata__"][METADATA])
    except (OSError, struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{path} does not say what its weights are ({error!r}); give another") from error
    if not isinstance(about, dict):
        raise BundleError(f"{path} does not say what its weights are; give another")
    return about
