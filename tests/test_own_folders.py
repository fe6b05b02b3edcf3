"""What tests build stays with them: nothing is written where the person who runs them keeps their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.edge.conftest import make_tiny_bundle

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.store.database import default_path
from fedaffect.server.registry import Registry


def test_a_build_in_a_test_leaves_the_users_folders_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    Bundle.load(make_tiny_bundle(tmp_path / "bundle"))
    Registry.open().close()
    assert not default_path().is_relative_to(home)
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    "path",
    [
        *("fleet/authority/ca.key", "fleet/operator.token", "phone/device.toml", "elsewhere/device.key", "my.pem"),
        *("fleet-backup/registry/registry.db", "fleet-backup-2/folder/fleet.toml", "fleet-restored/fleet.toml"),
        "my-backup/folder/operator.token",
    ],
)
def test_git_ignores_the_keys_of_a_fleet_and_its_devices(path: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_bytes((Path(__file__).resolve().parents[1] / ".gitignore").read_bytes())
    assert subprocess.run(["git", "-C", tmp_path, "check-ignore", "-q", path], check=False).returncode == 0
