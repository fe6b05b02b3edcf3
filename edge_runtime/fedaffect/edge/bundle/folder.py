"""Opening a bundle: signature and files checked against the manifest, its networks opened when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from fedaffect.edge.bundle.entries import EncoderEntry, FileEntry, hash_of
from fedaffect.edge.bundle.fusion import Fusion
from fedaffect.edge.bundle.manifest import Manifest, manifest_bytes
from fedaffect.edge.bundle.population import Population, read_populations
from fedaffect.edge.bundle.signature import Trust
from fedaffect.edge.bundle.variants import fastest
from fedaffect.edge.encoders.base import Encoder, read_settings
from fedaffect.edge.encoders.scale import Scale
from fedaffect.edge.encoders.speech import SpeechEncoder, SpeechSettings
from fedaffect.edge.encoders.text import TextEncoder, TextSettings
from fedaffect.edge.encoders.vision import FACES, VisionEncoder, VisionSettings
from fedaffect.edge.errors import BundleError, unknown_name
from fedaffect.edge.labels import LabelSet
from fedaffect.edge.system.folders import cache_folder


def default_bundle_path(profile: str = "edge") -> Path:
    """Where bundles lie unless said otherwise: in the cache."""
    return cache_folder() / "bundles" / profile


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder that a device can run.

    Parameters
    ----------
    path : Path
        The folder.
    manifest : Manifest
        What it holds.
    version : str
        Unique to the content: profile, recipe and the beginning of the manifest's SHA-256.
    """

    path: Path
    manifest: Manifest
    version: str

    @classmethod
    def load(
        cls,
        path: Path,
        verify: bool = True,
        trust: Trust | Literal["default"] | None = "default",
        source: Path | None = None,
    ) -> Bundle:
        """Read a bundle's manifest, check who signed it, and check its files.

        Parameters
        ----------
        path : Path
            Its folder.
        verify : bool
            Hash every file. Without it, only sizes are compared.
        trust : Trust, optional
            Whose bundles to believe; ``"default"`` takes this user's trusted keys. None checks no signature: for
            development.
        source : Path, optional
            What the user knows the bundle as, named in errors: the tar or folder of which ``path`` is a copy.

        Raises
        ------
        BundleError
            If there is no bundle, it is of another runtime, nobody trusted signed it, or a file is missing or not
            what the manifest says.
        """
        data = manifest_bytes(path)
        manifest = Manifest.parse(data, path)
        if trust is not None:
            (trust if isinstance(trust, Trust) else Trust.default()).check(path, data, source)
        for file in manifest.files:
            _check(path, file, verify, source or path)
        return cls(path, manifest, f"{manifest.profile}-{manifest.version}-{sha256(data).hexdigest()[:12]}")

    def fusion(self) -> Fusion:
        """Open the network that turns tokens into class scores.

        Raises
        ------
        BundleError
            If the bundle has none, or its file does not open.
        """
        labels, entry = self.label_set, self.manifest.fusion
        if entry is None:
            raise self._predicts_nothing()
        return Fusion(self.path / entry.network.file, entry, labels.labels)

    def populations(self) -> dict[str, Population]:
        """Whom its fusion learned from, by modality; empty where it does not say.

        Raises
        ------
        BundleError
            If the file is damaged, or of other features or labels.
        """
        entry = self.manifest.fusion
        if entry is None or entry.population is None:
            return {}
        path = self.path / entry.population.file
        found = read_populations(path)
        for modality, population in found.items():
            shape = len(self.label_set), entry.widths.get(modality)
            if any(group.class_means.shape != shape for group in population.groups.values()):
                raise BundleError(f"{path} is of other features or labels than the fusion; build the bundle again")
        return found

    @property
    def label_set(self) -> LabelSet:
        """What it predicts.

        Raises
        ------
        BundleError
            If it has no fusion.
        """
        if self.manifest.label_set is None:
            raise self._predicts_nothing()
        return self.manifest.label_set

    def _predicts_nothing(self) -> BundleError:
        return BundleError(
            f"{self.path} holds encoders alone and predicts nothing; build one that does with: "
            f"fedaffect bundle build --fusion RUN_FOLDER"
        )

    def encoder(
        self, modality: str, *, faces: str = "detect", threads: int = 1, precision: str | None = None
    ) -> Encoder:
        """Open the encoder of a modality.

        Parameters
        ----------
        modality : str
            ``text``, ``audio`` or ``video``.
        faces : {"detect", "whole"}
            For video: look for the face, or take each picture as the face that it already is. Part of the key.
        threads : int
            Samples encoded at a time, each on one thread.
        precision : str, optional
            Of the network, where the bundle has several; if not given, the one that is fastest on this device,
            measured once and remembered. Part of the key.

        Raises
        ------
        ConfigError
            If the modality, the choice of faces or the precision is unknown.
        BundleError
            If the bundle has no such encoder or its files do not open.
        """
        entry = self._entry(modality, faces, precision)
        return _OPEN[modality](self.path, entry, faces, threads)

    def encoder_key(self, modality: str, *, faces: str = "detect", precision: str | None = None) -> str:
        """The key of an encoder, which is not opened for it; arguments and errors are :meth:`encoder`'s."""
        entry = self._entry(modality, faces, precision)
        return _vision_key(entry, faces) if modality == "video" else entry.key()

    def _entry(self, modality: str, faces: str, precision: str | None) -> EncoderEntry:
        if faces not in FACES:
            raise unknown_name("choice of faces", faces, FACES)
        if modality not in _OPEN:
            raise unknown_name("modality", modality, _OPEN)
        entry = self.manifest.encoders.get(modality)
        if entry is None:
            raise BundleError(f"{self.path} has no {modality} encoder; it has {', '.join(self.manifest.encoders)}")
        return _variant(self.path, entry, precision)


