"""Traces of real devices, from a file."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError, at, unknown_name
from fedaffect.simulation.traces.devices import DAY_S, STREAM, DeviceTrace

_HOUR_S = 3_600.0
# Column -> its least and largest value, and what stands for it where the file has no such column.
COLUMNS: dict[str, tuple[float, float, float | None]] = {
    "compute_s": (0.0, math.inf, None),
    "network_s": (0.0, math.inf, 0.0),
    "dropout": (0.0, 1.0, 0.0),
    "from_hour": (0.0, 24.0, 0.0),
    "online_hours": (0.0, 24.0, 24.0),
}


def read_devices(path: Path, size: NDArray[np.float64], jitter: float, seed: int) -> DeviceTrace:
    """Devices from a CSV file, one a line; each client is one of them, by the seed.

    Parameters
    ----------
    path : Path
        Columns ``compute_s`` (training, for a client of mean size), and where wanted ``network_s``, ``dropout``,
        ``from_hour`` and ``online_hours``.
    size : float64 array, shape (K,)
        Clients' examples over the mean's.
    jitter : float
    seed : int

    Raises
    ------
    ConfigError
        If the file cannot be read, lacks a column, or holds something else than numbers in their range.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            if unknown := [name for name in names if name not in COLUMNS]:
                raise ConfigError(f"{path}: {unknown_name('column', unknown[0], COLUMNS)}")
            if "compute_s" not in names:
                raise ConfigError(f"{path}: no column compute_s; a trace has {', '.join(COLUMNS)}")
            devices = [_device(path, reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as a trace ({error}); check --trace") from error
    if not devices:
        raise ConfigError(f"{path} holds no device; a line each, below the names of its columns")
    chosen = np.random.default_rng([STREAM, seed]).integers(len(devices), size=len(size))
    table = {name: np.array([devices[k][name] for k in chosen], np.float64) for name in COLUMNS}
    return DeviceTrace(
        compute_s=table["compute_s"],
        network_s=table["network_s"],
        size=size,
        dropout=table["dropout"],
        from_s=_HOUR_S * table["from_hour"],
        online_s=np.minimum(_HOUR_S * table["online_hours"], DAY_S),
        jitter=jitter,
        seed=seed,
        about={"name": path.name, "devices": len(devices), "options": {"jitter": jitter}},
    )


def _device(path: Path, number: int, line: dict[str, str]) -> dict[str, float]:
    device: dict[str, float] = {}
    for name, (least, most, default) in COLUMNS.items():
        text = line.get(name)
        try:
            value = default if text in (None, "") and default is not None else float(text or "")
        except ValueError as error:
            raise ConfigError(f"{at(path, number)}: {name} is {text!r}, not a number") from error
        if not (least <= value <= most and math.isfinite(value)):
            raise ConfigError(f"{at(path, number)}: {name} is {value:g}, not from {least:g} to {most:g}")
        device[name] = value
    return device
