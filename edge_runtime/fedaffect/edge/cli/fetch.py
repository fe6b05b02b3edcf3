"""`fedaffect edge fetch`: a bundle from the cloud, checked, and used from now on."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from fedaffect.edge.cli.connection import Connection, cloud_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What is over sooner needs no bar.
_SILENT_S: Final = 2.0


@click.command()
@click.argument("version", default="")
@cloud_options("Fetch it from there", required=True)
@click.option("--profile", default="edge", show_default=True, help="Whose store.")
@click.option("--allow-unsigned", is_flag=True, help="Take a bundle that nobody trusted has signed.")
@click.option("--allow-older", is_flag=True, help="Go back to a bundle built before the one in use.")
def fetch(version: str, cloud: Connection, profile: str, allow_unsigned: bool, allow_older: bool) -> None:
    """Fetch bundle VERSION, the newest if not given, check it, and use it from now on; the one before stays.

    A download that was interrupted goes on where it stopped.

    \b
      fedaffect edge fetch --cloud grpcs://cloud.example:8081 --authority authority.pem
    """  # noqa: D301
    from fedaffect.edge.bundle import BundleStore

    store = BundleStore(BundleStore.default(profile).folder, None if allow_unsigned else "default")
    client = cloud.open()
    try:
        with store.fetching() as tar:
            try:
                with _shown() as progress:
                    client.fetch_bundle(version, tar, progress=progress)
                bundle = store.install(tar, allow_older=allow_older)
            finally:
                tar.unlink(missing_ok=True)
    finally:
        client.close()
    click.echo(f"{bundle.version} is in use now{store.way_back}")


@contextmanager
def _shown() -> Iterator[Callable[[int, int], None]]:
    """Takes bytes there and bytes in all; draws them in a terminal once it has taken a while."""
    console = Console(stderr=True)
    bar = Progress(BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task("bundle", total=None)
    start_s = monotonic()

    def show(there: int, total: int) -> None:
        bar.update(task, completed=there, total=total)
        if console.is_terminal and not bar.live.is_started and monotonic() - start_s > _SILENT_S:
            bar.start()

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()
