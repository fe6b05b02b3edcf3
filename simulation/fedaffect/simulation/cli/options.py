"""Options in named groups, so that sixty flags read as eight short lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.sweep import read_value

Command = TypeVar("Command", bound=Callable[..., Any])


class GroupedOption(click.Option):
    """An option that knows under which heading of the help it stands."""

    def __init__(self, *declarations: Any, group: str = "Other", **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help lists options under headings, in the order in which they were declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=34)


def group(heading: str) -> Callable[..., Callable[[Command], Command]]:
    """Make options of one heading: ``corpus = group("Corpus")``, then ``@corpus("--dataset", help=…)``."""

    def option(*declarations: str, **attributes: Any) -> Callable[[Command], Command]:
        return click.option(*declarations, cls=GroupedOption, group=heading, **attributes)

    return option


class KeyValue(click.ParamType[tuple[str, Any]]):
    """``name=value``, with numbers and true or false read as such."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Split and read one option."""
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
