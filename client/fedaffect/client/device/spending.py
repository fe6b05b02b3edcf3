"""What a device has spent of its privacy, as it shows its user and reports to its fleet, and what a report costs.

Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from secrets import SystemRandom
from typing import Any, Final

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.privacy.accounting import Spending
from fedaffect.client.privacy.ledger import PrivacyLedger
from fedaffect.client.protocol.sizes import CHARGES_PER_CHECK_IN

# A report then costs epsilon 0.6 at delta 1e-5 where nothing else was spent; noise of 8 examples goes under in the
# sum of many devices.
_REPORT_NOISE: Final = 8.0


def ledger_of(folder: DeviceFolder) -> PrivacyLedger:
    """The device's ledger, made when missing, with the budget of its settings.

    Raises
    ------
    BudgetError
        If it cannot be used.
    """
    settings = folder.settings
    return PrivacyLedger(folder.ledger_path, settings.epsilon, settings.delta)


def noisy_count(folder: DeviceFolder, about: str, count: int) -> tuple[int, float]:
    """A count that each of the device's examples changes by 1 at most, as it may leave.

    Parameters
    ----------
    folder : DeviceFolder
    about : str
        What is counted, the same when it is counted again: it is answered with the same number at no further cost.
    count : int

    Returns
    -------
    int
        The count and rounded Gaussian noise of the system's generator.
    float
        The noise's standard deviation.

    Raises
    ------
    BudgetError
        If the device's budget does not cover it; nothing is charged then.
    """
    ledger, cost = ledger_of(folder), Spending(_REPORT_NOISE, sample_rate=1.0, steps=1)

    def drawn() -> bytes:
        # Rounding a sum with a whole number is rounding its noise: which floats occur tells nothing of the count.
        return json.dumps(count + round(SystemRandom().gauss(0.0, _REPORT_NOISE))).encode()

    return json.loads(ledger.answer(about, "", 0, cost, drawn)), _REPORT_NOISE


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


def part_to_report(spent: Sequence[dict[str, Any]], begun: int) -> tuple[list[dict[str, Any]], int]:
    """As much of it as one check-in takes, in turns.

    Parameters
    ----------
    spent : sequence of dict
        From `spent_by_run`.
    begun : int
        Where the part begins: 0, then what the call before returned.

    Returns
    -------
    list of dict
    int
        Where the next part begins, once this one has arrived.
    """
    begun = begun if begun < len(spent) else 0
    end = begun + CHARGES_PER_CHECK_IN
    return list(spent[begun:end]), end if end < len(spent) else 0
