"""Which licences let an app that is sold carry weights, and which licence a bundle has as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from fedaffect.edge.bundle import Manifest

# What commands offer: the best weights, or those that any app may carry.
NON_COMMERCIAL: Final = "non-commercial"
PERMISSIVE: Final = "permissive"
OFFERED: Final = (NON_COMMERCIAL, PERMISSIVE)
# From the one that asks least: to keep a notice, to name changes, to name authors, to share changed weights alike.
SHIPPABLE: Final = ("MIT", "Apache-2.0", "CC BY 4.0", "CC BY-SA 4.0")


def strictest(licences: Iterable[str]) -> str:
    """The licence that asks most; where some do not let an app ship anything, those, each as it is written."""
    found = dict.fromkeys(licences)
    barred = [licence for licence in found if licence not in SHIPPABLE]
    return ", ".join(barred) or max(found, key=SHIPPABLE.index)


def licences_of(manifest: Manifest) -> Mapping[str, str]:
    """Licence of each part, by modality or ``fusion``, as its source states it."""
    sources = {modality: entry.source for modality, entry in manifest.encoders.items()}
    if manifest.fusion is not None:
        sources["fusion"] = manifest.fusion.source
    return {part: source.licence for part, source in sources.items()}


def barred_parts(manifest: Manifest) -> list[str]:
    """Parts that are for research and other non-commercial use."""
    return [part for part, licence in licences_of(manifest).items() if NON_COMMERCIAL in licence]


def as_a_whole(manifest: Manifest) -> str:
    """What a bundle may be used for, in one sentence: as its strictest part allows."""
    parts = licences_of(manifest)
    if barred := barred_parts(manifest):
        return f"research and other non-commercial use ({', '.join(barred)}); no app that is sold may ship it"
    if unknown := [part for part, licence in parts.items() if licence not in SHIPPABLE]:
        return f"as the authors of {', '.join(unknown)} state; ask them whether an app may ship it"
    return f"{strictest(parts.values())}; an app may ship it, and names those whom it learned from"
