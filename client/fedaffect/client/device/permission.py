"""Whether a device may learn now: consent, enough examples, power, quiet, an unmetered network, quiet hours.

What the machine does not report (a desktop has no battery) refuses nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any, ClassVar, Final

from fedaffect.edge.errors import ConfigError

_POWER: Final = Path("/sys/class/power_supply")
_ROUTES: Final = Path("/proc/net/route")
_LOAD: Final = Path("/proc/loadavg")
_HOURS: Final = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")
# Interfaces of mobile modems and of USB tethering, as Linux names them; those of Wi-Fi are taken for unmetered.
_METERED: Final = ("wwan", "rmnet", "ppp", "usb")
_UP: Final = 0x1


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRules:
    """When a device may learn.

    Parameters
    ----------
    min_examples : int
        With fewer, it refuses.
    quiet_hours : str
        ``HH:MM-HH:MM`` in local time, in which it refuses; may cross midnight. Empty for none.
    only_charging, only_unmetered : bool
    busy_load : float
        Load over cores above which the device is in use and refuses; 0 ignores the load.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}

    min_examples: int = 8
    quiet_hours: str = ""
    only_charging: bool = False
    only_unmetered: bool = False
    busy_load: float = 0.0

    def __post_init__(self) -> None:
        if self.min_examples < 1:
            raise ConfigError("min_examples must be 1 or more; a device without examples has nothing to learn from")
        if self.quiet_hours and not _HOURS.match(self.quiet_hours):
            raise ConfigError(f"quiet hours {self.quiet_hours[:40]!r} are not HH:MM-HH:MM; write 22:00-07:00")
        if not 0 <= self.busy_load < math.inf:
            raise ConfigError("busy_load must not be negative; 0 ignores the load")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the machine reports; None where it does not.

    Parameters
    ----------
    charging, metered : bool, optional
    load : float, optional
        Over cores, of the last minute.
    """

    charging: bool | None = None
    metered: bool | None = None
    load: float | None = None

    @classmethod
    def now(cls, power: Path = _POWER, routes: Path = _ROUTES, load: Path = _LOAD, cores: int = 1) -> Surroundings:
        """Read them from the machine."""
        return cls(charging=_charging(power), metered=_metered(routes), load=_load(load, cores))


def refusal(
    rules: LearningRules, *, consent: bool, examples: int, surroundings: Surroundings, moment: datetime
) -> str | None:
    """Why a device does not learn now, or None where it may.

    Parameters
    ----------
    rules : LearningRules
    consent : bool
    examples : int
        That it could learn from.
    surroundings : Surroundings
    moment : datetime
        Local time.
    """
    if not consent:
        return "its user has not agreed to learning"
    if examples < rules.min_examples:
        # Not how many: the server would learn from the number how much its user talks.
        return "it has too few examples"
    if rules.quiet_hours and _within(rules.quiet_hours, moment.time()):
        return f"it is quiet from {rules.quiet_hours.replace('-', ' to ')}"
    if rules.only_charging and surroundings.charging is False:
        return "it runs on its battery"
    if rules.only_unmetered and surroundings.metered:
        return "its network is metered"
    if rules.busy_load and surroundings.load is not None and surroundings.load > rules.busy_load:
        return "it is in use"
    return None


def _within(hours: str, moment: time) -> bool:
    match = _HOURS.match(hours)
    if match is None:
        return False
    a, b, c, d = map(int, match.groups())
    begin, end = time(a, b), time(c, d)
    return begin <= moment < end if begin <= end else moment >= begin or moment < end


def _charging(power: Path) -> bool | None:
    """False where a battery discharges, True where mains or a full battery are seen."""
    seen: bool | None = None
    for supply in sorted(power.glob("*")):
        kind = _read(supply / "type")
        if kind == "Mains" and _read(supply / "online") == "1":
            return True
        if kind == "Battery":
            seen = _read(supply / "status") in ("Charging", "Full", "Not charging")
    return seen


def _metered(routes: Path) -> bool | None:
    """Whether the default route goes over a modem."""
    for line in _read(routes).splitlines()[1:]:
        columns = line.split()
        if len(columns) > 3 and columns[1] == "00000000" and int(columns[3], 16) & _UP:
            return columns[0].startswith(_METERED)
    return None


def _load(path: Path, cores: int) -> float | None:
    text = _read(path)
    return float(text.split()[0]) / max(1, cores) if text else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
