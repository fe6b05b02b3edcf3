"""Which recipe this code makes the edge bundle by, and whether a bundle in the cache is of an older one.

Apart from the builder, whose imports take seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edge_runtime.bundle import MANIFEST, Manifest

# Raised whenever the same weights would give other features: other layers, windows or scales.
VERSION: Final = "2"
# What a manifest says of weights that somebody brought; packages state theirs.
BROUGHT: Final = "as its authors state"


def is_outdated(folder: Path) -> bool:
    """Whether there is a bundle of ours there that another recipe made.

    Only asked of bundles that are made unasked, in the cache. One with an encoder that somebody brought is theirs,
    and never outdated.

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
    brought = any(entry.source.licence == BROUGHT for entry in manifest.encoders.values())
    return manifest.version != VERSION and not brought