def keys_of(entry: EncoderEntry) -> frozenset[str]:
    """Every key that an encoder of a bundle can have: on other processors, another precision of it is opened."""
    if entry.modality != "video":
        return frozenset(variant.key() for variant in entry.variants)
    return frozenset(_vision_key(variant, faces) for variant in entry.variants for faces in FACES)


def _check(folder: Path, file: FileEntry, verify: bool, source: Path) -> None:
    here, named = folder / file.file, source / file.file
    remedy = "get it again" if source.is_file() else f"build it again with: fedaffect bundle build --out {source}"
    try:
        # A link could lead anywhere, and be led elsewhere after this check.
        there = here.is_file() and not here.is_symlink()
        same = there and here.stat().st_size == file.size_bytes and (not verify or hash_of(here) == file.sha256)
    except OSError as error:
        raise BundleError(f"{named} cannot be read ({error}); build or install the bundle again") from error
    if not there:
        raise BundleError(f"{named} is missing from the bundle; {remedy}")
    if not same:
        raise BundleError(
            f"{named} is not the file that {source / 'manifest.json'} describes, and the bundle unsound; {remedy}"
        )


def _variant(folder: Path, entry: EncoderEntry, precision: str | None) -> EncoderEntry:
    if precision is None:
        return entry if not entry.alternatives else fastest(folder, entry)
    there = {variant.precision: variant for variant in entry.variants}
    if precision not in there:
        raise unknown_name(f"precision of the {entry.modality} encoder", precision, there)
    return there[precision]


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
    key = _vision_key(entry, faces)
    return VisionEncoder(folder / entry.network.file, face, settings, width=entry.width, key=key, threads=threads)


def _vision_key(entry: EncoderEntry, faces: str) -> str:
    return entry.key(without=() if faces == "detect" else ("face",), faces=faces)


def _asset(folder: Path, entry: EncoderEntry, name: str) -> Path:
    if name not in entry.assets:
        raise BundleError(f"{folder}: the {entry.modality} encoder lacks its {name} file; build the bundle again")
    return folder / entry.assets[name].file


_OPEN = {"text": _open_text, "audio": _open_speech, "video": _open_vision}
