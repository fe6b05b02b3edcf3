"""What a device keeps for a run is that run's alone, whatever the server calls its runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from flwr.app import ConfigRecord, RecordDict

from fedaffect.client.device.states import DeviceStates
from fedaffect.client.device.sum_memory import SumMemory

LONG = "a run with a name of more than sixty-four bytes, of which many begin alike, number "
PAIRS = [(f"{LONG}1", f"{LONG}2"), ("é" * 40 + "1", "é" * 40 + "2"), ("../x", "..%2fx"), ("", "\0"), ("Run", "run")]


def state(word: str) -> RecordDict:
    return RecordDict({"kept": ConfigRecord({"word": word})})


@pytest.mark.parametrize("runs", PAIRS)
def test_runs_share_nothing(tmp_path: Path, runs: tuple[str, str]) -> None:
    states, sums = DeviceStates(tmp_path / "states"), SumMemory(tmp_path / "sums")
    for run in runs:
        assert states.load(run) is None
        assert sums.load(run) is None
        states.save(run, state(run))
        sums.save(run, run.encode())
    for run in runs:
        assert (states.load(run) or {})["kept"]["word"] == run
        assert sums.load(run) == run.encode()
    assert {path.parent for path in tmp_path.rglob("*.*") if path.is_file()} == {tmp_path / "states", tmp_path / "sums"}
