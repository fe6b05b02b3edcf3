"""Attacks, deadlines, losses that are no numbers and full disks."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.simulation.cli.conftest import Fedaffect, assert_one_line


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_an_attacked_round_names_what_it_rejects_and_who_is_late(simulate: Fedaffect, tmp_path: Path) -> None:
    done = simulate(
        *("--attack", "scale", "--attackers", "0.5", "--attack-option", "factor=1000", "--norm-bound", "5"),
        *("--over-selection", "1.5", "--deadline-s", "1000", "--rounds", "2", "--name", "both"),
    )
    assert done.code == 0, done.err
    run = tmp_path / "runs" / "both"
    summary = json.loads((run / "summary.json").read_text())
    malicious = set(summary["attack"]["client_names"])
    assert len(malicious) == 5
    lines = lines_of(run)
    rejected = {name for line in lines for name in line["rejected"]}
    assert rejected
    assert rejected <= malicious
    assert summary["rejected_updates"] == sum(len(line["rejected"]) for line in lines)
    assert all("--norm-bound" in why for line in lines for why in line["rejected"].values())
    for line in lines:
        assert line["simulated"]["asked"] == 6
        assert line["clients"] + len(line["rejected"]) == 4


def test_a_loss_that_is_not_a_number_leaves_no_folder(simulate: Fedaffect, tmp_path: Path) -> None:
    done = simulate("--lr", "1e30", "--optimizer", "sgd", "--name", "nan", "--quiet")
    assert_one_line(done, "not a number", "--lr")
    assert not (tmp_path / "runs" / "nan").exists()


def test_a_full_disk_leaves_no_half_written_run(
    simulate: Fedaffect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(descriptor: int, data: Any) -> int:
        if isinstance(data, memoryview) and len(data) > 10_000:  # a checkpoint
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    assert_one_line(simulate("--rounds", "1", "--name", "full", "--quiet"), "No space left on device", "--out")
    assert not (tmp_path / "runs" / "full").exists()
