"""Which recipe this code makes the edge bundle by, and whether a bundle in the cache is of an older one.

Apart from the builder, whose imports take seconds.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.bundle import MANIFEST, EncoderEntry, Manifest
from fedaffect.edge.errors import BundleError
from fedaffect.server.models.bundling.licences import OFFERED, PERMISSIVE, SHIPPABLE, licences_of, strictest

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
# The fusion that apps may ship: of words alone, behind the words' encoder that they may ship; and its training step.
PERMISSIVE_FUSION: Final = DEFAULT_FUSION.parent / "permissive" / DEFAULT_FUSION.name
PERMISSIVE_STEP: Final = PERMISSIVE_FUSION.with_name(DEFAULT_STEP.name)
METADATA: Final = "fedaffect"
_LARGEST_HEADER: Final = 1 << 20


def is_outdated(folder: Path, licence: str | None = None) -> bool:
    """Whether there is a bundle of ours there that another recipe made, or that lacks the fusion we have by now.

    Only asked of bundles that are made unasked, in the cache. One with an encoder or a fusion that somebody brought is
    theirs, and never outdated.

    Parameters
    ----------
    folder : Path
        Of the bundle; False where there is none.
    licence : {"non-commercial", "permissive"}, optional
        Which one is wanted; a bundle of ours with another is outdated. Either one will do if not given.

    Raises
    ------
    BundleError
        If its manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        return False
    manifest = Manifest.read(folder)
    if BROUGHT in licences_of(manifest).values():
        return False
    return manifest.version != VERSION or _has_other_licence(manifest, licence) or _fusion_is_outdated(manifest)


def _has_other_licence(manifest: Manifest, wanted: str | None) -> bool:
    has = PERMISSIVE if all(licence in SHIPPABLE for licence in licences_of(manifest).values()) else OFFERED[0]
    return manifest.profile == "edge" and wanted not in (None, has)


def _fusion_is_outdated(manifest: Manifest) -> bool:
    ours = own_fusion(manifest.encoders) if manifest.profile == "edge" else None
    if ours is None:
        return False
    made = manifest.fusion
    lacks_people = population_of(ours) is not None and (made is None or made.population is None)
    return made is None or lacks_people or made.source.version != str(describe(ours).get("version"))


def own_fusion(encoders: Mapping[str, EncoderEntry]) -> Path | None:
    """The fusion of ours that learned behind these encoders; None where somebody brought one of them, or none fits.

    Widths alone do not tell: both encoders of words that this project taught are as wide. Their licences do.
    """
    if "text" not in encoders or any(entry.source.licence == BROUGHT for entry in encoders.values()):
        return None
    ours = PERMISSIVE_FUSION if encoders["text"].source.licence in SHIPPABLE else DEFAULT_FUSION
    widths = {modality: entry.width for modality, entry in encoders.items()}
    return ours if ours.is_file() and dict(describe(ours).get("widths", {})) == widths else None


def population_of(fusion: Path) -> Path | None:
    """Those whom a fusion of ours learned from; None where nobody was heard."""
    return DEFAULT_POPULATION if fusion == DEFAULT_FUSION and DEFAULT_POPULATION.is_file() else None


def licence_of_weights(learned_from: Sequence[str]) -> str:
    """What weights of ours are given out under, by the licences of the corpora and encoders that they learned from."""
    return strictest(learned_from) if all(licence in SHIPPABLE for licence in learned_from) else NON_COMMERCIAL


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
