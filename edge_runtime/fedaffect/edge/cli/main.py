"""The one command: its sub-commands live in whichever rooms are installed, and are imported only when called."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from importlib.util import find_spec
from traceback import walk_tb
from typing import Final

import click

from fedaffect.edge.cli.lazy import LazyGroup
from fedaffect.edge.cli.terminal import use_ascii_where_needed
from fedaffect.edge.errors import FedAffectError, nearest
from fedaffect.edge.system.files import is_full

# NumPy's products are small here; shared among cores, its threads would wait busily for the next and take a core from
# torch and ONNX Runtime. Before NumPy is imported; children inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# As text, as this room imports no other: where each command is, and its line of help.
_COMMANDS: Final = {
    "audit": ("fedaffect.server.cli.audit:audit", "Check what the fleet's records claim."),
    "bundle": ("fedaffect.server.cli.bundle:bundle", "Build, check, sign and install what a device runs."),
    "cache": ("fedaffect.edge.cli.cache:cache", "Show and prune what can be made again: features, cohorts, bundles."),
    "data": ("fedaffect.client.cli.data:data", "List the corpora fedaffect reads, and check a folder that holds one."),
    "demo": ("fedaffect.server.cli.demo:demo", "Show on constructed people what all of it is for."),
    "device": ("fedaffect.client.cli.device:device", "Let this device learn with a fleet."),
    "doctor": ("fedaffect.edge.cli.doctor:doctor", "Say what this machine lacks, and what mends it."),
    "down": ("fedaffect.server.cli.up:down", "End what `fedaffect up` brought up."),
    "edge": ("fedaffect.edge.cli.edge:edge", "Recognise emotion on this device; ask the cloud only where it pays."),
    "encoders": ("fedaffect.server.cli.encoders:encoders", "Teach a device's encoders emotion on public corpora."),
    "fleet": ("fedaffect.server.cli.fleet:fleet", "Bring up a federation of devices, on one machine or many."),
    "pretrain": (
        "fedaffect.simulation.cli.pretrain:pretrain",
        "Learn a model's streams from clips without labels.",
    ),
    "reproduce": (
        "fedaffect.simulation.cli.reproduce:reproduce",
        "Make the papers' tables again, a command each.",
    ),
    "run-app": ("fedaffect.simulation.cli.run_app:run_app", "Run any Flower app with simulated clients, only faster."),
    "runs": ("fedaffect.simulation.cli.runs:runs", "List, show and compare runs."),
    "server": ("fedaffect.server.cli.server:server", "Host the full model for what a device cannot settle."),
    "simulate": ("fedaffect.simulation.cli.simulate:simulate", "Run a federation of simulated clients on a corpus."),
    "support-bundle": (
        "fedaffect.server.cli.support_bundle:support_bundle",
        "Collect what a maintainer needs, without secrets or names.",
    ),
    "train": ("fedaffect.simulation.cli.train:train", "Train encoders over a corpus's raw media, in one place."),
    "up": ("fedaffect.server.cli.up:up", "Bring up page, inference server and a fleet on this machine."),
}
# Extras, each with a package that no smaller one brings, and the commands that do nothing without it.
_EXTRAS: Final[dict[str, tuple[str, set[str]]]] = {
    "learn": ("flwr", {"device"}),
    "client": ("torch", set()),
    "server": ("sqlalchemy", {"audit", "demo", "down", "fleet", "server", "support-bundle", "up"}),
    "simulation": ("ray", {"pretrain", "reproduce", "run-app", "runs", "simulate", "train"}),
}
# Of what the client's room imports, what its smaller extra leaves out.
_WITH_TORCH: Final = ("torch", "opacus")


class RoomCommands(LazyGroup):
    """Commands of all rooms; those whose extra is missing say how to install it."""

    def help_line(self, name: str) -> str:
        """A command's line of help, or what installs it."""
        for extra, (package, names) in _EXTRAS.items():
            if name in names and not _installed(package):
                return f"(not installed: pip install 'fedaffect[{extra}]')"
        return super().help_line(name)


@click.group(
    cls=RoomCommands,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error instead of one line.")
@click.version_option(package_name="fedaffect")
def fedaffect() -> None:
    """Recognise emotion from face, voice and words; learn it together without sharing data.

    \b
    Start here:
      fedaffect simulate --dataset synthetic       a federation on constructed data, no downloads
      fedaffect data list                          which real corpora it reads and where they come from
      fedaffect bundle build --profile edge        the encoders that a device runs
      fedaffect demo circle                        corrections of a few people become a better bundle for all
      fedaffect up                                 a page, a server and a fleet on this machine
    """  # noqa: D301


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit code 2."""
    use_ascii_where_needed()
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
    except click.exceptions.NoArgsIsHelpError as error:
        # A group alone: what may follow, as --help shows it.
        error.show()
        sys.exit(2)
    except click.exceptions.NoSuchCommand as error:
        group = error.ctx.command if error.ctx else None
        names = group.list_commands(error.ctx) if isinstance(group, click.Group) and error.ctx else []
        _fail(f"there is no command {error.command_name!r}; {_near(error.command_name, names)}")
    except click.exceptions.NoSuchOption as error:
        _fail(f"there is no option {error.option_name}; {_near(error.option_name, error.possibilities or ())}")
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
        place = f": {error.filename}" if error.filename else ""
        _fail(f"{error.strerror or error}{place}{'; free some space, then try again' if is_full(error) else ''}")
    except Exception as error:
        # A plug-in's mistake is its author's; one of ours wants its traceback.
        from fedaffect.edge.system.own_code import raised_in, said_of

        if debug or not raised_in(error):
            raise
        _fail(f"{said_of(error)}; fedaffect --debug shows the traceback")


def _near(name: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"known: {', '.join(known)}" if known else "see --help"


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _remedy(error: ModuleNotFoundError) -> str:
    """What installs a package that is lacking: the extra of the room whose command wanted it, however deep below."""
    modules = (str(frame.f_globals.get("__name__")).split(".") for frame, _ in walk_tb(error.__traceback__))
    room = next((m[1] for m in modules if m[0] == "fedaffect" and len(m) > 1 and m[1] in _EXTRAS), None)
    if room == "client" and error.name not in _WITH_TORCH:
        room = "learn"
    return f"pip install 'fedaffect[{room}]'" if room is not None else f"pip install {error.name}"


def _fail(message: str) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(2)
