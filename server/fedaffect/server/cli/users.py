"""`fedaffect server users`: who may look at the server's page and act there."""

from __future__ import annotations

import secrets
import sys

import click

from fedaffect.edge.cli.output import stdout
from fedaffect.edge.errors import ConfigError
from fedaffect.server.cli.registry_option import registry_option
from fedaffect.server.roles import OPERATOR, ROLES, VIEWER

_role = click.option(
    "--role",
    type=click.Choice(ROLES),
    help=f"{VIEWER} looks at fleet, runs and audit log; {OPERATOR} also promotes, rolls back and approves.",
)
_generate = click.option("--generate", is_flag=True, help="Make a password and print it, once.")
_stdin = click.option("--password-stdin", "from_stdin", is_flag=True, help="Read it from standard input, a line.")


@click.group()
def users() -> None:
    """Make, list and remove accounts for the server's page.

    \b
      fedaffect server users add ada --role operator      asks for a password
      fedaffect server users add watcher --generate       makes one and prints it once
      fedaffect server users log-out ada                  ends her logins at once

    Accounts open the page's views of fleet and research; API keys (fedaffect server keys) are for programs that ask
    for predictions, and open neither.
    """  # noqa: D301


@users.command()
@click.argument("name")
@_role
@_generate
@_stdin
@registry_option
def add(name: str, role: str | None, generate: bool, from_stdin: bool, registry_url: str | None) -> None:
    """Make an account NAME, a viewer unless told otherwise."""
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import users as accounts

    accounts.named(name)
    with Registry.open(registry_url) as registry:
        user = accounts.add(registry, name, role or VIEWER, _password(generate, from_stdin))
    click.echo(f"{user.name} has an account as {user.role}", err=True)


@users.command("list")
@registry_option
def list_users(registry_url: str | None) -> None:
    """Show all accounts, and how many browsers are logged in with each."""
    from rich.table import Table

    from fedaffect.server.registry import Registry, logins
    from fedaffect.server.registry import users as accounts

    table = Table("name", "role", "created", "password of", "logged in")
    with Registry.open(registry_url) as registry:
        found = accounts.every(registry)
        for user in found:
            days = (f"{moment:%Y-%m-%d}" for moment in (user.created, user.password_changed))
            table.add_row(user.name, user.role, *days, str(len(logins.of_user(registry, user))))
    stdout().print(table if found else "no accounts yet; make one with fedaffect server users add NAME")


@users.command()
@click.argument("name")
@registry_option
def remove(name: str, registry_url: str | None) -> None:
    """Delete the account NAME and end its logins."""
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import users as accounts

    with Registry.open(registry_url) as registry:
        user = accounts.remove(registry, name)
    click.echo(f"{user.name} has no account any more")


@users.command()
@click.argument("name")
@_generate
@_stdin
@registry_option
def password(name: str, generate: bool, from_stdin: bool, registry_url: str | None) -> None:
    """Give NAME another password and end its logins."""
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import users as accounts

    with Registry.open(registry_url) as registry:
        user = accounts.set_password(registry, name, _password(generate, from_stdin))
    click.echo(f"{user.name} has another password, and is logged out everywhere", err=True)


@users.command()
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@registry_option
def role(name: str, role: str, registry_url: str | None) -> None:
    """Make NAME a viewer or an operator, from the next request on."""
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry import users as accounts

    with Registry.open(registry_url) as registry:
        user = accounts.set_role(registry, name, role)
    click.echo(f"{user.name} is {user.role}")


@users.command("log-out")
@click.argument("name")
@registry_option
def log_out(name: str, registry_url: str | None) -> None:
    """End all logins of NAME; the password stays."""
    from fedaffect.server.registry import Registry, logins
    from fedaffect.server.registry import users as accounts

    with Registry.open(registry_url) as registry:
        user = accounts.get(registry, name)
        count = logins.end_all(registry, user, actor="operator")
    click.echo(f"{user.name} is logged out of {count} browser{'' if count == 1 else 's'}")


def _password(generate: bool, from_stdin: bool) -> str:
    """Made, read, or asked for twice; what is made alone goes to standard output, so that a script can keep it."""
    if generate and from_stdin:
        raise ConfigError("--generate and --password-stdin are two ways to have a password; give one")
    if generate:
        made = secrets.token_urlsafe(18)
        click.echo(made)
        return made
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask for a password; give --password-stdin or --generate")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
