"""Observers that packages install: found, left out where they cannot be imported, refused where they are none."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation import observer
from fedaffect.server.federation.observer import registered_observers


def install(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    points = [EntryPoint(name, value, observer.GROUP)]
    monkeypatch.setattr(observer, "entry_points", lambda group: points if group == observer.GROUP else [])


def test_the_report_is_an_observer_that_is_installed(tmp_path: Path) -> None:
    assert [type(one).__name__ for one in registered_observers(tmp_path)] == ["ReportObserver"]


def test_an_observer_that_cannot_be_imported_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, "absent", "no_such_package:Observer")
    monkeypatch.setattr(observer.logger, "propagate", True)
    assert registered_observers(tmp_path) == []
    assert "no absent for this run" in caplog.text


def test_what_is_no_observer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "wrong", "pathlib:Path")
    with pytest.raises(ConfigError, match=r"'wrong' of pathlib:Path gives a PosixPath without started"):
        registered_observers(tmp_path)
