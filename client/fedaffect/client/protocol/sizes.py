"""How much one message between a device and its fleet's service holds."""

from __future__ import annotations

from typing import Final

# Lines of its privacy ledger that a device sends with a check-in; the others go with the next ones.
CHARGES_PER_CHECK_IN: Final = 200
