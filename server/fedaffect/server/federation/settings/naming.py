"""The name that a run gets where nobody chose one: what it differs in from the corpus's defaults."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# A run of a fleet has no longer name.
_LONGEST = 64
# Said by the name's ends, or by its own part of it.
_ELSEWHERE = frozenset({"dataset", "strategy", "mode", "seed", "fold"})
# Settings whose values say by themselves what they are.
_VALUE_ALONE = frozenset({"partition", "labels", "modalities", "model", "loss", "optimizer", "compression", "attack"})


def run_name(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """A name such as ``meld-fedavg-lr0.01-seed0``: the same for the same settings.

    Parameters
    ----------
    settings : mapping
        Those that decide what a run learns, by flat name in snake_case.
    defaults : mapping
        What each would be had nobody given it.
    """
    mode, fold = settings["mode"], settings["fold"]
    parts = differences(settings, defaults)
    first = f"{settings['dataset']}-{settings['strategy'] if mode == 'federated' else mode}"
    last = f"{f'fold{fold}-' if fold is not None else ''}seed{settings['seed']}"
    if len(name := "-".join([first, *parts, last])) <= _LONGEST:
        return name
    digest = hashlib.sha256(
        json.dumps(_different(settings, defaults), sort_keys=True, default=str).encode()
    ).hexdigest()
    return f"{first}-{digest[:8]}-{last}"


def differences(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What a run differs in from the defaults, beside corpus, strategy, seed and fold: ``lr0.01`` and the like."""
    return [part for name, value in _different(settings, defaults).items() for part in _parts(name, value)]


def _different(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    different = {
        name: value for name, value in settings.items() if name not in _ELSEWHERE and value != defaults.get(name)
    }
    if settings["mode"] != "federated" and settings["strategy"] != "fedavg":
        different["strategy"] = settings["strategy"]
    return different


def _parts(name: str, value: Any) -> Iterator[str]:
    flag = name.replace("_", "-")
    if isinstance(value, dict):
        for key, option in value.items():
            yield from _parts(key, option)
    elif isinstance(value, bool):
        yield flag if value else f"no-{flag}"
    elif isinstance(value, int | float):
        yield f"{flag}{value:g}"
    else:
        text = (
            "-".join(value) if isinstance(value, tuple) else Path(value).name if isinstance(value, Path) else str(value)
        )
        text = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
        yield text if name in _VALUE_ALONE else f"{flag}-{text}"
