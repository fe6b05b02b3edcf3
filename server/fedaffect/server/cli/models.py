"""`fedaffect server models`: versions of the full model, and who gets which."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from fedaffect.edge.errors import ConfigError
from fedaffect.server.cli.registry_option import registry_option
from fedaffect.server.errors import NotFound

if TYPE_CHECKING:
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import models as versions


@click.group()
def models() -> None:
    """Register model versions; split traffic; roll back."""


@models.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--metric", "metrics", multiple=True, metavar="NAME=NUMBER", help="A figure it reached.")
@click.option("--from", "lineage", multiple=True, metavar="NAME=VALUE", help="What it was made from, run=runs/meld.")
@registry_option
def add(folder: Path, metrics: tuple[str, ...], lineage: tuple[str, ...], registry_url: str | None) -> None:
    """Register the model folder FOLDER; it gets requests once it has a share, and all if it is the first."""
    from fedaffect.server.registry import Registry, deployments
    from fedaffect.server.registry import models as versions
    from fedaffect.server.registry.folder_hash import folder_sha256
    from fedaffect.server.registry.model_folder import describe

    described = describe(folder)
    figures = {name: _number(name, value) for name, value in _pairs(metrics)}
    with Registry.open(registry_url) as registry:
        model = versions.add(
            registry,
            version=described.version,
            profile=described.profile,
            label_set=described.label_set,
            path=folder,
            sha256=folder_sha256(folder),
            metrics=figures,
            lineage=dict(_pairs(lineage)),
        )
        before = deployments.current(registry)
        shares = before.shares if before else {}
        kinds = _kinds(registry)
        first = all(kinds[version] != kinds[model.version] for version in shares)
        if first:
            deployments.share(registry, {**shares, model.version: 1.0})
    state = "gets all requests" if first else f"gets requests with fedaffect server models share {model.version}=10"
    click.echo(f"{model.version} is registered and {state}")


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object a version.")
@registry_option
def list_models(as_json: bool, registry_url: str | None) -> None:
    """Show all versions, their shares, and the last splits."""
    from fedaffect.server.registry import Registry, deployments
    from fedaffect.server.registry import models as versions

    with Registry.open(registry_url) as registry:
        found = versions.every(registry)
        splits = deployments.history(registry, 5)
    shares = splits[0].shares if splits else {}
    if as_json:
        for model in found:
            click.echo(json.dumps(_plain(model, shares)))
        return
    table = Table("version", "share", "profile", "label set", "created", "figures", "from", "folder")
    for model in found:
        table.add_row(
            model.version,
            f"{100 * shares[model.version]:.4g} %" if model.version in shares else "",
            model.profile,
            model.label_set,
            f"{model.created:%Y-%m-%d %H:%M}",
            _joined(model.metrics),
            _joined(model.lineage),
            str(model.path),
        )
    console = Console()
    console.print(table if found else "no models yet; register one with fedaffect server models add FOLDER")
    for split in splits:
        came = f", back to split {split.restores}" if split.restores else ""
        console.print(f"split {split.id} of {split.created:%Y-%m-%d %H:%M}{came}: {_percent(split.shares)}")


@models.command()
@click.argument("shares", nargs=-1, required=True, metavar="VERSION=PERCENT...")
@registry_option
def share(shares: tuple[str, ...], registry_url: str | None) -> None:
    """Give versions their percentage of requests; running servers follow within seconds.

    Versions not named keep what is left, in the proportion they had: with v1 at 100, `share v2=10` leaves v1 90.
    """
    from fedaffect.server.registry import Registry, deployments

    named = {version: _number(version, percent.rstrip("%")) / 100 for version, percent in _pairs(shares)}
    with Registry.open(registry_url) as registry:
        before = deployments.current(registry)
        wanted = completed(named, before.shares if before else {}, _kinds(registry))
        split = deployments.share(registry, wanted)
    click.echo(f"split {split.id}: {_percent(split.shares)}")


@models.command()
@registry_option
def rollback(registry_url: str | None) -> None:
    """Go back to the split before this one."""
    from fedaffect.server.registry import Registry, deployments

    with Registry.open(registry_url) as registry:
        split = deployments.rollback(registry)
    click.echo(f"split {split.id}, back to split {split.restores}: {_percent(split.shares)}")


def completed(named: Mapping[str, float], before: Mapping[str, float], kinds: Mapping[str, str]) -> dict[str, float]:
    """The shares named, and what is left of 1 for the other versions of before, in their proportion.

    Parameters
    ----------
    named, before : mapping of str to float
        By version.
    kinds : mapping of str to str
        What each registered version answers; each kind is completed for itself.

    Raises
    ------
    ConfigError
        If more than 1 is named, or less and there is nobody to take the rest.
    NotFound
        If a version is not registered.
    """
    for version in named:
        if version not in kinds:
            raise NotFound(f"no model has the version {version!r}; see fedaffect server models list")
    wanted: dict[str, float] = {}
    for kind in sorted({kinds[version] for version in (*before, *named)}):
        had, mine = ({v: share for v, share in shares.items() if kinds[v] == kind} for shares in (before, named))
        wanted |= _completed(mine, had) if mine else had
    return wanted


def _completed(named: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    left = 1.0 - sum(named.values())
    if left < -1e-9:
        raise ConfigError(f"{_percent(named)} is more than 100 %; give less")
    if left <= 1e-9:
        return dict(named)
    others = {version: share for version, share in before.items() if version not in named and share > 0}
    if not others:
        raise ConfigError(f"{_percent(named)} leaves {100 * left:.4g} % to no version; name a version for it")
    total = sum(others.values())
    return {version: share / total * left for version, share in others.items()} | dict(named)


def _kinds(registry: Registry) -> dict[str, str]:
    from fedaffect.server.registry import models as versions
    from fedaffect.server.registry.model_folder import kind_of

    return {model.version: kind_of(model.profile) for model in versions.every(registry)}


def _pairs(values: Iterable[str]) -> Iterable[tuple[str, str]]:
    for value in values:
        # Versions may have an equals sign in them, values do not.
        name, equals, right = value.rpartition("=")
        if not equals or not name or not right:
            raise ConfigError(f"{value!r} is not NAME=VALUE; write it with one equals sign")
        yield name, right


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise ConfigError(f"{name}={value} is no number; write one, as in {name}=10") from error


def _percent(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{version} {100 * share:.4g} %" for version, share in shares.items()) or "nobody"


def _joined(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def _plain(model: versions.Model, shares: Mapping[str, float]) -> dict[str, Any]:
    return {
        "version": model.version,
        "profile": model.profile,
        "label_set": model.label_set,
        "share": shares.get(model.version, 0.0),
        "sha256": model.sha256,
        "metrics": dict(model.metrics),
        "lineage": dict(model.lineage),
        "created": model.created.isoformat(),
        "folder": str(model.path),
    }
