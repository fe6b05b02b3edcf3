"""A fleet's whole server in one folder: registry, authority, settings, runs with their checkpoints, bundles, keys.

The registry is copied first: what it says was committed lies in the run folders, whatever rounds come meanwhile.
Flower's own database is left out, for the driver registers devices with Flower again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import make_url, select

from fedaffect.edge.bundle import SigningKey
from fedaffect.edge.bundle.signature import PRIVATE, keys_folder
from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.files import make_private, private_folder, write_private
from fedaffect.server.fleet.setup.folder import SETTINGS, FleetFolder, FleetSettings
from fedaffect.server.registry import Registry, backup, bundles, rounds, runs
from fedaffect.server.registry.backup import Backup
from fedaffect.server.registry.errors import BackupError
from fedaffect.server.registry.folder_hash import file_sha256
from fedaffect.server.registry.run_tables import RoundRow, RunRow
from fedaffect.server.registry.tables import BundleRow

_MANIFEST: Final = "fleet.json"
_REGISTRY, _FILES, _BUNDLES, _KEYS = "registry", "folder", "bundles", "keys"
# Of the fleet's folder; logs, sockets, locks and databases stay.
_KEPT: Final = (
    *(SETTINGS, "authority", "server.pem", "server.crt", "server.key", "operator.token"),
    # What the fleet is in its root's: the key.
    *("region", "runs", "public"),
)


def make(fleet: FleetFolder, target: Path, *, as_portable: bool = False) -> Backup:
    """Back a fleet up while it works; the folder appears when all of it is written and checked.

    Parameters
    ----------
    fleet : FleetFolder
    target : Path
        Must not exist yet.
    as_portable : bool
        See `fedaffect.server.registry.backup.make`.

    Raises
    ------
    BackupError
        If it exists or cannot be written, or a committed round has no checkpoint.
    """
    if target.exists():
        raise BackupError(f"{target} exists; backups are never overwritten, choose another name")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            partial = Path(scratch) / "backup"
            partial.mkdir(mode=0o700)
            with Registry.open(fleet.settings.registry) as registry:
                made = backup.make(registry, partial / _REGISTRY, as_portable=as_portable)
                # Each now, as later rounds drop the checkpoints of earlier ones.
                committed = _committed(registry, fleet)
                _copy(fleet, partial / _FILES)
                for path in committed:
                    if not (partial / _FILES / path).is_file():
                        raise BackupError(f"{path} went while it was copied, as rounds went on; make the backup again")
                for entry in bundles.every(registry):
                    (partial / _BUNDLES).mkdir(exist_ok=True)
                    shutil.copyfile(entry.path, partial / _BUNDLES / f"{entry.version}.tar")
            SigningKey.own()
            shutil.copytree(keys_folder(), partial / _KEYS)
            hashes = {
                path.relative_to(partial).as_posix(): file_sha256(path)
                for path in sorted(partial.rglob("*"))
                if path.is_file()
            }
            said = json.dumps({"folder": str(fleet.path), "sha256": hashes}, indent=1)
            (partial / _MANIFEST).write_text(said, encoding="utf-8")
            make_private(partial)
            partial.rename(target)
    except OSError as error:
        raise BackupError(f"{target} cannot be written ({error}); make room, or choose another place") from error
    return made


def restore(source: Path, target: Path, registry_url: str | None = None) -> FleetFolder:
    """Put a fleet's backup into a new folder, on this machine or another; devices go on with it.

    Parameters
    ----------
    source : Path
        The backup.
    target : Path
        The fleet's new folder; must not hold a fleet.
    registry_url : str, optional
        An empty database; SQLite in the folder if not given.

    Raises
    ------
    BackupError
        If the backup is damaged, there is a fleet, another key signs bundles here, which devices would refuse, or the
        folder cannot be written. What failed can be done again, into the same folder.
    """
    said = _read(source)
    target = target.absolute()
    if (target / SETTINGS).exists():
        raise BackupError(f"{target} holds a fleet; restore into a new folder with --fleet")
    url = registry_url or f"sqlite:///{target / 'registry.db'}"
    kept = source / _FILES / SETTINGS
    settings = replace(FleetSettings.from_toml(kept.read_bytes(), str(kept)), registry=url)
    fleet = FleetFolder(target, settings)
    try:
        _place_keys(source / _KEYS)
        private_folder(target)
        _copy_tree(source / _FILES, target, but=SETTINGS)
        if (source / _BUNDLES).is_dir():
            _copy_tree(source / _BUNDLES, target / _BUNDLES)
        private_folder(fleet.flower_home)
        write_private(fleet.flower_home / "config.toml", fleet.flower_config().encode(), replace=True)
        make_private(target)
        with _gone_on_failure(url):
            backup.restore(source / _REGISTRY, url)
            with Registry.open(url) as registry:
                _move(registry, said["folder"], target)
            # Last: a folder without them is no fleet, and what failed before can be done again.
            write_private(target / SETTINGS, settings.to_toml().encode())
    except OSError as error:
        raise BackupError(f"{target} cannot be written ({error}); make room, or choose another folder") from error
    return fleet


def _copy_tree(source: Path, target: Path, *, but: str = "") -> None:
    """Copy over what an attempt before may have left."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.rglob("*")):
        into = target / path.relative_to(source)
        if path.is_dir():
            into.mkdir(exist_ok=True)
        elif into != target / but:
            shutil.copyfile(path, into)


