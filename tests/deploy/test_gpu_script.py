"""What is prepared for a lent GPU runs to its end on a processor, in miniature; its figures there mean nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.sh"


def _run(out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable, "OUT": str(out)}
    return subprocess.run([SCRIPT, *flags], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_script_measures_every_part_and_says_that_it_was_no_gpu(tmp_path: Path) -> None:
    done = _run(tmp_path, "--tiny")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert {line["part"] for line in told["lines"]} == {"ceiling", "full model", "training"}
    assert all(line["least"] <= line["median"] <= line["most"] for line in told["lines"])
    assert next(line["share"] for line in told["lines"] if "batches" in line["what"]) > 0
    assert told["left_out"] == []
    table = (tmp_path / "gpu.md").read_text()
    assert "these are no figures of a GPU" in table
    assert len(table.splitlines()) == 4 + len(told["lines"])


@pytest.mark.slow
def test_what_there_was_no_time_for_is_named(tmp_path: Path) -> None:
    done = _run(tmp_path, "--tiny", "--budget", "0")
    assert done.returncode == 0, done.stderr
    assert "Left out for want of time: full model, fp32, eager; cohorts, 3 tokens." in (tmp_path / "gpu.md").read_text()


def test_without_a_gpu_it_says_what_to_do(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = _run(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "torch sees no GPU here; install a CUDA build of torch" in done.stderr
    assert not list(tmp_path.iterdir())
