"""One copy on disk of features that several cohorts hold."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fedaffect.edge.bundle.manifest import hash_of

_SHARED = ".shared"


def share_tables(cohort: Path) -> None:
    """Let equal token files of all cohorts beside this one be one file under several names.

    Seeds and partitions change who holds which row, not the rows: without this, five seeds of a sweep would keep five
    copies of all features, in the disk's cache too. Where hard links are not possible, the copies stay.

    Parameters
    ----------
    cohort : Path
        A saved cohort; its files are never written again.
    """
    shared = cohort.parent / _SHARED
    for tokens in cohort.glob("*.tokens.npy"):
        one = shared / f"{hash_of(tokens)}.npy"
        try:
            shared.mkdir(exist_ok=True)
            if not one.exists():
                os.link(tokens, one)
            elif not one.samefile(tokens):
                _replace_by_link(tokens, one)
        except OSError:
            return


def _replace_by_link(path: Path, target: Path) -> None:
    # Linked under another name first, so that the file is there at every moment.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        link = Path(folder) / path.name
        os.link(target, link)
        link.replace(path)
