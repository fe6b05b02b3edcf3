"""The cloud's adapters behind a trunk that devices learned, and a deeper head where that is asked for.

The design's hypothesis is that one trunk serves edge and cloud: devices train edge adapters and trunk, and the server
fits the cloud's adapters with the trunk frozen. ``deep`` puts encoder layers of the cloud's own behind the trunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from fedaffect.client.models.cmt import CrossModalTransformer, cross_modal_transformer
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.models.alignment.material import Material
from fedaffect.server.models.bundling.fusion import FusionWeights

HEADS: Final = ("shared", "deep", "own")
_ADAPTERS: Final = "adapters."
# What decides classes, which a deeper head must be free to change.
_HEAD: Final = ("head_norm.", "head.")


@dataclass(frozen=True, slots=True)
class Aligned:
    """A model for another profile's features, and which of its parameters are to be fitted.

    Parameters
    ----------
    model : CrossModalTransformer
        Trunk and head as devices learned them, adapters fresh.
    options : mapping
        What it was built with.
    widths : mapping of str to int
        By modality.
    trained : tuple of Parameter
        The rest stays frozen.
    """

    model: CrossModalTransformer
    options: Mapping[str, Any]
    widths: Mapping[str, int]
    trained: tuple[nn.Parameter, ...]


def widths_of(materials: Sequence[Material]) -> dict[str, int]:
    """Width of each modality's tokens, in the order of ``MODALITIES``."""
    there = {material.modality: material.tables[0].width for material in materials}
    return {modality: there[modality] for modality in MODALITIES if modality in there}


def behind_trunk(
    fusion: FusionWeights, widths: Mapping[str, int], *, head: str = "shared", layers: int = 1, seed: int = 0
) -> Aligned:
    """Fresh adapters for other encoders, before the trunk of a fusion.

    Parameters
    ----------
    fusion : FusionWeights
        As devices learned it; of model ``cmt``.
    widths : mapping of str to int
        Of the other encoders' tokens, by modality.
    head : {"shared", "deep", "own"}
        ``shared`` fits adapters alone; ``deep`` also further encoder layers behind the trunk's and the head after them;
        ``own`` fits everything from fresh weights, the trunk too: what sharing is measured against.
    layers : int
        How many further layers ``deep`` adds.
    seed : int
        Of fresh weights.

    Raises
    ------
    ConfigError
        If the fusion is of another model, or lacks a modality.
    """
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)
    if fusion.model != "cmt":
        raise ConfigError(f"the trunk of model {fusion.model!r} cannot be shared; align a fusion of model cmt")
    if unknown := [m for m in widths if m not in fusion.widths]:
        raise ConfigError(f"the fusion never learned {', '.join(unknown)}; it knows {', '.join(fusion.widths)}")
    # How its experts multiply is another model's: it follows from what they favour.
    options = {name: value for name, value in fusion.options.items() if name != "experts"}
    own = int(options.get("layers", 1))
    if head == "deep":
        options["layers"] = own + layers
    # The modality embedding has a row for each modality of the fusion, so all its adapters stay.
    every = {m: widths.get(m, fusion.widths[m]) for m in fusion.widths}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = cross_modal_transformer(every, len(fusion.labels), **options)
    if head == "own":
        return Aligned(model, options, every, tuple(model.parameters()))
    kept = {n: t.float() for n, t in fusion.state.items() if not n.startswith(_ADAPTERS)}
    # A cloud model answers the class alone: what a fusion rates besides are the rows behind.
    kept |= {name: tensor[: len(fusion.labels)] for name, tensor in kept.items() if name.startswith("head.")}
    model.load_state_dict(kept, strict=False)
    prefixes = [f"{_ADAPTERS}{modality}." for modality in widths]
    if head == "deep":
        prefixes += [*_HEAD, *(f"encoder.{own + place}." for place in range(layers))]
    trained = tuple(p for n, p in model.named_parameters() if n.startswith(tuple(prefixes)))
    return Aligned(model, options, every, trained)
