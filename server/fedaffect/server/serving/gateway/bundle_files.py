"""Single files of a bundle, as pages take them to run it in a browser: checked by the manifest, compressed once."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Final

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.bundle.entries import FileEntry
from fedaffect.edge.bundle.manifest import MANIFEST, Manifest
from fedaffect.edge.bundle.store import usual_bundle_path
from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.files import replacing
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.errors import NotFound, Unavailable

# Weights hardly shrink; what there is to gain level 6 gains.
_LEVEL: Final = 6
_NONE: Final = (
    "no bundle is offered to browsers and this machine has none; make one with fedaffect bundle build, or offer one "
    "with fedaffect server bundles add FOLDER --offer"
)


@dataclass(frozen=True, slots=True)
class ServedBundle:
    """A bundle whose files can be taken one by one.

    Parameters
    ----------
    version : str
        Unique to its content, see `Bundle.version`.
    manifest : bytes
        As it is signed.
    files : mapping of str to FileEntry
        What a page may take: networks and what preprocessing needs, and never what training needs.
    read : callable
        A file's bytes by its name.
    """

    version: str
    manifest: bytes
    files: dict[str, FileEntry]
    read: Callable[[str], bytes]

    @classmethod
    def of_folder(cls, folder: Path) -> ServedBundle:
        """A bundle that lies unpacked; its signature and files are checked.

        Raises
        ------
        BundleError
            If it is none, or not sound.
        """
        bundle = Bundle.load(folder)
        data = (folder / MANIFEST).read_bytes()
        return cls(bundle.version, data, _for_pages(bundle.manifest), lambda name: (folder / name).read_bytes())

    @classmethod
    def of_tar(cls, version: str, tar: Path) -> ServedBundle:
        """A bundle as it is offered to devices; it was checked when it was registered.

        Raises
        ------
        BundleError
            If it is no bundle's tar.
        """

        def read(name: str) -> bytes:
            try:
                with tarfile.open(tar, "r:") as archive:
                    member = archive.extractfile(name)
                    if member is None:
                        raise KeyError(name)
                    return member.read()
            except (OSError, KeyError, tarfile.TarError) as error:
                raise BundleError(f"{tar} cannot be read ({error}); offer the bundle again") from error

        data = read(MANIFEST)
        return cls(version, data, _for_pages(Manifest.parse(data, tar)), read)


class BundleShelf:
    """The bundle that pages run, and its files compressed.

    Compressed files lie in the cache under the hash of what they hold, so that they are made once and not at every
    start; those of another bundle give way to them. The page checks what it gets, so they are not checked again here.

    Parameters
    ----------
    own : Path, optional
        A bundle's folder to serve instead of what is on offer.
    folder : Path, optional
        Where compressed files lie; in the cache if not given.
    """

    def __init__(self, own: Path | None = None, folder: Path | None = None) -> None:
        self._own = own
        self._folder = folder
        self._lock = Lock()
        self._known: dict[str, ServedBundle] = {}

    @property
    def serves_own(self) -> bool:
        """Whether one folder was named to be served, whatever is on offer."""
        return self._own is not None

    def offered(self, version: str, tar: Path) -> ServedBundle:
        """A bundle that is on offer to devices.

        Raises
        ------
        Unavailable
            If its tar is damaged.
        """
        return self._opened(version, lambda: ServedBundle.of_tar(version, tar))

    def usual(self) -> ServedBundle:
        """The folder that was named, or else this machine's own bundle.

        Raises
        ------
        NotFound
            If there is none.
        Unavailable
            If there is one that is not sound.
        """
        folder = self._own or usual_bundle_path()
        try:
            stamp = (folder / MANIFEST).stat()
        except OSError:
            raise NotFound(_NONE) from None
        return self._opened(f"{folder}:{stamp.st_mtime_ns}", lambda: ServedBundle.of_folder(folder))

    def packed(self, bundle: ServedBundle, name: str) -> Path:
        """Where a file of a bundle lies compressed by gzip.

        Raises
        ------
        NotFound
            If the bundle has no such file for pages.
        Unavailable
            If it is not what the manifest says.
        """
        entry = bundle.files.get(name)
        if entry is None:
            raise NotFound(f"bundle {bundle.version} has no file {name!r} for pages; its manifest.json names them")
        path = (self._folder or cache_folder() / "page-bundles") / f"{entry.sha256}.gz"
        with self._lock:
            if path.is_file():
                return path
            try:
                data = bundle.read(name)
            except (BundleError, OSError) as error:
                raise Unavailable(str(error)) from error
            if sha256(data).hexdigest() != entry.sha256:
                raise Unavailable(f"{name} of bundle {bundle.version} is damaged on the server; build the bundle again")
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                part.write_bytes(gzip.compress(data, _LEVEL, mtime=0))
            kept = {each.sha256 for each in bundle.files.values()}
            for other in path.parent.glob("*.gz"):
                if other.stem not in kept:
                    other.unlink(missing_ok=True)
            return path

    def warm(self, bundle: ServedBundle) -> None:
        """Compress all files now, so that nobody waits for it.

        Raises
        ------
        Unavailable
            If one is not what the manifest says.
        """
        for name in bundle.files:
            self.packed(bundle, name)

    def _opened(self, key: str, open_it: Callable[[], ServedBundle]) -> ServedBundle:
        with self._lock:
            if key not in self._known:
                try:
                    opened = open_it()
                except (BundleError, OSError) as error:
                    raise Unavailable(str(error)) from error
                # Few are served at a time; those of before are opened again where somebody still asks.
                self._known = {key: opened}
            return self._known[key]


def _for_pages(manifest: Manifest) -> dict[str, FileEntry]:
    entries = [file for encoder in manifest.encoders.values() for file in encoder.files]
    if manifest.fusion is not None:
        entries.append(manifest.fusion.network)
    return {file.file: file for file in entries}
