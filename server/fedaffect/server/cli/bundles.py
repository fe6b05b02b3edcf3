"""`fedaffect server bundles`: what devices may fetch."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.table import Table

from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.folders import data_folder
from fedaffect.server.cli.registry_option import registry_option


@click.group()
def bundles() -> None:
    """Offer bundles to devices."""


@bundles.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option("--offer", "offer_now", is_flag=True, help="Offer it at once.")
@registry_option
def add(bundle: Path, offer_now: bool, registry_url: str | None) -> None:
    """Check BUNDLE, a folder or its tar, keep a tar of it in the server's data folder, and register that."""
    from fedaffect.edge.bundle import Bundle
    from fedaffect.edge.bundle.archive import unpack
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import bundles as offers
    from fedaffect.server.registry.folder_hash import file_sha256

    with TemporaryDirectory(prefix="fedaffect-bundle-") as scratch:
        folder = bundle if bundle.is_dir() else Path(scratch) / "bundle"
        if not bundle.is_dir():
            unpack(bundle, folder)
        version = Bundle.load(folder).version
        tar = _keep(folder, version)
    with Registry.open(registry_url) as registry:
        sha256 = file_sha256(tar)
        entry = offers.add(registry, version=version, path=tar, sha256=sha256, size_bytes=tar.stat().st_size)
        if offer_now:
            entry = offers.offer(registry, version)
    state = "offered" if entry.offered else f"registered; offer it with fedaffect server bundles offer {version}"
    click.echo(f"{version} is {state}")


@bundles.command("list")
@registry_option
def list_bundles(registry_url: str | None) -> None:
    """Show all bundles, and which are offered."""
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import bundles as offers

    with Registry.open(registry_url) as registry:
        found = offers.every(registry)
    table = Table("version", "MB", "sha256", "created", "offered since", "tar")
    for entry in found:
        table.add_row(
            entry.version,
            f"{entry.size_bytes / 1e6:.1f}",
            entry.sha256[:12],
            f"{entry.created:%Y-%m-%d %H:%M}",
            f"{entry.offered:%Y-%m-%d %H:%M}" if entry.offered else "",
            str(entry.path),
        )
    Console().print(table if found else "no bundles yet; register one with fedaffect server bundles add FOLDER")


@bundles.command()
@click.argument("version")
@click.option("--withdraw", is_flag=True, help="Take the offer back.")
@registry_option
def offer(version: str, withdraw: bool, registry_url: str | None) -> None:
    """Offer VERSION to devices as the newest."""
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import bundles as offers

    with Registry.open(registry_url) as registry:
        entry = offers.offer(registry, version, offered=not withdraw)
    click.echo(f"{entry.version} is {'withdrawn' if withdraw else 'offered'}")


def _keep(folder: Path, version: str) -> Path:
    """A tar of its own, which does not change when the folder it was made from does."""
    from fedaffect.edge.bundle.archive import pack

    if Path(version).name != version:
        raise BundleError(f"{version!r} cannot be a file's name; build the bundle again")
    kept = data_folder() / "bundles"
    kept.mkdir(parents=True, exist_ok=True)
    target = kept / f"{version}.tar"
    pack(folder, target)
    return target
