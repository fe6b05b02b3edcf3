"""Is the smaller graph worth having? Measured against FP32, on one core, before it is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np

from fedaffect.edge.system.onnx_session import open_session
from fedaffect.server.models.bundling.precision import INTEGER_OPERATORS, Feed, halve_weights, operators

_REPEATS: Final = 15
_WARM: Final = 3
# INT8 halves what has to be downloaded, so that a near tie, as without integer dot products (VNNI), goes to it.
_AS_FAST: Final = 1.25


@dataclass(frozen=True, slots=True)
class Choice:
    """Which graph was taken and why.

    Parameters
    ----------
    path : Path
        The graph.
    precision : {"int8", "fp16", "fp32"}
        ``fp16`` stores weights in half precision and computes in FP32.
    latency_ms, fidelity : dict
        As the manifest keeps them.
    alternatives : mapping of str to Path
        Graphs in other precisions that are worth carrying too.
    """

    path: Path
    precision: str
    latency_ms: dict[str, Any] = field(default_factory=dict)
    fidelity: dict[str, Any] = field(default_factory=dict)
    alternatives: dict[str, Path] = field(default_factory=dict)


def choose(
    full: Path,
    quantise: Callable[[Path, Path], None] | None,
    probes: Sequence[Feed],
    what: str,
    bound: float,
    carry_both: bool = False,
) -> Choice:
    """Take INT8 where it is faithful and no slower than its size is worth, FP32 from half-precision weights otherwise.

    Parameters
    ----------
    full : Path
        The FP32 graph.
    quantise : callable of (source, target), optional
        Makes the INT8 graph; not given, FP32 is kept as it is.
    probes : sequence of feeds
        Inputs to compare on; the first is timed.
    what : str
        What the first probe is, for the manifest.
    bound : float
        Mean cosine between the vectors of the two graphs from which INT8 counts as faithful.
    carry_both : bool
        Where INT8 is faithful, keep the other graph beside the one taken: which is faster is this machine's finding,
        and a device with other vector units may find otherwise.
    """
    if quantise is None:
        return Choice(full, "fp32", {"fp32": latency_ms([full], probes[0])[0], "input": what})
    small = full.with_name(f"{full.stem}.int8.onnx")
    quantise(full, small)
    slow, fast = latency_ms([full, small], probes[0])
    cosine = mean_cosine(full, small, probes)
    measured = {"fp32": slow, "int8": fast, "input": what}
    integer = sum(count for name, count in operators(small).items() if name in INTEGER_OPERATORS)
    half = full.with_name(f"{full.stem}.half.onnx")
    faithful = integer > 0 and cosine >= bound
    if faithful and fast <= _AS_FAST * slow:
        if carry_both:
            halve_weights(full, half)
        fidelity = {"cosine": round(cosine, 4), "bound": bound}
        return Choice(small, "int8", measured, fidelity, {"fp16": half} if carry_both else {})
    halve_weights(full, half)
    kept = {"cosine": round(mean_cosine(full, half, probes), 6), "bound": bound, "int8_cosine": round(cosine, 4)}
    return Choice(half, "fp16", measured, kept, {"int8": small} if carry_both and faithful else {})


def latency_ms(paths: Sequence[Path], feed: Feed) -> list[float]:
    """Median time of one run of each graph on one thread, the graphs taking turns so that a busy machine is fair."""
    sessions = [open_session(path) for path in paths]
    times: list[list[float]] = [[] for _ in paths]
    for repeat in range(_WARM + _REPEATS):
        for session, taken in zip(sessions, times, strict=True):
            start = perf_counter()
            session.run(None, feed)
            if repeat >= _WARM:
                taken.append((perf_counter() - start) * 1000)
    return [round(median(taken), 2) for taken in times]


def mean_cosine(one: Path, other: Path, feeds: Sequence[Feed]) -> float:
    """Mean cosine between the feature vectors of two graphs over some inputs."""
    first, second = open_session(one), open_session(other)
    cosines = []
    for feed in feeds:
        a, b = first.run(None, feed)[0], second.run(None, feed)[0]
        scale = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        cosines.append((np.einsum("...w,...w->...", a, b) / np.maximum(scale, 1e-12)).ravel())
    return float(np.concatenate(cosines).mean())
