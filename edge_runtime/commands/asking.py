"""Options that commands share which answer: which bundle, which cloud, what may leave the device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.bundle import Bundle, usual_bundle_path
from edge_runtime.cloud.client import CloudClient
from edge_runtime.errors import ConfigError
from edge_runtime.offload import PRIVACIES
from edge_runtime.runtime import EdgeRuntime

if TYPE_CHECKING:
    from edge_runtime.store import Journal

Command = Callable[..., Any]


privacy_option = click.option(
    "--privacy",
    type=click.Choice(sorted(PRIVACIES)),
    default="never",
    show_default=True,
    help="What may leave this device.",
)


def asking_options(command: Command) -> Command:
    """Add the options that :func:`open_runtime` takes."""
    for option in reversed(
        (
            click.option(
                "--bundle", "bundle_folder", type=click.Path(path_type=Path), help="The default one if not given."
            ),
            click.option("--allow-unsigned", is_flag=True, help="Take a bundle that nobody trusted has signed."),
            click.option(
                "--cloud", metavar="ADDRESS", help="Ask there when unsure: grpc[s]://HOST:PORT or http[s]://…"
            ),
            click.option("--api-key", envvar="FEDAFFECT_API_KEY", help="For the cloud; or $FEDAFFECT_API_KEY."),
            privacy_option,
        )
    ):
        command = option(command)
    return command


def open_runtime(
    bundle_folder: Path | None,
    allow_unsigned: bool,
    cloud: str | None,
    api_key: str | None,
    privacy: str,
    transcribe: bool = False,
    journal: Journal | None = None,
) -> EdgeRuntime:
    """A runtime as the options want it, remembering what the journal is opened for.

    Raises
    ------
    BundleError
        If there is no bundle, naming the command that builds one, or it is refused.
    ConfigError
        If the cloud's address is none, or would never be asked.
    """
    if cloud is not None and privacy == "never":
        raise ConfigError("--cloud is never asked with --privacy never; add --privacy features or --privacy raw")
    folder = bundle_folder or usual_bundle_path()
    bundle = Bundle.load(folder, trust=None) if allow_unsigned else Bundle.load(folder)
    transcriber = None
    if transcribe:
        from edge_runtime.transcription import Whisper

        transcriber = Whisper()
    return EdgeRuntime.load(
        bundle, cloud=_cloud(cloud, api_key), privacy=privacy, transcriber=transcriber, journal=journal
    )


def _cloud(address: str | None, api_key: str | None) -> CloudClient | None:
    if address is None:
        return None
    # Here, not above: grpcio and httpx take a third of a second to import.
    from edge_runtime.cloud import connect

    return connect(address, api_key)
