from __future__ import annotations

from tests.simulation.grid.conftest import connected as connected
