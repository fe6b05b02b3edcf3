"""A command group whose sub-commands are imported only when called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """Sub-commands by name, each with where it lives and its one line of help.

    Parameters
    ----------
    lazy : mapping of str to (str, str)
        Name to ``module:attribute`` and help, so that listing them imports nothing.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order given."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List sub-commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.help_line(name)) for name in self._lazy])

    def help_line(self, name: str) -> str:
        """A command's line of help."""
        return self._lazy[name][1]
