"""Has a device's trainer write down each noisy step before it is taken, whatever its ledger says.

Python imports this module by itself where its folder is on PYTHONPATH. The file, ``noise.trace`` in the device's
folder, gets one line a step, ``[noise multiplier, sample rate]``: what a device really computed, with everything that
was lost or done again after a kill.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

TRACE = "noise.trace"


def _trace(path: Path) -> None:
    from fedaffect.client.privacy import local_training

    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    add_noise = vars(local_training)["add_noise"]
    gradient = local_training.PrivateGradients.gradient
    rates: list[float] = []

    def noted_gradient(self: Any, forward: Any, plan: Any) -> Any:
        rates[:] = [plan.sample_rate]
        return gradient(self, forward, plan)

    def noted_noise(total: Any, noise_multiplier: float, *rest: Any) -> None:
        # One write that is whole or not there; what a killed process has written stays.
        os.write(file, (json.dumps([noise_multiplier, rates[0]]) + "\n").encode())
        add_noise(total, noise_multiplier, *rest)

    local_training.PrivateGradients.gradient = noted_gradient  # type: ignore[method-assign]
    vars(local_training)["add_noise"] = noted_noise


if "fedaffect.client.device.resident" in sys.orig_argv:
    _trace(Path(sys.orig_argv[-1]) / TRACE)
