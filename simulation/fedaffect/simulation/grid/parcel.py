"""A cohort on its way to machines that do not see the server's files: through Ray's object store, once a machine."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import ObjectRef

from fedaffect.edge.errors import DataError
from fedaffect.edge.system.folders import cache_folder

# So that Ray can move and spill a large table in parts.
_CHUNK_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Parcel:
    """A folder of files in Ray's object store.

    Parameters
    ----------
    digest : str
        SHA-256 over names and content, in hexadecimal.
    files : tuple of (str, tuple of ObjectRef)
        Content of each file by name, in chunks.
    """

    digest: str
    files: tuple[tuple[str, tuple[ObjectRef[Any], ...]], ...]


def pack(folder: Path) -> Parcel:
    """Put a folder's own files into Ray's object store; they stay there as long as the parcel is kept.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    digest, files = hashlib.sha256(), []
    try:
        # A network's folder may hold others, such as what one library among several reads.
        for path in sorted(path for path in folder.iterdir() if not path.is_dir()):
            chunks = []
            _open_file(digest, path.name)
            with path.open("rb") as file:
                while data := file.read(_CHUNK_BYTES):
                    digest.update(data)
                    # As an array: its readers map it instead of copying it.
                    chunks.append(ray.put(np.frombuffer(data, dtype=np.uint8)))
            files.append((path.name, tuple(chunks)))
    except OSError as error:
        raise DataError(f"the cohort {folder} cannot be read ({error}); delete it and run again") from error
    return Parcel(digest.hexdigest(), tuple(files))


def unpack(parcel: Parcel) -> Path:
    """The folder that a parcel was packed from, in this machine's cache.

    Several processes of a machine may ask at once: one of them fetches.

    Raises
    ------
    DataError
        If what arrived is not what was sent.
    OSError
        If there is no room in the cache.
    """
    place = cache_folder() / "cohorts-from-elsewhere"
    place.mkdir(parents=True, exist_ok=True)
    folder = place / parcel.digest
    with _locked(place / f".{parcel.digest}.lock"):
        if folder.is_dir():
            return folder
        part = Path(tempfile.mkdtemp(prefix=f".{parcel.digest[:8]}.", dir=place))
        try:
            digest = hashlib.sha256()
            for name, chunks in parcel.files:
                _open_file(digest, name)
                with (part / name).open("wb") as file:
                    for chunk in chunks:
                        data = ray.get(chunk).data
                        digest.update(data)
                        file.write(data)
            if digest.hexdigest() != parcel.digest:
                raise DataError("the cohort that came through Ray is not the one that was sent; run it again")
            part.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _open_file(digest: Any, name: str) -> None:
    digest.update(f"\0{name}\0".encode())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
