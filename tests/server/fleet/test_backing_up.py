"""A fleet's backup, put into a new folder: devices and an open run go on, to the same arrays."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.fleet_runs import CLIENTS, ConfigOf, Fleet, FleetGrid, Killed, Killer, simulated
from tests.support.served import enrolled, served

from fedaffect.client.device.service import FleetService
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.bundle import SigningKey
from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.server.cli.fleet import fleet as command
from fedaffect.server.environment import FLEET_VARIABLE
from fedaffect.server.fleet.setup import folder_backup
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, audit, bundles, rounds, runs
from fedaffect.server.registry.errors import BackupError


def _say(*words: str) -> str:
    done = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


@pytest.mark.slow
def test_on_a_new_folder_devices_and_runs_go_on(
    a_fleet: Callable[..., Fleet],
    grid: FleetGrid,
    config_of: ConfigOf,
    cohort_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    before = a_fleet(rounds=3)
    with pytest.raises(Killed):
        before.resume(grid, [Killer(2)])
    tar = tmp_path / "elsewhere" / "v1.tar"
    tar.parent.mkdir()
    tar.write_bytes(b"a bundle")
    sha256 = hashlib.sha256(b"a bundle").hexdigest()
    bundles.add(before.registry, version="v1", path=tar, sha256=sha256, size_bytes=8)
    bundles.offer(before.registry, "v1")
    phone = enrolled(before.registry, before.folder, tmp_path / "phone", "https://localhost:1")
    signs = SigningKey.own().public

    copy = tmp_path / "backup"
    assert "private keys" in _say("backup", str(copy), "--fleet", str(before.folder.path))
    assert all(path.stat().st_mode & 0o077 == 0 for path in copy.rglob("*"))
    with pytest.raises(BackupError, match="exists"):
        _say("backup", str(copy), "--fleet", str(before.folder.path))

    # The machine is gone, with all that it had.
    before.registry.close()
    before.folder.path.rename(tmp_path / "gone")
    tar.unlink()
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config-of-the-new-machine"))
    new = tmp_path / "new" / "fleet"
    _say("restore", str(copy), "--fleet", str(new))
    folder = FleetFolder.open(new)
    assert SigningKey.own().public == signs
    monkeypatch.setenv(FLEET_VARIABLE, str(new))
    with Registry.open(folder.settings.registry) as registry:
        audit.verify(registry)
        with served(folder, registry) as url:
            key = DeviceKey.read(phone.key_path)
            with FleetService(url, phone.authority_path, key, phone.settings.id) as service:
                assert service.post("/v1/device", {"consent": True})["bundle"] == "v1"
        assert bundles.get_offered(registry, "v1").path.read_bytes() == b"a bundle"
        last = rounds.last_committed(registry, before.id)
        assert last is not None
        assert last.checkpoint is not None
        assert last.round == 2
        assert Path(last.checkpoint).is_relative_to(new)
        assert str(tmp_path / "fleet") not in str(runs.get(registry, before.id).config)
        before.folder, before.registry = folder, registry
        before.settings = dict(runs.get(registry, before.id).config)
        before.resume(FleetGrid(CLIENTS, grid.contexts))
        assert runs.get(registry, before.id).state == "finished"
        beside = simulated(config_of(rounds=3), cohort_folder)
        same = beside.checkpoints.load(3).arrays
        assert before.arrays(3) == {name: array.tobytes() for name, array in same.items()}


def test_a_damaged_backup_or_a_fleet_that_is_there_is_refused(
    fleet_folder: FleetFolder, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    copy = tmp_path / "backup"
    _say("backup", str(copy), "--fleet", str(fleet_folder.path))
    with pytest.raises(BackupError, match="holds a fleet"):
        _say("restore", str(copy), "--fleet", str(fleet_folder.path))
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "other"))
    SigningKey.own()
    with pytest.raises(BackupError, match="another key signs"):
        _say("restore", str(copy), "--fleet", str(tmp_path / "new"))
    (copy / "folder" / "operator.token").write_text("another")
    with pytest.raises(BackupError, match="was changed"):
        _say("restore", str(copy), "--fleet", str(tmp_path / "new"))


@pytest.fixture
def copied(fleet_folder: FleetFolder, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backup with a bundle, to be restored where nothing is yet, by a user with the usual umask."""
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    tar = tmp_path / "v1.tar"
    tar.write_bytes(b"a bundle")
    bundles.add(registry, version="v1", path=tar, sha256=hashlib.sha256(b"a bundle").hexdigest(), size_bytes=8)
    copy = tmp_path / "backup"
    _say("backup", str(copy), "--fleet", str(fleet_folder.path))
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config-of-the-new-machine"))
    return copy


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def _whole(new: Path) -> None:
    """The fleet is there, of its own database, and its bundle."""
    folder = FleetFolder.open(new)
    assert folder.settings.registry == f"sqlite:///{new / 'registry.db'}"
    assert all(path.stat().st_mode & 0o077 == 0 for path in new.rglob("*"))
    with Registry.open(folder.settings.registry) as registry:
        audit.verify(registry)
        assert [entry.path.read_bytes() for entry in bundles.every(registry)] == [b"a bundle"]


