"""Which trace a run's settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedaffect.client.cohort import Cohort
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.server.federation.settings import ASYNC, RunSettings
from fedaffect.simulation.traces.csv_file import read_devices
from fedaffect.simulation.traces.devices import DeviceTrace, drawn_devices

DEVICES = "devices"
_OPTIONS = {"compute-s": 20.0, "network-s": 10.0, "spread": 0.8, "jitter": 0.2, "dropout": 0.05, "online": 1.0}
# What a file says itself is not to be said twice.
_FILE_OPTIONS = {"jitter": 0.2}


def check_trace(config: RunSettings) -> None:
    """Refuse a trace or an option of one that does not exist, before anything slow begins.

    Raises
    ------
    ConfigError
        Saying what there is.
    """
    name = _trace_name(config)
    if name is None:
        if config.time.trace_options:
            raise ConfigError("--trace-option says how devices are; add --trace devices, or a CSV file")
        return
    _options(name, config.time.trace_options)
    if name != DEVICES and not Path(name).is_file():
        raise ConfigError(f"--trace {name} is neither 'devices' nor a CSV file")


def pace_of(config: RunSettings, cohort: Cohort) -> DeviceTrace | None:
    """The trace of a run; None where clients take no time.

    Drawn devices where only a deadline, over-selection or ``--mode async`` was asked for: in real time a simulation
    of them would come out differently each time.

    Raises
    ------
    ConfigError
        As :func:`check_trace`, or if the file is no trace.
    """
    check_trace(config)
    name = _trace_name(config)
    if name is None:
        return None
    examples = np.diff(np.asarray(cohort.client_offsets)).astype(np.float64)
    size = examples / max(1.0, float(examples.mean()))
    options = _options(name, config.time.trace_options)
    if name == DEVICES:
        return drawn_devices(size, options, config.federation.seed)
    return read_devices(Path(name), size, options["jitter"], config.federation.seed)


def _trace_name(config: RunSettings) -> str | None:
    timed = config.federation.mode == ASYNC or config.time.over_selection > 1 or config.time.deadline_s is not None
    return DEVICES if config.time.trace is None and timed else config.time.trace


def _options(name: str, given: Mapping[str, Any]) -> dict[str, float]:
    options = dict(_OPTIONS if name == DEVICES else _FILE_OPTIONS)
    for key, value in given.items():
        if key not in options:
            raise unknown_name("trace option", key, options)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ConfigError(f"trace option {key} takes a number of 0 or more, not {value!r}")
        options[key] = float(value)
    for key in ("dropout", "online"):
        if not options.get(key, 0.0) <= 1:
            raise ConfigError(f"trace option {key} is a rate between 0 and 1, not {options[key]}")
    return options
