"""Training steps for tests, traced once for each model and kept beside pytest's own cache from run to run."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from fedaffect.server.models.bundling.step import StepModel, step_bytes

_KEPT = Path(__file__).resolve().parents[2] / ".pytest_cache" / "fedaffect"


def kept_step(model: StepModel) -> bytes:
    """What a bundle of this model carries; while one test process traces, others wait rather than trace the same."""
    _KEPT.mkdir(parents=True, exist_ok=True)
    with (_KEPT / "tracing").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        patch.setenv("FEDAFFECT_CACHE", str(_KEPT))
        return step_bytes(model)
