"""`fedaffect device budget`: what this device has spent of its privacy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from fedaffect.client.cli.device_option import device_option, opened
from fedaffect.edge.cli.facts import json_option, say


@click.command()
@device_option
@click.option("--epsilon", type=float, help="Lower the budget of its lifetime to this; it cannot be raised.")
@click.option(
    "--only-private/--any",
    default=None,
    help="Let no number about its examples leave without noise of its own [default], or answer any round.",
)
@click.option(
    "--only-secagg/--plain",
    default=None,
    help="Train only where the update is masked (fedaffect fleet run --secagg), among devices that the fleet's "
    "authority certified, or for plain rounds too [default].",
)
@json_option
def budget(
    device_path: Path | None, epsilon: float | None, only_private: bool | None, only_secagg: bool | None, as_json: bool
) -> None:
    """Show what this device has spent of its privacy, in all runs of its life, or change what it may spend.

    Each round trained with noise of the device's own (fedaffect fleet run --set dp=local) and each report on a new
    bundle is charged before anything leaves. A device whose budget is spent refuses further ones. A smaller epsilon
    protects better: up to 1 is strong, 8 is usual.
    """
    from rich.table import Table

    from fedaffect.client.device.spending import ledger_of
    from fedaffect.client.device.states import DeviceStates
    from fedaffect.edge.cli.output import stdout

    folder = opened(device_path)
    if only_private is not None:
        if only_private and not folder.settings.only_private:
            # What was kept of rounds without noise would go into rounds with it, and nobody paid for that.
            DeviceStates(folder.states).forget()
        folder.change(only_private=only_private)
    if only_secagg is not None:
        folder.change(only_secagg=only_secagg)
    if epsilon is not None:
        folder.change(epsilon=min(epsilon, folder.settings.epsilon))
    settings, ledger = folder.settings, ledger_of(folder)
    most, delta = ledger.budget
    charges = ledger.charges()
    if as_json:
        facts = {"spent": ledger.spent, "epsilon": most, "delta": delta, "charges": [asdict(one) for one in charges]}
        say(as_json, facts | {"only_private": settings.only_private, "only_secagg": settings.only_secagg})
        return
    if charges:
        table = Table("run", "round", "noise", "rate", "steps", "epsilon after")
        for charge in charges:
            spent = charge.spending
            again = f" (asked {charge.attempt} times)" if charge.attempt > 1 else ""
            table.add_row(
                charge.run or "a new bundle",
                f"{charge.round}{again}",
                f"{spent.noise_multiplier:.3g}",
                f"{spent.sample_rate:.3g}",
                str(spent.steps),
                f"{charge.epsilon_after:.3f}",
            )
        stdout().print(table)
    click.echo(f"spent epsilon {ledger.spent:.3f} of {most:g} at delta {delta:g}, in {len(charges)} rounds")
    if settings.only_private:
        click.echo("rounds without noise of its own and exact figures are refused")
    if settings.only_secagg:
        click.echo("rounds in which updates are not masked, or neighbours' keys not signed, are refused")
