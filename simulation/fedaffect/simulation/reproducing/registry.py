"""Tables by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from fedaffect.edge.errors import unknown_name
from fedaffect.simulation.reproducing.papers import avafn, cmt, fedmultimodal, kamble, mfer, ours
from fedaffect.simulation.reproducing.table import Table

# In the order of ``all``: what takes longest comes last.
TABLES: Final = MappingProxyType(
    {table.name: table for paper in (mfer, avafn, ours, cmt, kamble, fedmultimodal) for table in paper.TABLES}
)
ALL: Final = "all"


def tables_of(name: str) -> list[Table]:
    """A table by its name, those of a paper by the part before the last dash (``mfer``), or ``all``.

    Raises
    ------
    ConfigError
        If there is none, with the nearest.
    """
    found = [t for t in TABLES.values() if name in (ALL, t.name, t.name.rpartition("-")[0])]
    if not found:
        papers = {key.rpartition("-")[0] for key in TABLES if "-" in key}
        raise unknown_name("table", name, [ALL, *TABLES, *sorted(papers)])
    return found
