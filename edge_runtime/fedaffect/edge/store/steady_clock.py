"""A clock that survives restarts and never goes back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

# A clock that a device without a battery finds wrong by years, once it is online, adds no more than this.
LONGEST_STEP_S: Final = 7 * 86_400.0


def steady_s(connection: sqlite3.Connection, wall_clock: Callable[[], float]) -> float:
    """Seconds that passed since the file was made, as far as this device can tell.

    The wall clock may be set back, or found wrong by years. What passes here is the sum of its steps from one look to
    the next. A step back counts as none and is noted: a later step forward of more than ``LONGEST_STEP_S`` first makes
    up for it, so that a device that boots in 1970 every day, and learns the date a minute later, ages by days. No
    step counts more than ``LONGEST_STEP_S``. Waits and ages measured in it can then neither get stuck nor end all at
    once.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    wall_clock : callable
        Seconds since 1970, if the device knows better than to say so.
    """
    now = wall_clock()
    row = connection.execute("SELECT seen_s, steady_s, set_back_s FROM clock").fetchone()
    if row is None:
        connection.execute("INSERT INTO clock (id, seen_s, steady_s) VALUES (0, ?, 0)", (now,))
        return 0.0
    seen: float = row[0]
    steady: float = row[1]
    set_back: float = row[2]
    step = now - seen
    if step < 0:
        set_back -= step
    elif step > LONGEST_STEP_S:
        step, set_back = max(step - set_back, 0.0), max(set_back - step, 0.0)
    steady += min(max(step, 0.0), LONGEST_STEP_S)
    connection.execute("UPDATE clock SET seen_s = ?, steady_s = ?, set_back_s = ?", (now, steady, set_back))
    return steady
