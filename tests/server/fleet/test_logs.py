"""A fleet's logs in one place, and as they come."""

from __future__ import annotations

import threading
from pathlib import Path

from click.testing import CliRunner
from tests.support.fleet_runs import fleet_folder

from fedaffect.server.cli.fleet import fleet
from fedaffect.server.fleet.following import follow
from fedaffect.server.fleet.setup.folder import FleetFolder

__all__ = ["fleet_folder"]


def test_lines_of_all_processes_stand_in_the_order_of_time(fleet_folder: FleetFolder) -> None:
    fleet_folder.logs.mkdir(exist_ok=True)
    (fleet_folder.logs / "gate.log").write_text("2030-01-01 10:00:02,000 g: second\n  more of it\n")
    (fleet_folder.logs / "service.log").write_text(
        "2030-01-01 10:00:01,000 s: first\n2030-01-01 10:00:03,000 s: third\n"
    )
    done = CliRunner().invoke(fleet, ["logs", "--fleet", str(fleet_folder.path)], catch_exceptions=False)
    assert [line.rpartition(": ")[2] for line in done.output.splitlines()] == [
        "first",
        "second",
        "  more of it",
        "third",
    ]
    assert done.output.startswith("service: 2030-01-01")


def test_what_comes_is_followed_line_by_line_over_a_new_beginning(tmp_path: Path) -> None:
    old, late = tmp_path / "old.log", tmp_path / "late.log"
    old.write_text("before\n")
    found: list[tuple[str, str]] = []
    arrived = threading.Semaphore(0)

    # From here on.
    lines = follow({"old": old, "late": late}, look_s=0.01)

    def watch() -> None:
        for each in lines:
            found.append(each)
            arrived.release()

    threading.Thread(target=watch, daemon=True).start()
    late.write_text("begun\n")
    assert arrived.acquire(timeout=60)
    with old.open("a") as file:
        file.write("half a ")
        file.flush()
        with late.open("a") as other:
            other.write("between\n")
        assert arrived.acquire(timeout=60)
        file.write("line\n")
    assert arrived.acquire(timeout=60)
    old.write_text("anew\n")
    assert arrived.acquire(timeout=60)
    assert found == [("late", "begun"), ("late", "between"), ("old", "half a line"), ("old", "anew")]
