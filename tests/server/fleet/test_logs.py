"""A fleet's logs in one place, and as they come."""

from __future__ import annotations

import io
import json
import logging
import ssl
import threading
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from tests.support.fleet_runs import fleet_folder, registry
from tests.support.served import served

from fedaffect.edge.errors import RunError
from fedaffect.server.cli.fleet import fleet
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.failures import Failures
from fedaffect.server.fleet.following import follow
from fedaffect.server.fleet.runs.run_runner import logged
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.json_log import JsonLines, readable
from fedaffect.server.registry import Registry

__all__ = ["fleet_folder", "registry"]


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


def _written(at: float, event: str, level: int = logging.INFO, **facts: object) -> str:
    record = logging.LogRecord("fedaffect.server", level, "x.py", 1, event, None, None)
    record.created = at
    record.facts = facts
    return JsonLines().format(record) + "\n"


def test_structured_lines_are_shown_as_people_read_them_among_the_superlinks(fleet_folder: FleetFolder) -> None:
    fleet_folder.logs.mkdir(exist_ok=True)
    noon = datetime(2030, 1, 1, 12).timestamp()
    (fleet_folder.logs / "gate.log").write_text(_written(noon + 1.5, "Größe", logging.WARNING, count=3))
    (fleet_folder.logs / "superlink.log").write_text("2030-01-01 12:00:01,000 Flower's own\n")
    (fleet_folder.logs / "run-one.log").write_text(_written(noon, "round 1") + "no line of ours\n")
    shown = CliRunner().invoke(fleet, ["logs", "--fleet", str(fleet_folder.path)], catch_exceptions=False)
    assert shown.output.splitlines() == [
        "superlink: 2030-01-01 12:00:01,000 Flower's own",
        "gate: 2030-01-01 12:00:01.500 WARNING Größe count=3",
    ]
    shown = CliRunner().invoke(fleet, ["logs", "one", "--fleet", str(fleet_folder.path)], catch_exceptions=False)
    assert shown.output.splitlines() == ["2030-01-01 12:00:00.000 round 1", "no line of ours"]


def test_a_run_that_ends_says_why_without_words_of_others(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "run-a.log", tmp_path / "run-b.log"
    with pytest.raises(RunError), logged(ours):
        raise RunError("two devices are too few; enrol more")
    with pytest.raises(ValueError, match="Hildegard"), logged(theirs):
        raise ValueError("what Hildegard sent is no number")
    line = json.loads(ours.read_text())
    assert line["event"].startswith("the run stops here (two devices are too few; enrol more)")
    assert (line["level"], line["type"]) == ("error", "RunError")
    assert "Hildegard" not in theirs.read_text()
    assert json.loads(theirs.read_text())["type"] == "ValueError"


def test_an_exception_of_a_server_or_of_one_subject_leaves_no_words_of_others(
    fleet_folder: FleetFolder, registry: Registry, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("what Hildegard sent")

    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    logging.getLogger().addHandler(handler)
    try:
        Failures().attempt("device 7", fails)
        with served(fleet_folder, registry) as url:
            trust = ssl.create_default_context(cafile=fleet_folder.authority.certificate_path)
            monkeypatch.setattr(Aggregator, "status", fails)
            headers = {"authorization": f"Bearer {fleet_folder.operator_token()}"}
            answer = httpx.post(f"{url}/v1/status", json={}, headers=headers, verify=trust)
    finally:
        logging.getLogger().removeHandler(handler)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert ("device 7: ValueError", "ValueError") in [(line["event"], line.get("type")) for line in lines]
    assert answer.status_code == 500
    said = capfd.readouterr()
    assert "Hildegard" not in written.getvalue() + said.err + said.out


def test_a_line_stays_one_and_no_terminal_obeys_it() -> None:
    line = _written(0, "first\nsecond \x1b[2J").rstrip("\n")
    assert readable(line).endswith("first\\nsecond \\x1b[2J")


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
