"""What a table is: rows by name, settings and protocol; published figures beside, with source and protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fedaffect.client.figures import FIGURES
from fedaffect.edge.errors import ConfigError

# What a paper may report besides, in its own words.
_MORE: Final = ("precision", "recall", "latency_ms")


@dataclass(frozen=True, slots=True)
class Published:
    """Figures of others, never mixed with ours.

    Parameters
    ----------
    source : str
        Paper and table.
    protocol : str
        How they were taken, as far as the paper says.
    figures : mapping of str to tuple of float
        Mean, then standard deviation, least and greatest where the paper has them; fractions of 1, but for ``loss``
        and ``latency_ms``. By a name of :data:`fedaffect.client.figures.FIGURES`, ``precision``, ``recall``,
        ``latency_ms``, or ``recall:joy`` of a class.
    """

    source: str
    protocol: str
    figures: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        strange = [name for name in self.figures if name.partition(":")[0] not in (*FIGURES, *_MORE)]
        if strange or not self.source or not self.protocol:
            raise ConfigError(f"published figures need a source, a protocol and known names, not {strange or 'none'}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Parameters
    ----------
    name : str
        Unique in its table.
    dataset : str
        The corpus that it is measured on; empty where nothing is run.
    settings : mapping
        Of the runs, as of ``fedaffect.simulate``; what is left out suits the corpus.
    published : tuple of Published
    against : str
        The row that it is compared with, paired by seed and by test sample.
    marks : tuple of str
        What a reader has to know before any figure: ``"actors seen"``, ``"stand-in encoders"``.
    why_not : str
        Why nothing is run.
    after : tuple of str
        The rows from whose best rounds this one's runs begin, of the same seed and fold; several for a model of their
        streams together.
    networks : mapping of str to str
        Of a row that trains encoders: by setting (``text``, ``speech``, ``vision``) the folder of pretrained weights
        that it begins from; what is left out are those that packages carry.
    answers_of : str
        Nothing is trained: the models of that row answer all of this row's corpus, which they never saw.
    """

    name: str
    dataset: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    against: str = ""
    marks: tuple[str, ...] = ()
    why_not: str = ""
    after: tuple[str, ...] = ()
    answers_of: str = ""
    networks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.dataset and not self.why_not and not self.published:
            raise ConfigError(f"row {self.name!r} neither runs anything nor shows anything published")

    @property
    def slug(self) -> str:
        """Its name as a folder's."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True, slots=True)
class Count:
    """How many utterances of each label a corpus has, or one of its splits.

    Parameters
    ----------
    name : str
    dataset : str
    split : str
        Empty for all.
    published : mapping of str to int
        By label of the vocabulary.
    """

    name: str
    dataset: str
    split: str
    published: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a paper, or one that answers a question of ours.

    Parameters
    ----------
    name : str
        As typed.
    title, source : str
    protocol : str
        How our rows are taken.
    rows : tuple of Row
    seeds : tuple of int
        Of every row.
    counts : tuple of Count
    per_class : bool
        Whether precision, recall and F1 of each class stand in it.
    dialogue : str
        The row whose model a dialogue is drawn with.
    notes : tuple of str
        The paper's slips, and what was done about them.
    """

    name: str
    title: str
    source: str
    protocol: str
    rows: tuple[Row, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    counts: tuple[Count, ...] = ()
    per_class: bool = False
    dialogue: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        slugs = [row.slug for row in self.rows]
        known = {row.name for row in self.rows}
        named = {name for row in self.rows for name in (row.against, *row.after, row.answers_of) if name}
        if self.dialogue:
            named.add(self.dialogue)
        if len(set(slugs)) < len(slugs) or named - known:
            raise ConfigError(f"table {self.name!r} has rows of one name, or names rows that it lacks: {named - known}")

    def row(self, name: str) -> Row:
        """A row by name."""
        return next(row for row in self.rows if row.name == name)
