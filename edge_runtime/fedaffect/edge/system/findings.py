"""What was found of a machine at a look: by `fedaffect doctor`, before a server starts, and while it runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from fedaffect.edge.errors import ConfigError

State = Literal["good", "warning", "missing"]
_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    what : str
    state : str
        ``good``, ``warning`` (it works, and will not for long or not well) or ``missing``.
    says : str
    mend : str
        The command that mends it, or what to do; empty where nothing is to be done.
    """

    what: str
    state: State
    says: str
    mend: str = ""

    @property
    def line(self) -> str:
        """All of it, for a person."""
        return f"{self.what}: {self.says}" + (f"; {self.mend}" if self.mend else "")


def require(findings: Iterable[Finding]) -> list[str]:
    """See that nothing is missing, before anything starts.

    Parameters
    ----------
    findings : iterable of Finding
        Looked at one after the other, up to the first that is missing.

    Returns
    -------
    list of str
        A line for each warning.

    Raises
    ------
    ConfigError
        Of the first that is missing, with its remedy.
    """
    warnings = []
    for found in findings:
        if found.state == "missing":
            raise ConfigError(found.line)
        if found.state == "warning":
            warnings.append(found.line)
    return warnings


def room(folder: Path, what: str, megabytes: int = 1_000, mend: str = "") -> Finding:
    """Whether there is room on the disk where something is kept, or will be.

    Parameters
    ----------
    folder : Path
    what : str
        Is kept there.
    megabytes : int
        That are wanted at least.
    mend : str, optional
        What puts it elsewhere.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free // _MB
    said = f"{free} MB are left" if free < 10_000 else f"{free / 1000:.0f} GB are left"
    if free < megabytes:
        free_some = f"make room on the disk of {folder}" + (f", or {mend}" if mend else "")
        return Finding(f"disk of {what}", "missing", f"{said}, and {megabytes} are wanted", free_some)
    return Finding(f"disk of {what}", "good", said)
