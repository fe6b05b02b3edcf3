"""Whether words are a command of ours: found, and its options taken, without running it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from fedaffect.edge.cli.main import fedaffect


def parsed(words: Sequence[str]) -> click.Context:
    """The context that these words behind ``fedaffect`` give; a usage error where they are no command of ours."""
    command: click.Command = fedaffect
    context, rest = click.Context(fedaffect, info_name="fedaffect"), list(words)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        if found is None:
            raise click.UsageError(f"{words} is no command of ours")
        command = found
        if isinstance(command, click.Group):
            context = click.Context(command, parent=context, info_name=name)
    return command.make_context(name, rest, parent=context)
