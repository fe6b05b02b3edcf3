"""Many runs of one setting or another, each with several seeds, and a table of means at the end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeAlias

from fedaffect.client.figures import FIGURES
from fedaffect.edge.errors import ConfigError, FedAffectError, RunError, unknown_name
from fedaffect.server.federation.checkpoint import write_atomically
from fedaffect.server.federation.settings import RunSettings, sections_by_name
from fedaffect.simulation.recorded_run import SWEEP

_TABLES = ("strategy_options", "model_options")

Settings: TypeAlias = dict[str, Any]
RunOne: TypeAlias = Callable[[RunSettings, str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Axis:
    """A setting and the values it takes in turn.

    Parameters
    ----------
    key : str
        Name of a setting in snake_case, or ``strategy_options.<name>``, ``model_options.<name>``.
    values : tuple of str
        As typed.
    """

    key: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        table, _, option = self.key.partition(".")
        known = [name.replace("_", "-") for name in sections_by_name() if name not in ("out", "name", *_TABLES)]
        if not (table in sections_by_name() and (not option or table in _TABLES)) or self.key in (
            "out",
            "name",
            *_TABLES,
        ):
            raise unknown_name("setting to sweep", self.key.replace("_", "-"), known)
        if not self.values or len(set(self.values)) < len(self.values):
            raise ConfigError(f"--sweep {self.key} needs different values; write --sweep lr=0.001,0.01")

    @classmethod
    def parse(cls, text: str) -> Axis:
        """From ``key=a,b,c``; in values of ``modalities`` a ``+`` joins several.

        Raises
        ------
        ConfigError
            If it is written otherwise, or the key is no setting.
        """
        key, equals, values = text.partition("=")
        if not equals:
            raise ConfigError(f"--sweep {text} lacks values; write --sweep {text}=a,b,c")
        table, dot, option = key.strip().partition(".")
        return cls(table.replace("-", "_") + dot + option, tuple(v.strip() for v in values.split(",") if v.strip()))

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both ends of a range, whole numbers as such; None where values are named."""
        low, dots, high = self.values[0].partition("..")
        if not dots:
            return None
        ends = read_value(low), read_value(high)
        if len(self.values) > 1 or not all(type(end) in (int, float) for end in ends) or not ends[0] < ends[1]:
            raise ConfigError(f"--sweep {self.key} takes one range from low to high; write --sweep lr=0.0001..0.01")
        return ends


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a sweep.

    Parameters
    ----------
    name : str
        Its folder: ``lr=0.01,seed=0``.
    settings : mapping
        What this member alone has, by key as in :class:`Axis`, the seed left out.
    seed : int
    config : RunSettings
    """

    name: str
    settings: Mapping[str, str]
    seed: int
    config: RunSettings

    @property
    def group(self) -> str:
        """What members that differ only in their seed share."""
        return ",".join(f"{key.replace('_', '-')}={value}" for key, value in self.settings.items())


def read_value(text: str) -> Any:
    """A setting as typed on the command line: a number, true or false, or else text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def plan(settings: Settings, axes: Sequence[Axis], seeds: Sequence[int], folder: Path) -> list[Member]:
    """Every combination of values with every seed, each checked before the first one runs.

    Parameters
    ----------
    settings : dict
        What all have in common, by name in snake_case.
    axes : sequence of Axis
    seeds : sequence of int
    folder : Path
        The sweep's folder.

    Raises
    ------
    ConfigError
        If a combination is no valid run.
    """
    if ranges := [axis.key.replace("_", "-") for axis in axes if axis.bounds]:
        raise ConfigError(f"--sweep {ranges[0]} is a range, which has no end of values; say how many with --trials 20")
    members = []
    for values in itertools.product(*(axis.values for axis in axes)):
        own = {axis.key: value for axis, value in zip(axes, values, strict=True)}
        members += [member_of(settings, own, seed, folder) for seed in seeds]
    return members


