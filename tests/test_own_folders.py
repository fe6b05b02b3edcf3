"""What tests build stays with them: nothing is written where the person who runs them keeps their own."""

from __future__ import annotations

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
