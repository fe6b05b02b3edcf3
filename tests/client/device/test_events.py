"""An app is told of what happens on its device, and what it does with that costs the device nothing."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path

import pytest

from fedaffect.client.device.events import ProgramHook
from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.shared import Shared, note_shared
from fedaffect.client.device.starting import DeviceAtWork
from fedaffect.edge.errors import RunError
from fedaffect.edge.system.only_one import is_held, only_one

COPY = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def test_a_program_gets_each_event_in_order(tmp_path: Path) -> None:
    hook = ProgramHook((sys.executable, "-c", COPY, str(tmp_path / "told")))
    hook("bundle", {"version": "edge-1", "before": 3, "after": 4, "examples": 5})
    hook("approved", {})
    hook.close()
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert told == [
        {"event": "bundle", "version": "edge-1", "before": 3, "after": 4, "examples": 5},
        {"event": "approved"},
    ]


def test_a_program_that_fails_or_is_not_there_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    for command in ((sys.executable, "-c", "raise SystemExit(3)"), ("no-such-program-anywhere",)):
        with caplog.at_level(logging.WARNING):
            hook = ProgramHook(command)
            hook("approved", {})
            hook.close()
    assert [record.message.split(":")[0] for record in caplog.records] == ["an event was not taken"] * 2


def test_what_leaves_the_device_is_told_once(tmp_path: Path) -> None:
    folder = DeviceFolder.at(tmp_path / "device")
    folder.save(DeviceSettings(id="a", name="phone", number=0, server="https://x:1", superlink="x:2"))
    note_shared(folder.shared_path, Shared(time.time() - 60, "update", "before", 1, masked=False, noisy=True))
    told: list[tuple[str, object]] = []
    work = DeviceAtWork(folder, on_event=lambda event, facts: told.append((event, facts["run"])))
    at_s = time.time()
    for number in (1, 2):
        note_shared(folder.shared_path, Shared(at_s + number, "update", f"run-{number}", 1, masked=False, noisy=True))
        # As where the file system's clock lies behind.
        os.utime(folder.shared_path, (at_s - 1, at_s - 1))
        work._tell_what_was_shared()
        work._tell_what_was_shared()
    assert told == [("shared", "run-1"), ("shared", "run-2")]


def test_a_device_is_at_work_once(tmp_path: Path) -> None:
    folder = DeviceFolder.at(tmp_path / "device")
    folder.save(DeviceSettings(id="a", name="phone", number=0, server="https://x:1", superlink="x:2"))
    with only_one(folder.at_work_path, ""), pytest.raises(RunError, match="'phone' is at work already"):
        DeviceAtWork(folder).run()
    assert not is_held(folder.at_work_path)