@contextmanager
def _gone_on_failure(url: str) -> Iterator[None]:
    """Leave no half-restored SQLite file in the way of the next attempt; one that was there before stays."""
    parsed = make_url(url)
    path = Path(parsed.database or "")
    fresh = parsed.get_backend_name() == "sqlite" and not path.exists()
    try:
        yield
    except BaseException:
        if fresh:
            for end in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + end).unlink(missing_ok=True)
        raise


def _read(source: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads((source / _MANIFEST).read_text(encoding="utf-8"))
        hashes = dict(said["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{source} is no backup of a fleet ({error}); fedaffect fleet backup makes one") from error
    for name, wanted in hashes.items():
        path = source / name
        if not path.is_file() or file_sha256(path) != wanted:
            raise BackupError(f"{path} is missing or was changed since it was made; take another backup")
    return said


def _copy(fleet: FleetFolder, target: Path) -> None:
    target.mkdir()
    for name in _KEPT:
        path = fleet.path / name
        if path.is_dir():
            # A checkpoint may be dropped meanwhile; those that must be there are looked for afterwards.
            target_folder = target / name
            for folder, _, names in os.walk(path):
                into = target_folder / Path(folder).relative_to(path)
                into.mkdir(parents=True, exist_ok=True)
                for file in names:
                    # Sockets are of processes.
                    if not (Path(folder) / file).is_file():
                        continue
                    try:
                        shutil.copyfile(Path(folder) / file, into / file)
                    except FileNotFoundError:
                        continue
        elif path.is_file():
            shutil.copyfile(path, target / name)


def _committed(registry: Registry, fleet: FleetFolder) -> list[Path]:
    """Checkpoints that open runs go on from, relative to the fleet's folder."""
    last = [rounds.last_committed(registry, run.id) for run in runs.every(registry, "open")]
    found = [Path(each.checkpoint) for each in last if each is not None and each.checkpoint]
    return [path.relative_to(fleet.path) for path in found if path.is_relative_to(fleet.path)]


def _place_keys(source: Path) -> None:
    own = keys_folder()
    if not (own / PRIVATE).exists():
        private_folder(own)
        # The private key last, since it says that all of them are here; each is private from its first byte on.
        for path in sorted(
            (path for path in source.rglob("*") if path.is_file()), key=lambda path: path.name == PRIVATE
        ):
            into = own / path.relative_to(source)
            private_folder(into.parent)
            write_private(into, path.read_bytes(), replace=True)
        return
    try:
        same = SigningKey.own(source).public == SigningKey.own().public
    except BundleError as error:
        raise BackupError(f"the backup's key of bundles cannot be read ({error}); take another backup") from error
    if not same:
        raise BackupError(
            f"another key signs bundles here ({own}), and devices would refuse what it signs; move it away, or set "
            "FEDAFFECT_CONFIG to a folder of the fleet's own"
        )


def _move(registry: Registry, before: str, now: Path) -> None:
    """Have the registry name files where they lie now."""

    def moved(said: Any) -> Any:
        inside = isinstance(said, str) and (said == before or said.startswith(f"{before}/"))
        return f"{now}{said[len(before) :]}" if inside else said

    with registry.writing() as session:
        paths: dict[str, str] = {}
        for bundle in session.scalars(select(BundleRow)):
            paths[bundle.path] = str(now / _BUNDLES / f"{bundle.version}.tar")
            bundle.path = paths[bundle.path]
        for row in session.scalars(select(RoundRow).where(RoundRow.checkpoint.is_not(None))):
            row.checkpoint = moved(row.checkpoint)
        for run in session.scalars(select(RunRow)):
            run.config = {key: paths.get(str(value), moved(value)) for key, value in run.config.items()}
