"""A bundle as one file: a plain tar, the same bytes for the same bundle, unpacked with distrust."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from fedaffect.edge.bundle.manifest import MANIFEST, Manifest
from fedaffect.edge.bundle.signature import SIGNATURE
from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.files import is_full, replacing

LARGEST_BYTES: Final = 2 * 1024**3
_LARGEST_TEXT_BYTES: Final = 1024**2
_MOST_FILES: Final = 64
_BLOCK: Final = 1 << 20


def pack(folder: Path, tar: Path) -> Path:
    """Write a bundle's files into a tar that appears whole or not at all.

    Only the manifest, its signature and the files that it names go in, by name, without owners or times: two packings
    of one bundle are the same bytes.

    Parameters
    ----------
    folder : Path
        The bundle's; its files are not checked here.
    tar : Path
        Where to write.

    Returns
    -------
    Path
        ``tar``.

    Raises
    ------
    BundleError
        If there is no bundle, a file of it is missing, or the tar cannot be written.
    """
    manifest = Manifest.read(folder)
    names = [MANIFEST, *([SIGNATURE] if (folder / SIGNATURE).is_file() else [])]
    names += sorted(file.file for file in manifest.files)
    try:
        tar.parent.mkdir(parents=True, exist_ok=True)
        with replacing(tar) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size, member.mode = (folder / name).stat().st_size, 0o644
                with (folder / name).open("rb") as file:
                    archive.addfile(member, file)
    except (OSError, ValueError, tarfile.TarError) as error:
        raise BundleError(f"{folder} cannot be packed into {tar} ({error}); check both places") from error
    return tar


def unpack(tar: Path, folder: Path, largest_bytes: int = LARGEST_BYTES) -> Path:
    """Take a bundle out of its tar, into a folder that appears whole or not at all.

    Nothing is believed: only regular files with plain names are taken, each once, into a folder that was not there,
    within a size that is known beforehand. Whether the bundle is sound and whose it is, `Bundle.load` checks.

    Parameters
    ----------
    tar : Path
        Of :func:`pack`.
    folder : Path
        Must not exist.
    largest_bytes : int
        Of all files together.

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    BundleError
        If it is no tar, truncated, too large, or holds anything but plain files; nothing is left behind.
    """
    if folder.exists():
        raise BundleError(f"{folder} exists already; unpack into a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _not_written(folder, error) from error
    try:
        if tar.stat().st_size > largest_bytes + _BLOCK:
            raise BundleError(f"{tar} is larger than a bundle may be ({largest_bytes} bytes); do not use it")
        # "r:" takes no compression: a small file cannot become a large one.
        with tarfile.open(tar, "r:") as archive:
            _extract(archive, tar, part, largest_bytes)
        if not (part / MANIFEST).is_file():
            raise BundleError(f"{tar} holds no bundle: it has no {MANIFEST}; get it again")
        # A tar that is cut between two files reads as a shorter one.
        if lacking := [file.file for file in Manifest.read(part).files if not (part / file.file).is_file()]:
            raise BundleError(f"{tar} is cut short: it lacks {', '.join(lacking)}; get it again")
        part.chmod(0o755)
        part.replace(folder)
    except OSError as error:
        if tar.is_file() and os.access(tar, os.R_OK):
            raise _not_written(folder, error) from error
        raise BundleError(f"{tar} cannot be read ({error.strerror or error}); get it again") from error
    except (ValueError, EOFError, RecursionError, tarfile.TarError) as error:
        raise BundleError(f"{tar} is no bundle's tar, or cut short ({error}); get it again") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _extract(archive: tarfile.TarFile, tar: Path, target: Path, largest_bytes: int) -> None:
    left, seen = largest_bytes, set[str]()
    while (member := archive.next()) is not None:
        name = member.name
        if not member.isreg() or member.issparse():
            raise BundleError(f"{tar} holds {name!r}, which is no plain file; do not use it")
        if Path(name).name != name or name in ("", ".", "..") or "\\" in name or "\0" in name or ":" in name:
            raise BundleError(f"{tar} would write {name!r}, outside its own folder; do not use it")
        if name in seen or len(seen) >= _MOST_FILES:
            raise BundleError(f"{tar} holds {name!r} twice, or more than {_MOST_FILES} files; do not use it")
        seen.add(name)
        left -= member.size
        if left < 0 or (name in (MANIFEST, SIGNATURE) and member.size > _LARGEST_TEXT_BYTES):
            raise BundleError(f"{tar} holds {name!r} of {member.size} bytes, more than a bundle may; do not use it")
        _copy(archive, member, target / name)


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise BundleError(f"{member.name!r} cannot be read; get the bundle again")
    written = 0
    with target.open("xb") as file:
        while block := source.read(_BLOCK):
            written += file.write(block)
    if written != member.size:
        raise EOFError(f"{member.name} ends after {written} of {member.size} bytes")


def _not_written(folder: Path, error: OSError) -> BundleError:
    remedy = "free some space, then try again" if is_full(error) else "choose another place"
    return BundleError(f"{folder} cannot be written ({error.strerror or error}); {remedy}")
