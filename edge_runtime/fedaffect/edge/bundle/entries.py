"""The entries of a bundle's manifest: files, where weights come from, encoders, the fusion, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.encoders.base import key_of
from fedaffect.edge.errors import BundleError
from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.subsets import SUBSETS, subset_key

PRECISIONS: Final = ("int8", "fp16", "fp32")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a bundle.

    Parameters
    ----------
    file : str
        Name within the folder.
    size_bytes : int
        Its size.
    sha256 : str
        Hash of its content, hexadecimal.
    """

    file: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if Path(self.file).name != self.file or self.file in ("", ".", ".."):
            raise BundleError(f"a bundle's files lie in its own folder, not at {self.file!r}; build it again")

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """Describe a file as it lies there."""
        return cls(path.name, path.stat().st_size, hash_of(path))


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from.

    Parameters
    ----------
    package : str
        The package, folder or hub id that carries them.
    version : str
        Its version; empty where it has none.
    licence : str
        As its metadata states it.
    """

    package: str
    version: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """The same network in another precision, for devices on which that one is faster.

    Parameters
    ----------
    network : FileEntry
        The ONNX graph.
    precision : str
        As in `EncoderEntry`.
    """

    network: FileEntry
    precision: str


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """One encoder of a bundle.

    Parameters
    ----------
    modality : str
        ``text``, ``audio`` or ``video``.
    network : FileEntry
        The ONNX graph.
    assets : mapping of str to FileEntry
        What preprocessing needs beside it: ``tokenizer``, ``voice``, ``face``.
    width : int
        Of its feature vectors.
    tokens_per_second : float
        How many of them a second; 0 for text, which has one a word-piece.
    precision : str
        ``int8``, ``fp16`` (weights stored in half precision, computed in FP32) or ``fp32``.
    source : Source
        Where the weights come from.
    preprocessing : mapping
        Parameters of the modality's settings.
    latency_ms : mapping
        Measured on one core when the bundle was built: ``fp32``, ``int8``, and ``input`` saying of what.
    fidelity : mapping
        Of INT8 against FP32: ``cosine`` (mean over feature vectors) and the ``bound`` it had to reach.
    alternatives : tuple of Variant
        Other precisions of the same network that the bundle carries too; the device measures and picks.
    """

    modality: str
    network: FileEntry
    assets: Mapping[str, FileEntry]
    width: int
    tokens_per_second: float
    precision: str
    source: Source
    preprocessing: Mapping[str, Any]
    latency_ms: Mapping[str, Any] = field(default_factory=dict)
    fidelity: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES or self.width < 1:
            raise BundleError(f"an encoder of modality {self.modality!r} and width {self.width} makes no sense")

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """The network, its alternatives and its assets."""
        return (self.network, *(variant.network for variant in self.alternatives), *self.assets.values())

    @property
    def variants(self) -> tuple[EncoderEntry, ...]:
        """The encoder in each precision that is there, the usual one first; each has a key of its own."""
        others = (replace(self, network=v.network, precision=v.precision, alternatives=()) for v in self.alternatives)
        return (replace(self, alternatives=()), *others)

    def key(self, without: tuple[str, ...] = (), **options: Any) -> str:
        """Hash over the network in use, its assets and preprocessing parameters, never over what was measured.

        Alternatives do not enter it: another precision gives other features, and has a key of its own.

        Parameters
        ----------
        without : tuple of str
            Assets that are not used.
        **options
            How the encoder was opened, where that changes its result.
        """
        files = {"network": self.network.sha256} | {
            name: asset.sha256 for name, asset in self.assets.items() if name not in without
        }
        return key_of(files, {**self.preprocessing, **options})


@dataclass(frozen=True, slots=True)
class FusionEntry:
    """The network that turns the encoders' tokens into class scores.

    Parameters
    ----------
    network : FileEntry
        The ONNX graph.
    widths : mapping of str to int
        Width of the tokens that it takes, by modality.
    precision : str
        As in `EncoderEntry`.
    source : Source
        Where the weights come from.
    model : str
        Which architecture it is.
    latency_ms, fidelity : mapping
        Measured when the bundle was built.
    weights : FileEntry, optional
        The parameters that the network was made of, in safetensors, for training to start from them.
    population : FileEntry, optional
        How the features of those whom it learned from are spread; see `fedaffect.edge.bundle.population`.
    step : FileEntry, optional
        The training step that a device without torch learns by; see `fedaffect.client.onnx_engine.graph`.
    ratings : sequence of str
        What it says of a sample besides its class, such as ``valence``.
    """

    network: FileEntry
    widths: Mapping[str, int]
    precision: str
    source: Source
    model: str = ""
    latency_ms: Mapping[str, Any] = field(default_factory=dict)
    fidelity: Mapping[str, Any] = field(default_factory=dict)
    weights: FileEntry | None = None
    population: FileEntry | None = None
    step: FileEntry | None = None
    ratings: Sequence[str] = ()

    def __post_init__(self) -> None:
        strange = [m for m, width in self.widths.items() if m not in MODALITIES or not isinstance(width, int)]
        if strange or not self.widths:
            raise BundleError(
                f"a fusion over {list(self.widths)} makes no sense; its modalities are {', '.join(MODALITIES)}"
            )

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """The network, and what else the bundle carries of it."""
        return (self.network, *(file for file in (self.weights, self.population, self.step) if file is not None))


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes confidence mean what it says, by subset of modalities.

    Parameters
    ----------
    temperatures : mapping of str to float
        By which scores are divided before the softmax; 1 for a subset that is not there.
    thresholds : mapping of str to float
        Confidence under which the cloud is asked.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.temperatures, Mapping) or not isinstance(self.thresholds, Mapping):
            raise TypeError("temperatures and thresholds are by subset of modalities")
        for key in (*self.temperatures, *self.thresholds):
            if key not in SUBSETS:
                raise BundleError(f"{key!r} is no subset of modalities; write it as {'+'.join(MODALITIES)}, in order")
        if not all(isfinite(t) and t > 0 for t in self.temperatures.values()):
            raise BundleError("temperatures are positive numbers; calibrate again with: fedaffect edge calibrate")
        if not all(0 <= t <= 1 for t in self.thresholds.values()):
            raise BundleError("thresholds are between 0 and 1; calibrate again with: fedaffect edge calibrate")

    def temperature(self, modalities: Sequence[str]) -> float:
        """For an answer that rests on these modalities, in any order."""
        return float(self.temperatures.get(subset_key(modalities), 1.0))

    def threshold(self, modalities: Sequence[str]) -> float | None:
        """For an answer that rests on these modalities; None where none was chosen."""
        return self.thresholds.get(subset_key(modalities))


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