def member_of(settings: Settings, own: Mapping[str, str], seed: int, folder: Path) -> Member:
    """A run with settings of its own, by key as in :class:`Axis`, beside those that all have in common.

    Raises
    ------
    ConfigError
        If it is no valid run.
    """
    label = ",".join([*(f"{k.replace('_', '-')}={v}" for k, v in own.items()), f"seed={seed}"])
    name = label.replace("/", "_")
    config = RunSettings.of({**_with(settings, own), "seed": seed, "out": folder, "name": name})
    return Member(name, own, seed, config)


def run_sweep(members: Sequence[Member], folder: Path, run_one: RunOne, warn: Callable[[str], None]) -> dict[str, Any]:
    """Run all members, and write ``sweep.json`` after each; one that fails does not stop the rest.

    Parameters
    ----------
    members : sequence of Member
    folder : Path
        The sweep's folder.
    run_one : callable
        ``(config, title) -> summary``.
    warn : callable of str
        Told of a member that failed.

    Returns
    -------
    dict
        As in ``sweep.json``: ``groups`` with mean and sample standard deviation over seeds, ``members``.

    Raises
    ------
    RunError
        If not one member finished.
    """
    results: list[dict[str, Any]] = []
    # At once: a sweep that is killed in its first run is one to go on with.
    outcome = write_outcome(members, results, folder)
    for number, member in enumerate(members, start=1):
        title = f"{number} of {len(members)} ({member.name})"
        entry: dict[str, Any] = {"name": member.name, "settings": dict(member.settings), "seed": member.seed}
        try:
            summary = run_one(member.config, title)
        except FedAffectError as error:
            entry["error"] = str(error)
            warn(f"{member.name} failed: {error}")
        else:
            entry["test"] = {key: summary["test"][key] for key in FIGURES} if summary.get("test") else None
            entry["best_round"] = summary["best_round"]
        results.append(entry)
        outcome = write_outcome(members, results, folder)
    if all("error" in entry for entry in results):
        raise RunError(f"not one of {len(results)} runs finished; the first said: {results[0]['error']}")
    return outcome


def write_outcome(
    members: Sequence[Member], results: Sequence[Mapping[str, Any]], folder: Path, **more: Any
) -> dict[str, Any]:
    """Write ``sweep.json``: results so far, those of equal settings together; returns what it holds."""
    planned = [member.name for member in members]
    outcome = {"groups": grouped(members, results), "members": list(results), "planned": planned, **more}
    write_atomically(folder / SWEEP, (json.dumps(outcome, indent=2) + "\n").encode())
    return outcome


def grouped(members: Iterable[Member], results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results of equal settings together: mean, standard deviation and values of each figure over seeds."""
    done = {entry["name"]: entry for entry in results}
    groups: dict[str, dict[str, Any]] = {}
    for member in members:
        entry = done.get(member.name)
        if entry is None:
            continue
        group = groups.setdefault(
            member.group,
            {"name": member.group, "settings": dict(member.settings), "seeds": [], "failed": [], "runs": []},
        )
        if entry.get("test") is None:
            group["failed"].append(member.seed)
        else:
            group["seeds"].append(member.seed)
            group["runs"].append(entry)
    return [_summed(group) for group in groups.values()]


def _summed(group: dict[str, Any]) -> dict[str, Any]:
    runs = group.pop("runs")
    group["test"] = {}
    for key in FIGURES if runs else ():
        values = [run["test"][key] for run in runs]
        spread = stdev(values) if len(values) > 1 else None
        group["test"][key] = {"mean": fmean(values), "std": spread, "values": values}
    return group


def _with(settings: Settings, own: Mapping[str, str]) -> Settings:
    merged = {key: dict(value) if key in _TABLES else value for key, value in settings.items()}
    for key, value in own.items():
        table, dot, option = key.partition(".")
        if dot:
            merged.setdefault(table, {})[option] = read_value(value)
        else:
            merged[key] = value.replace("+", ",") if key == "modalities" else read_value(value)
    return merged
