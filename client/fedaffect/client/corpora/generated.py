"""Corpora that are drawn from a seed: there is no folder, and the seed decides everything."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

from fedaffect.client.corpora.base import Corpus
from fedaffect.edge.errors import ConfigError


class GeneratedCorpus(Corpus):
    """A corpus without a folder.

    Parameters
    ----------
    data_dir : None
        There is none.
    seed : int
        Decides everything; 0 or more.

    Attributes
    ----------
    edition : int
        Raised whenever the same seed would give other utterances, so that cached features are not mistaken.

    Raises
    ------
    ConfigError
        If a folder is given, or the seed is below 0.
    """

    edition: ClassVar[int]

    def __init__(self, data_dir: Path | None = None, *, seed: int = 0) -> None:
        name = self.info.name
        if data_dir is not None:
            raise ConfigError(f"corpus {name} is generated and reads no folder; leave out --data-dir {data_dir}")
        if seed < 0:
            raise ConfigError(f"corpus {name}'s seed is {seed}; choose 0 or more")
        self.seed = seed

    def fingerprint(self) -> str:
        """SHA-256 of the edition and seed, which decide everything."""
        return hashlib.sha256(f"{self.info.name}\n{self.edition}\n{self.seed}\n".encode()).hexdigest()
