"""Which precision of an encoder is fastest on this very processor: measured once, then remembered.

Vector units differ: with VNNI an INT8 network may be thrice as fast as FP32, without it slower.
"""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.bundle.entries import EncoderEntry
from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.files import write_whole
from fedaffect.edge.system.folders import cache_folder
from fedaffect.edge.system.onnx_session import open_session

_FILE: Final = "fastest-variants.json"
_WARM: Final = 2
_REPEATS: Final = 7
# A three-second clip, a short sentence: what free dimensions are set to for the measurement.
_LENGTHS: Final = {"log_mel": 300, "waveform": 48_000, "input_ids": 16, "pixels": 1}


def fastest(folder: Path, entry: EncoderEntry) -> EncoderEntry:
    """The variant of an encoder that this device runs fastest.

    Parameters
    ----------
    folder : Path
        The bundle's.
    entry : EncoderEntry
        With alternatives.
    """
    memory = cache_folder() / _FILE
    about = f"{entry.key()} {processor()}"
    known = _recall(memory)
    variants = {variant.network.sha256: variant for variant in entry.variants}
    if known.get(about) not in variants:
        times = measure(folder, entry)
        known[about] = min(times, key=times.__getitem__)
        _remember(memory, known)
    return variants[known[about]]


def measure(folder: Path, entry: EncoderEntry) -> dict[str, float]:
    """Median milliseconds of each variant on one thread, by the SHA-256 of its network; they take turns.

    Raises
    ------
    BundleError
        If a network does not run.
    """
    variants = entry.variants
    sessions = [open_session(folder / variant.network.file) for variant in variants]
    feed = _feed(sessions[0], entry)
    times: list[list[float]] = [[] for _ in variants]
    for repeat in range(_WARM + _REPEATS):
        for session, taken in zip(sessions, times, strict=True):
            start = perf_counter()
            session.run(None, feed)
            if repeat >= _WARM:
                taken.append((perf_counter() - start) * 1000)
    return {v.network.sha256: median(taken) for v, taken in zip(variants, times, strict=True)}


def _feed(session: Any, entry: EncoderEntry) -> dict[str, NDArray[Any]]:
    """A plausible input: sizes that the graph leaves free are set, the batch to one."""
    rng = np.random.default_rng(0)
    feed: dict[str, NDArray[Any]] = {}
    for value in session.get_inputs():
        length = _LENGTHS.get(value.name)
        if length is None:
            raise BundleError(f"the {entry.modality} encoder takes {value.name!r}, which is unknown; update fedaffect")
        shape = [1, *(d if isinstance(d, int) else length for d in value.shape[1:])]
        if "int" in value.type:
            feed[value.name] = np.zeros(shape, np.int64)
        else:
            feed[value.name] = rng.normal(size=shape).astype(np.float32)
    return feed


def processor() -> str:
    """The processor's name, with what decides the speed of INT8 beside it."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            what, _, value = line.partition(":")
            if what.strip() == "model name":
                name = value.strip()
            elif what.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    except OSError:
        # Only Linux has that file; elsewhere the plain name must do.
        pass
    units = sorted(flags & {"avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
    return " ".join([platform.machine(), name, *units])


def _recall(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Nothing remembered, or damaged: measuring again costs less than an error.
        return {}
    return {str(k): str(v) for k, v in content.items()} if isinstance(content, dict) else {}


def _remember(path: Path, known: dict[str, str]) -> None:
    # A device whose disk is read-only measures at every start.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(known, indent=2).encode(), private=True)
