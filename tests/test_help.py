"""The help of every command reads as it was meant."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.testing import CliRunner

from fedaffect.edge.cli.main import fedaffect


def commands(group: click.Group, above: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{above} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{above} {name}")


def test_no_help_shows_the_marks_of_its_formatter() -> None:
    shown = {name: command.get_help(click.Context(command)) for name, command in commands(fedaffect, "fedaffect")}
    assert "fedaffect runs compare" in shown
    assert not [name for name, words in shown.items() if "\\b" in words or "\b" in words]


def test_simulate_shows_the_twenty_flags_that_people_use_and_all_where_asked() -> None:
    simulate = dict(commands(fedaffect, "fedaffect"))["fedaffect simulate"]
    options = [p for p in simulate.params if isinstance(p, click.Option)]
    common = [option for option in options if getattr(option, "common", option.name != "help_all")]
    assert len(common) == 20
    everything = CliRunner().invoke(simulate, ["--help-all"], catch_exceptions=False).output
    assert [option.opts[0] for option in options if option.opts[0] not in everything] == []
