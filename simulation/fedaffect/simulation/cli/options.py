"""Options in named groups: ``--help`` shows the common ones, ``--help-all`` all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

import fedaffect.server.federation
from fedaffect.edge.errors import ConfigError, nearest

Command = TypeVar("Command", bound=Callable[..., Any])

# The heading of the settings that fedaffect train alone has.
FINE_TUNING: Final = "Fine-tuning: encoders that learn too, of fedaffect train"

_KINDS: Mapping[str, Any] = {"int": click.INT, "float": click.FLOAT, "bool": None, "str": click.STRING}


class GroupedOption(click.Option):
    """An option that knows under which heading of the help it stands, and whether people often use it."""

    def __init__(self, *declarations: Any, group: str = "Other", common: bool = False, **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.group, self.common = group, common


class GroupedCommand(click.Command):
    """A command whose help lists options under headings, in the order in which they were declared.

    Parameters
    ----------
    meant : mapping of str to str
        What to say to flags that do not exist and that people try.
    """

    def __init__(self, *args: Any, meant: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._meant = meant

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with a near miss for a flag that does not exist."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name in self._meant:
                raise ConfigError(
                    f"there is no {error.option_name}; did you mean {self._meant[error.option_name]}?"
                ) from error
            near = nearest(error.option_name, error.possibilities or ())
            said = f"did you mean {near}?" if near else "--help-all lists all"
            raise ConfigError(f"there is no {error.option_name}; {said}") from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each group: the common ones, or all where ``--help-all`` asked."""
        every = bool(ctx.meta.get(__name__))
        groups: dict[str, list[tuple[str, str]]] = {}
        hidden = 0
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if every or getattr(parameter, "common", True):
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
            else:
                hidden += 1
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=34)
        if hidden:
            formatter.write(f"\n--help-all shows {hidden} more, by section.\n")


def setting_options(wanted: Callable[[Mapping[str, Any]], bool]) -> Callable[[Command], Command]:
    """Add an option for settings of a run.

    They are read from ``flags.json``, which is made from the settings' models, since those take longer to import than
    a help should take.

    Parameters
    ----------
    wanted : callable
        Which of them, by a line of that file.
    """
    listed = Path(fedaffect.server.federation.__path__[0]) / "flags.json"
    flags = [flag for flag in json.loads(listed.read_text(encoding="utf-8")) if wanted(flag)]

    def add_all(command: Command) -> Command:
        for flag in reversed(flags):
            more: dict[str, Any] = {
                "type": _KINDS.get(flag["kind"]),
                "metavar": flag["metavar"] or None,
                "default": None,
            }
            if flag["kind"] == "options":
                more |= {"type": KeyValue(), "multiple": True}
            add = group(flag["section"], common=flag["common"] or flag["section"] == FINE_TUNING)
            command = add(flag["flag"], flag["name"], help=flag["help"], **more)(command)
        return command

    return add_all


def help_all(command: Command) -> Command:
    """Add ``--help-all``."""

    def show(ctx: click.Context, option: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[__name__] = True
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()

    add = click.option("--help-all", is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show all.")
    return add(command)


def group(heading: str, common: bool = True) -> Callable[..., Callable[[Command], Command]]:
    """Make options of one heading: ``folder = group("Run folder")``, then ``@folder("--config", help=…)``."""

    def option(*declarations: str, **attributes: Any) -> Callable[[Command], Command]:
        return click.option(*declarations, cls=GroupedOption, group=heading, common=common, **attributes)

    return option


class KeyValue(click.ParamType[tuple[str, Any]]):
    """``name=value``, with numbers and true or false read as such."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Split and read one option."""
        from fedaffect.simulation.sweep import read_value

        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not (equals and key.strip()):
            where = f"{param.opts[0]} " if param is not None else ""
            raise ConfigError(f"{where}{value} is not written as name=value, such as server-lr=0.1")
        return key.strip(), read_value(text.strip())


class Seeds(click.ParamType[tuple[int, ...]]):
    """``0,1,2``."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read whole numbers, each once."""
        if isinstance(value, tuple):
            return value
        try:
            seeds = tuple(int(part) for part in str(value).split(","))
        except ValueError as error:
            raise ConfigError(f"--seeds takes whole numbers with commas between, such as 0,1,2, not {value}") from error
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ConfigError(f"--seeds takes different numbers of 0 or more, not {value}")
        return seeds
