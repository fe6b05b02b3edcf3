"""A fleet's backup, put into a new folder: devices and an open run go on, to the same arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.fleet_runs import CLIENTS, ConfigOf, Fleet, FleetGrid, Killed, Killer, simulated
from tests.support.served import enrolled, served

from fedaffect.client.device.service import FleetService
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.bundle import SigningKey
from fedaffect.server.cli.fleet import fleet as command
from fedaffect.server.environment import FLEET_VARIABLE
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
