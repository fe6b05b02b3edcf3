"""How the full model is spread over a Ray cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.sample import MODALITIES

FUSION: Final = "fusion"
PARTS: Final = (*MODALITIES, FUSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """One deployment: how many replicas, and what each holds.

    Parameters
    ----------
    min_replicas, max_replicas : int
        Ray adds and takes away replicas between these.
    cpus : float, optional
        That a replica reserves. Left out: one on a cluster; on this machine alone a share small enough that all
        deployments of a version fit beside those of the version before it, and one at most.
    gpus : float
        That it reserves; a fraction shares a device.
    target_ongoing : float
        Requests inside a replica, on average, above which another is added.
    max_ongoing : int
        Requests inside a replica at most; further ones wait outside.
    max_batch : int
        Samples that the network takes at once.
    batch_wait_ms : float
        How long a first sample waits for others.
    """

    min_replicas: int = 1
    max_replicas: int = 4
    cpus: float | None = None
    gpus: float = 0.0
    target_ongoing: float = 8.0
    max_ongoing: int = 32
    max_batch: int = 16
    batch_wait_ms: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ConfigError(
                f"{self.min_replicas} to {self.max_replicas} replicas cannot be; give at least 1, and no fewer at most"
            )
        if (
            (self.cpus is not None and self.cpus < 0)
            or self.gpus < 0
            or (self.gpus > 1 and self.gpus != int(self.gpus))
        ):
            raise ConfigError(f"cpus {self.cpus}, gpus {self.gpus}: give 0 or more, and whole GPUs above one")
        if self.target_ongoing <= 0 or self.max_ongoing < 1 or self.max_batch < 1 or self.batch_wait_ms < 0:
            raise ConfigError("target_ongoing, max_ongoing and max_batch must be positive, batch_wait_ms not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """All deployments of a model, and the cluster.

    Parameters
    ----------
    address : str, optional
        Of a cluster, such as ``host:6379``; Ray on this machine only if not given. All machines of a cluster see
        the model folder under the same path.
    parts : mapping of str to Replicas
        By deployment: ``text``, ``audio``, ``video``, ``fusion``; defaults for those left out.
    cores : int, optional
        Of this machine, that Ray may use; all if not given.
    store_bytes : int
        Of Ray's object store on this machine.
    decoders : int
        Files that each server opens at once, each in a process of its own.
    most_inside : int
        Requests that one server lets in; further ones are told to come back.
    start_s : float
        How long the deployments may take to start.
    """

    address: str | None = None
    parts: Mapping[str, Replicas] = field(default_factory=dict)
    cores: int | None = None
    store_bytes: int = 512 << 20
    decoders: int = 4
    most_inside: int = 256
    start_s: float = 600.0

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise unknown_name("deployment", part, PARTS)
        if self.most_inside < 1 or self.decoders < 1 or self.start_s <= 0:
            raise ConfigError("most_inside, decoders and start_s must be positive")

    def of(self, part: str) -> Replicas:
        """One deployment's, with the processors that it reserves."""
        replicas = self.parts.get(part, Replicas())
        return replicas if replicas.cpus is not None else replace(replicas, cpus=self._share())

    def _share(self) -> float:
        if self.address is not None:
            return 1.0
        cores = self.cores or len(os.sched_getaffinity(0))
        return min(1.0, cores / (2 * len(PARTS)))

    @classmethod
    def read(cls, path: Path) -> RaySettings:
        """From JSON: the fields above, ``parts`` an object of objects.

        Raises
        ------
        ConfigError
            If the file is no such JSON, or a value is not possible.
        """
        try:
            values: Any = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read as JSON ({error}); write the Ray settings again") from error
        if not isinstance(values, dict) or not isinstance(values.get("parts", {}), dict):
            raise ConfigError(f"{path} wants an object, with 'parts' an object of deployments")
        _check_names(path, cls, values)
        parts = {}
        for name, given in values.pop("parts", {}).items():
            if not isinstance(given, dict):
                raise ConfigError(f'{path}: {name} wants an object, as in {{"gpus": 0.25}}')
            _check_names(path, Replicas, given)
            parts[name] = given
        try:
            return cls(**values, parts={name: Replicas(**given) for name, given in parts.items()})
        except TypeError as error:
            raise ConfigError(f"{path} holds a value of the wrong type ({error}); write numbers as numbers") from error


def _check_names(path: Path, kind: type[RaySettings] | type[Replicas], values: Mapping[str, Any]) -> None:
    known = [entry.name for entry in fields(kind)]
    for name in values:
        if name not in known:
            raise unknown_name(f"setting in {path}", name, known)
