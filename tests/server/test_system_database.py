"""The database of a system: made by nobody mightier than it needs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fedaffect.edge.errors import ConfigError
from fedaffect.server.demo.postgresql import OwnPostgresql


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
