"""What a run spent of privacy, in words for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def spent(privacy: Mapping[str, Any] | None) -> str:
    """Such as ``ε 2.31 (δ 1e-05)``; empty where a round or a run says nothing of privacy.

    Parameters
    ----------
    privacy : mapping, optional
        ``epsilon`` and ``delta`` of a line of ``metrics.jsonl`` or of ``summary.json``; an epsilon of None is infinite.
    """
    if not privacy:
        return ""
    epsilon = privacy["epsilon"]
    return f"ε {'∞' if epsilon is None else f'{epsilon:.3g}'} (δ {privacy['delta']:g})"


def guarantee(privacy: Mapping[str, Any]) -> str:
    """The same with whom it protects and how: ``ε 7.98 (δ 1e-05) for each client, central gaussian noise``.

    Parameters
    ----------
    privacy : mapping
        ``privacy`` of ``summary.json``.
    """
    mechanism = f"{privacy['kind']} {privacy.get('mechanism', 'gaussian')} noise"
    nobody = "" if privacy["private"] else ", which protects nobody"
    return f"{spent(privacy)} for each {privacy['unit']}, {mechanism}{nobody}"
