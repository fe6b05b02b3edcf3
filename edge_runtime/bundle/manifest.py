"""What a bundle says of itself: its files, where they come from, how fast and how faithful they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from json import JSONDecodeError, dumps, loads
from pathlib import Path
from typing import Any, Final

from edge_runtime.encoders.base import key_of
from edge_runtime.errors import BundleError
from edge_runtime.sample import MODALITIES

MANIFEST: Final = "manifest.json"
# Raised when older code could no longer run a new bundle.
RUNTIME: Final = 1


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

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES or self.width < 1:
            raise BundleError(f"an encoder of modality {self.modality!r} and width {self.width} makes no sense")

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """The network and its assets."""
        return (self.network, *self.assets.values())

    def key(self, without: tuple[str, ...] = (), **options: Any) -> str:
        """Hash over the files and preprocessing parameters, never over what was measured.

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
class Manifest:
    """A bundle's table of contents.

    Parameters
    ----------
    profile : str
        ``edge`` or ``cloud``.
    version : str
        Of this bundle.
    created : str
        When it was built, ISO 8601, UTC.
    minimum_runtime : int
        The lowest ``RUNTIME`` that can run it.
    encoders : mapping of str to EncoderEntry
        By modality.
    """

    profile: str
    version: str
    created: str
    minimum_runtime: int
    encoders: Mapping[str, EncoderEntry]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read ``manifest.json`` of a bundle's folder.

        Raises
        ------
        BundleError
            If it is missing, damaged, or asks for a newer runtime.
        """
        path = folder / MANIFEST
        try:
            content = loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BundleError(
                f"{folder} holds no bundle; make one with: fedaffect bundle build --out {folder}"
            ) from None
        except (OSError, UnicodeDecodeError, JSONDecodeError) as error:
            raise BundleError(f"{path} cannot be read ({error}); build the bundle again") from error
        try:
            if content["minimum_runtime"] > RUNTIME:
                raise BundleError(
                    f"{folder} needs runtime {content['minimum_runtime']}, this is {RUNTIME}; update fedaffect"
                )
            encoders = {name: _entry(name, values) for name, values in content.pop("encoders").items()}
            return cls(**content, encoders=encoders)
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{path} is not a bundle's manifest ({error!r}); build the bundle again") from error

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into a folder."""
        content = asdict(self)
        for entry in content["encoders"].values():
            del entry["modality"]
        (folder / MANIFEST).write_text(dumps(content, indent=2) + "\n", encoding="utf-8")


def _entry(modality: str, values: Mapping[str, Any]) -> EncoderEntry:
    known = {f.name for f in fields(EncoderEntry)}
    plain = {name: value for name, value in values.items() if name in known - {"network", "assets", "source"}}
    return EncoderEntry(
        modality=modality,
        network=FileEntry(**values["network"]),
        assets={name: FileEntry(**asset) for name, asset in values["assets"].items()},
        source=Source(**values["source"]),
        **plain,
    )


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
