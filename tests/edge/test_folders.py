"""Where what is kept for a person lies: our own variable, then the XDG one, then the usual place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fedaffect.edge.bundle import default_bundle_path
from fedaffect.edge.bundle.signature import keys_folder
from fedaffect.edge.store.database import default_path
from fedaffect.edge.system.folders import cache_folder, config_folder, data_folder


@pytest.mark.parametrize(
    ("folder", "own", "shared", "usual"),
    [
        (cache_folder, "FEDAFFECT_CACHE", "XDG_CACHE_HOME", ".cache"),
        (config_folder, "FEDAFFECT_CONFIG", "XDG_CONFIG_HOME", ".config"),
        (data_folder, "FEDAFFECT_DATA", "XDG_DATA_HOME", ".local/share"),
    ],
)
def test_our_variable_goes_before_the_xdg_one_and_that_before_the_home_folder(
    folder: Callable[[], Path], own: str, shared: str, usual: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(own, str(tmp_path / "own"))
    monkeypatch.setenv(shared, str(tmp_path / "xdg"))
    assert folder() == tmp_path / "own"
    monkeypatch.delenv(own)
    assert folder() == tmp_path / "xdg" / "fedaffect"
    monkeypatch.setenv(shared, "relative")
    assert folder() == Path.home() / usual / "fedaffect"
    monkeypatch.setenv(shared, "")
    assert folder() == Path.home() / usual / "fedaffect"


def test_bundles_keys_and_examples_follow_the_xdg_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.delenv(f"FEDAFFECT_{kind}")
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    assert default_bundle_path() == tmp_path / "CACHE" / "fedaffect" / "bundles" / "edge"
    assert keys_folder() == tmp_path / "CONFIG" / "fedaffect" / "keys"
    assert default_path() == tmp_path / "DATA" / "fedaffect" / "device.sqlite3"
