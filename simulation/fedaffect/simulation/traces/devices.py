"""Devices as a trace knows them, and what becomes of one that is asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.server.federation.asynchronous.pace import Trip

DAY_S = 86_400.0
# Sets these draws apart from others that a run derives from the same seed.
STREAM = 0xDE71CE


@dataclass(frozen=True, slots=True)
class DeviceTrace:
    """K devices, each with its pace, its hours and its reliability.

    A task takes ``network_s + compute_s * size``, where size is the client's share of examples over the mean's, both
    times a log-normal factor of the occasion. A device is online from ``from_s`` on for ``online_s`` of every day.

    Parameters
    ----------
    compute_s, network_s : float64 arrays, shape (K,)
        Seconds of training for a client of mean size, and of both transfers.
    size : float64 array, shape (K,)
        Examples over the mean's.
    dropout : float64 array, shape (K,)
        Probability that a device which was asked never answers.
    from_s, online_s : float64 arrays, shape (K,)
        Seconds after the day's beginning, and how long; a whole day is always.
    jitter : float
        Standard deviation of the occasion's factor, in logarithm.
    seed : int
    about : dict
        What a summary says of where this came from.
    """

    compute_s: NDArray[np.float64]
    network_s: NDArray[np.float64]
    size: NDArray[np.float64]
    dropout: NDArray[np.float64]
    from_s: NDArray[np.float64]
    online_s: NDArray[np.float64]
    jitter: float
    seed: int
    about: dict[str, Any]

    def online(self, at_s: float) -> NDArray[np.bool_]:
        """Who can be asked, (K,)."""
        there: NDArray[np.bool_] = (at_s - self.from_s) % DAY_S < self.online_s
        return there

    def trip(self, client: int, start: int, at_s: float) -> Trip:
        """What becomes of a client that is asked; decided by the seed, the client and the number of the asking."""
        generator = np.random.default_rng([STREAM, self.seed, client, start])
        factor = float(np.exp(self.jitter * generator.standard_normal()))
        usual_s = float(self.network_s[client] + self.compute_s[client] * self.size[client])
        return Trip(usual_s * factor, bool(generator.random() >= self.dropout[client]))

    def describe(self) -> dict[str, Any]:
        """Where this came from, and a hash over what it says."""
        parts = (self.compute_s, self.network_s, self.size, self.dropout, self.from_s, self.online_s)
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
        return {**self.about, "sha256": digest[:16]}


def drawn_devices(size: NDArray[np.float64], options: dict[str, float], seed: int) -> DeviceTrace:
    """Devices drawn from a seed: log-normal speeds, as measured fleets have them, and hours around the clock.

    Bonawitz et al. (2019), figure 5, and Yang et al., "Characterizing Impacts of Heterogeneity in Federated Learning"
    (2021), section 3, found speeds an order of magnitude apart and a clear day and night; the defaults follow them.

    Parameters
    ----------
    size : float64 array, shape (K,)
    options : dict
        ``compute-s``, ``network-s`` (medians), ``spread`` and ``jitter`` (in logarithm), ``dropout``, and ``online``,
        the share of the day that a device is there.
    seed : int
    """
    generator = np.random.default_rng([STREAM, seed])
    clients = len(size)
    return DeviceTrace(
        compute_s=options["compute-s"] * np.exp(options["spread"] * generator.standard_normal(clients)),
        network_s=options["network-s"] * np.exp(options["spread"] * generator.standard_normal(clients)),
        size=size,
        dropout=np.full(clients, options["dropout"]),
        from_s=DAY_S * generator.random(clients),
        online_s=np.full(clients, DAY_S * options["online"]),
        jitter=options["jitter"],
        seed=seed,
        about={"name": "devices", "options": options},
    )
