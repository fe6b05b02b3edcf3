"""A backdoor: examples with a trigger among their tokens, all labelled as the attacker wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.attacks.labels import hard, rows_of

# The view of the test split on which the accuracy is the backdoor's success: triggered, and labelled as it wants.
BACKDOOR_VIEW = "test-backdoor"
_STREAM = 0xD00B
# Enough rows to know how far a stream's features spread.
_ROWS_FOR_SCALE = 2_000


def plant_backdoor(cohort: Cohort, malicious: tuple[int, ...], options: Mapping[str, float], seed: int) -> Cohort:
    """Malicious clients hold some of their examples with a trigger, labelled as the target class.

    Gu et al., "BadNets" (2017), in token space: the first token of a stream gives way to a fixed pattern, as a rare
    word, a click or a sticker would show in an encoder's output. The pattern is ``mean + strength * std * sign`` with
    a sign drawn for each feature. The test split gets a further view, ``test-backdoor``: its examples of all other
    classes with the trigger, labelled as the target, so that accuracy there is the backdoor's rate of success.

    Parameters
    ----------
    cohort : Cohort
    malicious : tuple of int
    options : mapping
        ``target``, the class wanted; ``share`` of a malicious client's examples that get the trigger; ``strength``.
    seed : int

    Raises
    ------
    ConfigError
        If there is no such class.
    """
    target = int(options["target"])
    if target >= len(cohort.label_names):
        raise ConfigError(f"attack option target={target} is no class; there are 0 to {len(cohort.label_names) - 1}")
    generator = np.random.default_rng([_STREAM, seed])
    held = rows_of(cohort, malicious)
    poisoned = np.sort(generator.choice(held, size=round(options["share"] * len(held)), replace=False))
    test = cohort.splits.get("test", np.zeros(0, np.int64))
    victims = test[cohort.labels[test] != target]

    count = len(cohort.labels)
    # All rows as they were, then the victims a second time, with the trigger.
    order = np.concatenate([np.arange(count), victims])
    triggered = np.concatenate([poisoned, np.arange(count, count + len(victims))])
    tables = {
        name: _with_trigger(_taken(table, victims), triggered, _pattern(table, options["strength"], generator))
        for name, table in cohort.tables.items()
        # What was said before is nobody's to forge.
        if name != "context"
    }
    if "context" in cohort.tables:
        tables["context"] = _taken(cohort.tables["context"], victims)
    labels = cohort.train_labels[order].copy()
    labels[triggered] = target
    truth = cohort.labels[order].copy()
    truth[count:] = target
    soft = None if cohort.soft_labels is None else cohort.soft_labels[order]
    return replace(
        cohort,
        tables={name: tables[name] for name in cohort.tables},
        present={name: held[order] for name, held in cohort.present.items()},
        labels=truth,
        train_labels=labels,
        splits={**cohort.splits, BACKDOOR_VIEW: np.arange(count, count + len(victims))},
        groups=cohort.groups[order],
        soft_labels=hard(soft, triggered, labels),
    )


def _taken(table: TokenTable, victims: NDArray[np.int64]) -> TokenTable:
    """The table with the victims' sequences once more behind it."""
    lengths = table.lengths(victims)
    pieces = [table.tokens[table.offsets[row] : table.offsets[row + 1]] for row in victims]
    tokens: NDArray[Any] = np.concatenate([table.tokens, *pieces])
    offsets = np.concatenate([table.offsets, table.offsets[-1] + np.cumsum(lengths)])
    return TokenTable(tokens, offsets.astype(np.int64))


def _pattern(table: TokenTable, strength: float, generator: np.random.Generator) -> NDArray[np.float32]:
    some = table.tokens[: _ROWS_FOR_SCALE * 10].astype(np.float32)
    signs = generator.choice(np.array([-1.0, 1.0], np.float32), size=table.width)
    if len(some) == 0:
        return (strength * signs).astype(np.float32)
    pattern: NDArray[np.float32] = some.mean(0) + strength * some.std(0) * signs
    return pattern


def _with_trigger(table: TokenTable, rows: NDArray[np.int64], pattern: NDArray[np.float32]) -> TokenTable:
    tokens: NDArray[Any] = np.array(table.tokens)
    tokens[table.offsets[rows[table.lengths(rows) > 0]]] = pattern.astype(tokens.dtype)
    return TokenTable(tokens, table.offsets)
