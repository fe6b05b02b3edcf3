"""Opening a bundle: its files checked against the manifest, its encoders opened when asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.bundle.manifest import EncoderEntry, Manifest, hash_of
from edge_runtime.encoders.base import Encoder, read_settings
from edge_runtime.encoders.scale import Scale
from edge_runtime.encoders.speech import SpeechEncoder, SpeechSettings
from edge_runtime.encoders.text import TextEncoder, TextSettings
from edge_runtime.encoders.vision import FACES, VisionEncoder, VisionSettings
from edge_runtime.errors import BundleError, unknown_name


def default_bundle_path(profile: str = "edge") -> Path:
    """Where bundles lie unless said otherwise: under ``$FEDAFFECT_CACHE``, or ``~/.cache/fedaffect``."""
    cache = os.environ.get("FEDAFFECT_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "fedaffect") / "bundles" / profile


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder that a device can run.

    Parameters
    ----------
    path : Path
        The folder.
    manifest : Manifest
        What it holds.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def load(cls, path: Path, verify: bool = True) -> Bundle:
        """Read a bundle's manifest and check its files.

        Parameters
        ----------
        path : Path
            Its folder.
        verify : bool
            Hash every file. Without it, only sizes are compared.

        Raises
        ------
        BundleError
            If there is no bundle, or a file is missing or not what the manifest says.
        """
        manifest = Manifest.read(path)
        for file in {file.file: file for entry in manifest.encoders.values() for file in entry.files}.values():
            here = path / file.file
            if not here.is_file():
                raise BundleError(
                    f"{here} is missing; build the bundle again with: fedaffect bundle build --out {path}"
                )
            if here.stat().st_size != file.size_bytes or (verify and hash_of(here) != file.sha256):
                raise BundleError(
                    f"{here} is not the file that {path / 'manifest.json'} describes; "
                    f"build the bundle again with: fedaffect bundle build --out {path}"
                )
        return cls(path, manifest)

    def encoder(self, modality: str, *, faces: str = "detect", threads: int = 1) -> Encoder:
        """Open the encoder of a modality.

        Parameters
        ----------
        modality : str
            ``text``, ``audio`` or ``video``.
        faces : {"detect", "whole"}
            For video: look for the face, or take each picture as the face that it already is. Part of the key.
        threads : int
            Samples encoded at a time, each on one thread.

        Raises
        ------
        ConfigError
            If the modality or the choice of faces is unknown.
        BundleError
            If the bundle has no such encoder or its files do not open.
        """
        if faces not in FACES:
            raise unknown_name("choice of faces", faces, FACES)
        if modality not in _OPEN:
            raise unknown_name("modality", modality, _OPEN)
        entry = self.manifest.encoders.get(modality)
        if entry is None:
            raise BundleError(f"{self.path} has no {modality} encoder; it has {', '.join(self.manifest.encoders)}")
        return _OPEN[modality](self.path, entry, faces, threads)


def _open_text(folder: Path, entry: EncoderEntry, faces: str, threads: int) -> Encoder:
    settings = read_settings(TextSettings, entry.preprocessing, str(folder))
    network, tokenizer = folder / entry.network.file, _asset(folder, entry, "tokenizer")
    return TextEncoder(network, tokenizer, settings, width=entry.width, key=entry.key(), threads=threads)


def _open_speech(folder: Path, entry: EncoderEntry, faces: str, threads: int) -> Encoder:
    settings = read_settings(SpeechSettings, entry.preprocessing, str(folder))
    network, voice = folder / entry.network.file, _asset(folder, entry, "voice")
    scale = Scale.load(_asset(folder, entry, "scale"), entry.width) if "scale" in entry.assets else None
    return SpeechEncoder(network, voice, settings, width=entry.width, key=entry.key(), threads=threads, scale=scale)


def _open_vision(folder: Path, entry: EncoderEntry, faces: str, threads: int) -> Encoder:
    settings = read_settings(VisionSettings, entry.preprocessing, str(folder))
    face = _asset(folder, entry, "face") if faces == "detect" else None
    key = entry.key(without=() if face else ("face",), faces=faces)
    return VisionEncoder(folder / entry.network.file, face, settings, width=entry.width, key=key, threads=threads)


def _asset(folder: Path, entry: EncoderEntry, name: str) -> Path:
    if name not in entry.assets:
        raise BundleError(f"{folder}: the {entry.modality} encoder lacks its {name} file; build the bundle again")
    return folder / entry.assets[name].file


_OPEN = {"text": _open_text, "audio": _open_speech, "video": _open_vision}
