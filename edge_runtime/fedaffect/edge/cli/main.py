"""The one command; each room registers its sub-commands as entry points, loaded only when called."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from traceback import walk_tb
from typing import Final

import click

from fedaffect.edge.errors import FedAffectError

GROUP = "fedaffect.commands"
# Rooms beyond the base installation; each has an extra of its name.
_ROOMS: Final = ("client", "server", "simulation")


class RoomCommands(click.Group):
    """A group whose sub-commands live in whichever rooms are installed."""

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all registered sub-commands."""
        return sorted(self._points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a sub-command's room and return the command, or None where no room has that name."""
        point = self._points().get(cmd_name)
        if point is None:
            return None
        command: click.Command = point.load()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List sub-commands with their one-line help; those whose extras are missing say so."""
        rows = []
        for name in self.list_commands(ctx):
            try:
                command = self.get_command(ctx, name)
                rows.append((name, command.get_short_help_str(90) if command else ""))
            except ModuleNotFoundError as error:
                rows.append((name, f"(not installed: {_remedy(error)})"))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=RoomCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error instead of one line.")
@click.version_option(package_name="fedaffect")
@click.pass_context
def fedaffect(ctx: click.Context, debug: bool) -> None:
    """Recognise emotion from face, voice and words; learn it together without sharing data.

    \b
    Start here:
      fedaffect simulate --dataset synthetic       a federation on constructed data, no downloads
      fedaffect data list                          which real corpora it reads and where they come from
      fedaffect bundle build --profile edge        the encoders that a device runs
    """  # noqa: D301
    ctx.obj = {"debug": debug}


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit code 2."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    if debug:
        arguments.insert(0, "--debug")
    try:
        fedaffect(args=arguments, standalone_mode=False)
    except FedAffectError as error:
        if debug:
            raise
        _fail(str(error))
    except click.ClickException as error:
        if debug and error.__cause__ is not None:
            raise
        _fail(error.format_message())
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        # One of our own modules that is not there is a mistake of ours, which wants its traceback.
        if debug or package in ("", "fedaffect"):
            raise
        why = "the base installation leaves out" if "[" in (remedy := _remedy(error)) else "is not installed"
        _fail(f"this needs {package}, which {why}; install it with: {remedy}")
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except OSError as error:
        if debug:
            raise
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")


def _remedy(error: ModuleNotFoundError) -> str:
    """What installs a package that is lacking: the extra of the room whose command wanted it, however deep below."""
    modules = (str(frame.f_globals.get("__name__")).split(".") for frame, _ in walk_tb(error.__traceback__))
    room = next((m[1] for m in modules if m[0] == "fedaffect" and len(m) > 1 and m[1] in _ROOMS), None)
    return f"pip install 'fedaffect[{room}]'" if room is not None else f"pip install {error.name}"


def _fail(message: str) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(2)
