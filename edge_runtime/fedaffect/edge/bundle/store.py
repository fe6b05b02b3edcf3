"""The bundles of one device: versions side by side, one of them current, the one before kept for rollback.

Which is current stands in one small file that is replaced in one step, so that a reader sees the old version or the
new one and never half of either. Beside it stands, for each signer, when the newest of its bundles was built that was
in use: somebody who sends an old one again, with its true signature, takes no device back to it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, Literal

from fedaffect.edge.bundle.archive import unpack
from fedaffect.edge.bundle.folder import Bundle, default_bundle_path
from fedaffect.edge.bundle.manifest import MANIFEST, Manifest
from fedaffect.edge.bundle.signature import SIGNATURE, Trust, signer
from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.files import write_whole

_POINTER: Final = "current.json"
_VERSIONS: Final = "versions"
# Behind the name of the folder of the bundle that is built on this machine.
_INSTALLED: Final = "-installed"
# The current one, the one before for rollback, and one more: a reader may be opening what was current just now.
_KEPT: Final = 3


class BundleStore:
    """A folder of bundles.

    Parameters
    ----------
    folder : Path
        Made when the first bundle is installed.
    trust : Trust, "default" or None
        As for `Bundle.load`; asked at each installation and each opening.
    """

    def __init__(self, folder: Path, trust: Trust | Literal["default"] | None = "default") -> None:
        self.folder = folder
        self.trust = trust

    @classmethod
    def default(cls, profile: str = "edge") -> BundleStore:
        """The store beside the bundle that is built in the cache."""
        path = default_bundle_path(profile)
        return cls(path.with_name(f"{path.name}{_INSTALLED}"))

    def current(self, verify: bool = True) -> Bundle | None:
        """The bundle to use; None where none was installed.

        Raises
        ------
        BundleError
            If it is damaged.
        """
        while True:
            history = self._history()
            if not history:
                return None
            try:
                return Bundle.load(self.path_of(history[0]), verify=verify, trust=self.trust)
            except BundleError:
                # Others may have installed so many meanwhile that this one is gone.
                if self._history()[:1] == history[:1]:
                    raise

    def versions(self) -> list[str]:
        """Versions that can be used, the current one first, then by how lately each was current."""
        return self._history()

    def path_of(self, version: str) -> Path:
        """The folder of a version."""
        return self.folder / _VERSIONS / version

    def install(self, source: Path, *, allow_older: bool = False) -> Bundle:
        """Copy a bundle in, check it, and make it the current one; until the last step nothing changes.

        Parameters
        ----------
        source : Path
            A bundle's folder or its tar.
        allow_older : bool
            Take one that was built before the newest of its signer that was in use.

        Raises
        ------
        BundleError
            If it is not sound, not to be trusted, or older, or the disk is full.
        """
        try:
            with self._locked(), self._scratch() as scratch:
                incoming = scratch / "bundle"
                if source.is_dir():
                    _copy(source, incoming)
                elif source.is_file():
                    unpack(source, incoming)
                else:
                    raise BundleError(f"{source} does not exist; give a bundle's folder or its tar")
                # Checked where it will be used from, so that nobody changes it between check and use.
                bundle = Bundle.load(incoming, trust=self.trust, source=source)
                newest = self._newest()
                if not allow_older:
                    _refuse_older(bundle, newest)
                target = self.path_of(bundle.version)
                if target.exists() and not self._sound(target):
                    target.rename(scratch / "damaged")
                if not target.exists():
                    incoming.rename(target)
                newest[_lineage(target)] = bundle.manifest.created
                self._point([bundle.version, *(v for v in self._history() if v != bundle.version)], newest)
        except OSError as error:
            raise BundleError(f"{source} cannot be installed in {self.folder} ({error}); make room there") from error
        return Bundle(target, bundle.manifest, bundle.version)

    @property
    def way_back(self) -> str:
        """How to return to the bundle that was in use before, in words; empty where there was none."""
        before = len(self._history()) > 1 or (self._built / MANIFEST).is_file()
        return "; back to the one before: fedaffect bundle rollback" if before else ""

    @property
    def _built(self) -> Path:
        """The bundle that was built on this machine."""
        return self.folder.with_name(self.folder.name.removesuffix(_INSTALLED))

    def rollback(self) -> Bundle:
        """Make the version before the current one the current one again; a second call returns to the first.

        Before the first one that was installed, the bundle that was built on this machine was in use.

        Raises
        ------
        BundleError
            If there is none, or it is damaged.
        """
        with self._locked():
            history = self._history()
            if len(history) > 1:
                bundle = Bundle.load(self.path_of(history[1]), trust=self.trust)
                # Who goes back on purpose may go further: what is left behind is no measure any more.
                newest = self._newest()
                newest.pop(_lineage(self.path_of(history[0])), None)
                newest[_lineage(bundle.path)] = bundle.manifest.created
                self._point([history[1], history[0], *history[2:]], newest)
                return bundle
        built = self._built
        if not history or not (built / MANIFEST).is_file() or Bundle.load(built, trust=self.trust).version in history:
            raise BundleError(f"{self.folder} holds no earlier bundle to go back to; install one")
        return self.install(built, allow_older=True)

    def _sound(self, path: Path) -> bool:
        try:
            Bundle.load(path, trust=self.trust)
        except BundleError:
            return False
        return True

    def _history(self) -> list[str]:
        return self._pointer()[0]

    def _newest(self) -> dict[str, str]:
        """By signer, when the newest of its bundles that was in use was built."""
        return self._pointer()[1]

    def _pointer(self) -> tuple[list[str], dict[str, str]]:
        path = self.folder / _POINTER
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            history = [str(version) for version in content["history"]]
            newest = {str(key): str(created) for key, created in content.get("newest", {}).items()}
        except FileNotFoundError:
            return [], {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{path} is damaged ({error}); delete it and install the bundle again") from error
        if any(Path(version).name != version for version in history):
            raise BundleError(f"{path} names versions outside its folder; delete it and install the bundle again")
        return history, newest

    def _point(self, history: list[str], newest: dict[str, str]) -> None:
        content = json.dumps({"history": history[:_KEPT], "newest": newest})
        write_whole(self.folder / _POINTER, content.encode(), durable=True)
        for old in (self.folder / _VERSIONS).iterdir():
            if old.name not in history[:_KEPT]:
                shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One installation at a time, between threads and processes alike; readers need no lock."""
        # Here, because Windows has no such module, and needs the rest of this file.
        import fcntl

        (self.folder / _VERSIONS).mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def fetching(self) -> Iterator[Path]:
        """The one place where a download into this store lies, for as long as the ``with`` lasts.

        Always the same place, so that the next attempt finds the beginning of one that was interrupted.

        Raises
        ------
        BundleError
            If another process is fetching into this store.
        """
        import fcntl

        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".fetching").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BundleError(
                    f"a bundle is being fetched into {self.folder} already; wait until that is over"
                ) from None
            yield self.folder / "fetched.tar"

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = Path(mkdtemp(prefix=".incoming-", dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _lineage(folder: Path) -> str:
    """Id of the key that signed a bundle; nothing for one without a signature."""
    return signer(folder).id if (folder / SIGNATURE).is_file() else ""


def _refuse_older(bundle: Bundle, newest: dict[str, str]) -> None:
    used = newest.get(_lineage(bundle.path))
    if used is not None and bundle.manifest.built < replace(bundle.manifest, created=used).built:
        raise BundleError(
            f"bundle {bundle.version} was built at {bundle.manifest.created}, before the one in use ({used}); "
            "to go back to it: --allow-older"
        )


def _copy(source: Path, target: Path) -> None:
    """Only what the manifest names: whatever else lies in a folder is no part of the bundle."""
    manifest = Manifest.read(source)
    target.mkdir()
    for name in (MANIFEST, SIGNATURE, *(file.file for file in manifest.files)):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def usual_bundle_path(profile: str = "edge") -> Path:
    """The bundle to use where none is named: the current one of the store, else the one built in the cache."""
    store = BundleStore.default(profile)
    history = store.versions()
    return store.path_of(history[0]) if history else default_bundle_path(profile)
