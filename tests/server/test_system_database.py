"""The database of a system: made by nobody mightier than it needs, and never another one than it began with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fedaffect.edge.errors import ConfigError
from fedaffect.server.demo.postgresql import OwnPostgresql
from fedaffect.server.demo.system_database import SystemDatabase
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.registry import Registry


def test_a_link_in_the_cluster_s_place_gives_nothing_away(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("who is not root has nothing to give away")
    try:
        own = OwnPostgresql(tmp_path)
    except ConfigError as error:
        pytest.skip(str(error))
    of_root = tmp_path / "of-root"
    of_root.mkdir()
    own.folder.symlink_to(of_root)
    try:
        with pytest.raises(ConfigError, match="says no"):
            own.make()
    finally:
        own.folder.unlink()
    assert of_root.stat().st_uid == 0
    assert list(of_root.iterdir()) == []


def test_a_cluster_is_wholly_of_the_user_that_it_runs_as(tmp_path: Path) -> None:
    try:
        own = OwnPostgresql(tmp_path)
    except ConfigError as error:
        pytest.skip(str(error))
    try:
        own.make()
        assert own.folder.stat().st_mode & 0o777 == 0o700
        owners = {path.stat().st_uid for path in (own.folder, *own.folder.rglob("*"))}
        assert owners == {own.folder.stat().st_uid}
        assert (own.folder / "data" / "pg_hba.conf").read_text(encoding="utf-8") == "local all all peer map=own\n"
        assert own.version is not None
    finally:
        shutil.rmtree(own.folder, ignore_errors=True)


@pytest.mark.parametrize("with_fleet", [True, False], ids=["fleet", "alone"])
def test_a_system_that_kept_no_kind_keeps_its_file(with_fleet: bool, tmp_path: Path) -> None:
    began_with = f"sqlite:///{tmp_path / 'inference' / 'server.db'}"
    if with_fleet:
        fleet = FleetFolder.create(tmp_path / "server" / "fleet", FleetSettings())
        (tmp_path / "server" / "base").mkdir()
        began_with = fleet.settings.registry
    Registry.open(began_with).close()
    for _ in range(2):
        said: list[str] = []
        database = SystemDatabase(tmp_path, None, said.append)
        assert (database.kind, database.url) == ("sqlite", began_with)
        database.bring_up(said.append)
        assert said == []
        with pytest.raises(ConfigError, match="began with sqlite"):
            SystemDatabase(tmp_path, "postgresql", said.append)
    assert not (tmp_path / "registry.db").exists()
