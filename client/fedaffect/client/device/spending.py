"""What a device has spent of its privacy, as it shows its user and reports to its fleet. Imports no torch."""

from __future__ import annotations

from typing import Any

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.privacy.ledger import PrivacyLedger


def ledger_of(folder: DeviceFolder) -> PrivacyLedger:
    """The device's ledger, made when missing, with the budget of its settings.

    Raises
    ------
    BudgetError
        If it cannot be used.
    """
    settings = folder.settings
    return PrivacyLedger(folder.ledger_path, settings.epsilon, settings.delta)


def spent_by_run(folder: DeviceFolder) -> list[dict[str, Any]]:
    """What each run's last round left spent; empty before the first.

    Raises
    ------
    BudgetError
        If the ledger cannot be used.
    """
    if not folder.ledger_path.is_file():
        return []
    ledger = ledger_of(folder)
    _, delta = ledger.budget
    last = {charge.run: charge for charge in ledger.charges()}
    return [
        {
            "run": charge.run,
            "round": charge.round,
            "attempt": charge.attempt,
            "epsilon": charge.epsilon_after,
            "delta": delta,
            "noise_multiplier": charge.spending.noise_multiplier,
        }
        for charge in last.values()
        if charge.run
    ]
