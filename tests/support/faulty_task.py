"""Clients that fail on purpose, chosen by the run's seed; everything else is the real task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fedaffect.client import wire
from fedaffect.client.task import ClientTask
from fedaffect.client.update import Update
from fedaffect.client.wire import COHORT, MODEL, MODEL_OPTIONS

RAISES, DIES_ONCE, ALWAYS_DIES = 7001, 7002, 7003
FAULTY_CLIENT = 3


class FaultyTask(ClientTask):
    folder: Path

    def train(self, weights: Any, config: Any, client: int, round: int, seed: int, *rest: Any, **named: Any) -> Update:
        if client == FAULTY_CLIENT and seed == RAISES:
            raise ZeroDivisionError("on purpose")
        if client == FAULTY_CLIENT and seed == ALWAYS_DIES:
            os._exit(1)
        flag = self.folder / "died"
        if client == FAULTY_CLIENT and seed == DIES_ONCE and not flag.exists():
            flag.touch()
            os._exit(1)
        return super().train(weights, config, client, round, seed, *rest, **named)


def open_faulty_task(key: tuple[str, str, str], device: str = "cpu") -> ClientTask:
    plain = wire.open_task(key, device)
    plain.__class__ = FaultyTask
    assert isinstance(plain, FaultyTask)
    plain.folder = Path(dict(zip((COHORT, MODEL, MODEL_OPTIONS), key, strict=True))[COHORT]).parent
    return plain
