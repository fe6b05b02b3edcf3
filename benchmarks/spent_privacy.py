"""What devices have really spent of their privacy, from what they computed, beside what was recorded."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opacus.accountants import RDPAccountant

from benchmarks.noise_trace.sitecustomize import TRACE
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.spending import ledger_of
from fedaffect.client.privacy.accounting import ORDERS
from fedaffect.server.registry import Registry, devices, privacy

# Devices tell the fleet what they have spent twice a minute.
_TOLD_S = 90.0
_ROUNDING = 1e-9

Steps = Counter[tuple[float, float]]


def spent(registry: Registry, folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """By device: the truth, its own ledger's figure and the registry's, and steps of each.

    Parameters
    ----------
    registry : Registry
        Is waited for until it has heard of all that the ledgers have.
    folders : mapping of str to Path
        Of devices by name, which ran with ``benchmarks/noise_trace`` on their path.
    """
    until = time.monotonic() + _TOLD_S
    while True:
        found = {name: _of_device(registry, name, DeviceFolder(path)) for name, path in folders.items()}
        if all(one["registry"] >= one["ledger"] - _ROUNDING for one in found.values()) or time.monotonic() > until:
            return found
        time.sleep(1)


def _of_device(registry: Registry, name: str, folder: DeviceFolder) -> dict[str, Any]:
    ledger = ledger_of(folder)
    budget, delta = ledger.budget
    charges = ledger.charges()
    charged: Steps = Counter()
    kept = 0
    for charge in charges:
        charged[charge.spending.noise_multiplier, charge.spending.sample_rate] += charge.spending.steps
        # Each request once: what was charged again for it has one answer.
        kept += charge.spending.steps if charge.attempt == 1 and ledger.stored(charge.request) is not None else 0
    computed = traced(folder.path / TRACE)
    told = privacy.spent(registry, devices.get(registry, name).id)
    truth = epsilon(computed, delta)
    return {
        "budget": budget,
        "true": truth,
        "ledger": ledger.spent,
        "registry": max((one.epsilon for one in told), default=0.0),
        "steps_computed": computed.total(),
        "steps_charged": charged.total(),
        # Or the figures above are of nothing.
        "all_steps_of_answers_traced": 0 < kept <= computed.total(),
        "rounds_charged_again": sum(charge.attempt > 1 for charge in charges),
        "never_under": ledger.spent >= truth - _ROUNDING and all(charged[kind] >= n for kind, n in computed.items()),
        "within_budget": truth <= budget + _ROUNDING,
    }


def traced(path: Path) -> Steps:
    """Noisy steps that were computed, by noise multiplier and sample rate."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return Counter((float(z), float(q)) for z, q in map(json.loads, lines))


def epsilon(steps: Steps, delta: float) -> float:
    """Of these steps, by Opacus's own accountant at the orders that the ledger keeps."""
    accountant = RDPAccountant()
    accountant.history = [(z, q, n) for (z, q), n in steps.items()]
    return float(accountant.get_epsilon(delta, alphas=list(ORDERS))) if steps else 0.0
