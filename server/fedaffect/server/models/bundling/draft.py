"""An encoder exported but not yet measured: what every recipe hands to the builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from fedaffect.edge.bundle import Source
from fedaffect.edge.encoders.speech import SpeechSettings
from fedaffect.edge.encoders.text import TextSettings
from fedaffect.edge.encoders.vision import VisionSettings
from fedaffect.server.models.bundling.precision import Feed

Settings = TextSettings | SpeechSettings | VisionSettings


@dataclass(frozen=True, slots=True)
class Draft:
    """An exported encoder.

    Parameters
    ----------
    modality : str
        ``text``, ``audio`` or ``video``.
    network : Path
        Its FP32 graph.
    settings : Settings
        Preprocessing parameters.
    width : int
        Of its feature vectors, after pooling.
    tokens_per_second : float
        As in the manifest.
    source : Source
        Where the weights come from.
    quantise : callable of (source, target)
        Makes the INT8 graph in the way that suits this kind of network.
    probes : tuple of feeds
        Inputs on which INT8 is compared with FP32; the first is timed.
    probe : str
        What the first probe is.
    bound : float
        Mean cosine that INT8 must reach.
    assets : mapping of str to Path
        Files that preprocessing needs beside the network.
    module : nn.Module, optional
        What was exported, where a student can be made of it.
    scaled : bool
        Whether a voice's tokens are standardised.
    findings : mapping
        What was measured on the way, for the manifest's fidelity.
    """

    modality: str
    network: Path
    settings: Settings
    width: int
    tokens_per_second: float
    source: Source
    quantise: Callable[[Path, Path], None]
    probes: tuple[Feed, ...]
    probe: str
    bound: float
    assets: Mapping[str, Path] = field(default_factory=dict)
    module: nn.Module | None = None
    scaled: bool = True
    findings: Mapping[str, Any] = field(default_factory=dict)