def test_what_failed_at_the_database_is_no_fleet_and_can_be_done_again(copied: Path, tmp_path: Path) -> None:
    new, taken = tmp_path / "new", tmp_path / "taken.db"
    taken.write_bytes(b"another's")
    with pytest.raises(BackupError, match=r"taken\.db exists"):
        _say("restore", str(copied), "--fleet", str(new), "--registry", f"sqlite:///{taken}")
    assert taken.read_bytes() == b"another's"
    with pytest.raises(ConfigError, match=r"no fleet\.toml"):
        FleetFolder.open(new)
    _say("restore", str(copied), "--fleet", str(new))
    _whole(new)


def test_a_half_restored_database_is_not_in_the_way(copied: Path, tmp_path: Path) -> None:
    new, manifest, about = tmp_path / "new", copied / "registry" / "manifest.json", copied / "fleet.json"
    right = {path: path.read_text() for path in (manifest, about)}
    manifest.write_text(right[manifest].replace('"bundles": 1', '"bundles": 2'))
    before, now = (hashlib.sha256(text.encode()).hexdigest() for text in (right[manifest], manifest.read_text()))
    about.write_text(right[about].replace(before, now))
    with pytest.raises(BackupError, match="other rows"):
        _say("restore", str(copied), "--fleet", str(new))
    for path, text in right.items():
        path.write_text(text)
    _say("restore", str(copied), "--fleet", str(new))
    _whole(new)


@pytest.mark.parametrize("in_the_way", ["new/authority", "new/bundles", "config-of-the-new-machine/keys/trusted"])
def test_a_place_that_cannot_be_written_is_said_in_one_line(copied: Path, tmp_path: Path, in_the_way: str) -> None:
    new, file = tmp_path / "new", tmp_path / in_the_way
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(FedAffectError, match=r"choose another folder|choose a folder of yours") as caught:
        _say("restore", str(copied), "--fleet", str(new))
    assert "\n" not in str(caught.value)
    file.unlink()
    _say("restore", str(copied), "--fleet", str(new))
    _whole(new)


def test_no_other_user_can_read_a_key_while_it_is_copied(copied: Path, tmp_path: Path) -> None:
    config = tmp_path / "config-of-the-new-machine"
    seen: list[str] = []

    def look(_frame: object, event: str, _what: object) -> None:
        if event == "c_return":
            seen.extend(path.name for path in config.rglob("*.key*") if path.stat().st_mode & 0o077)

    os.umask(0)
    sys.setprofile(look)
    try:
        folder_backup._place_keys(copied / "keys")
    finally:
        sys.setprofile(None)
    assert seen == []
    assert SigningKey.own().public == SigningKey.own(copied / "keys").public
