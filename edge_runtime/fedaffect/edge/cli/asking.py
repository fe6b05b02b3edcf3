"""Options that commands share which answer: which bundle, which cloud, what may leave the device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedaffect.edge.cli.connection import Connection, cloud_options, permitted, privacy_option

if TYPE_CHECKING:
    from fedaffect.edge.adaptation import Policy
    from fedaffect.edge.bundle import Bundle
    from fedaffect.edge.runtime import EdgeRuntime
    from fedaffect.edge.store import Journal

Command = Callable[..., Any]


def bundle_options(command: Command) -> Command:
    """Add the options that :func:`open_bundle` takes."""
    for option in (
        click.option("--allow-unsigned", is_flag=True, help="Take a bundle that nobody trusted has signed."),
        click.option(
            "--bundle", "bundle_folder", type=click.Path(path_type=Path), help="The default one if not given."
        ),
    ):
        command = option(command)
    return command


def open_bundle(bundle_folder: Path | None, allow_unsigned: bool) -> Bundle:
    """The bundle that the options name.

    Raises
    ------
    BundleError
        If there is none, naming the command that builds one, or it is refused.
    """
    from fedaffect.edge.bundle import Bundle, usual_bundle_path

    folder = bundle_folder or usual_bundle_path()
    return Bundle.load(folder, trust=None) if allow_unsigned else Bundle.load(folder)


def asking_options(command: Command) -> Command:
    """Add the options that :func:`open_runtime` takes."""
    for option in reversed(
        (
            bundle_options,
            click.option(
                "--personal/--no-personal",
                default=True,
                show_default=True,
                help="Adjust to what you said of answers before; see: edge personal show.",
            ),
            adapt_options,
            cloud_options("Ask there when unsure"),
            privacy_option,
        )
    ):
        command = option(command)
    return command


def adapt_options(command: Command) -> Command:
    """Add the options that say how an app is told to adapt: a policy, and a language."""
    for option in (
        click.option("--language", default="en", show_default=True, help="Of what an app is told to say."),
        click.option(
            "--adapt-learns", is_flag=True, help="Now and then try another response, and learn which one helps you."
        ),
        policy_option,
    ):
        command = option(command)
    return command


def policy_option(command: Command) -> Command:
    """Add ``--adapt``: True for the project's own policy, False for none, or the one in a file."""
    return click.option(
        "--adapt",
        metavar="off|POLICY.toml",
        callback=lambda _, __, value: _policy(value),
        help="By which policy an app is told how to answer to it; see: edge adaptation policy.",
    )(command)


def _policy(value: str | None) -> bool | Policy:
    from fedaffect.edge.adaptation import Policy

    return Policy.read(value) if value not in (None, "off") else value is None


def open_runtime(
    bundle_folder: Path | None,
    allow_unsigned: bool,
    cloud: Connection | None,
    privacy: str,
    transcribe: bool = False,
    journal: Journal | None = None,
    personal: bool = False,
    adapt: bool | Policy = True,
    language: str = "en",
    adapt_learns: bool = False,
) -> EdgeRuntime:
    """A runtime as the options want it, remembering what the journal is opened for.

    Raises
    ------
    BundleError
        If there is no bundle, naming the command that builds one, or it is refused.
    ConfigError
        If the cloud's address is none, TLS settings do not fit it, or it would never be asked.
    """
    from fedaffect.edge.runtime import EdgeRuntime

    cloud = permitted(cloud, privacy)
    bundle = open_bundle(bundle_folder, allow_unsigned)
    transcriber = None
    if transcribe:
        from fedaffect.edge.transcription import Whisper

        transcriber = Whisper()
    client = None if cloud is None else cloud.open()
    return EdgeRuntime.load(
        bundle,
        cloud=client,
        privacy=privacy,
        transcriber=transcriber,
        journal=journal,
        personal=personal,
        adapt=adapt,
        language=language,
        adapt_learns=adapt_learns,
    )
