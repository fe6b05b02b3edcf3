"""`fedaffect audit privacy`: attack our own training, and compare what comes out with what is claimed."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import click

from fedaffect.edge.cli.output import stdout
from fedaffect.edge.errors import FedAffectError


class RefutedClaimError(FedAffectError):
    """An attack got more than the claimed epsilon allows."""


@click.command()
@click.option("--epsilon", type=float, default=2.0, show_default=True, help="Claim to be audited; inf for no noise.")
@click.option("--delta", type=float, default=1e-5, show_default=True)
@click.option("--canaries", type=int, default=400, show_default=True, help="Each in the data by a fair coin.")
@click.option("--guesses", type=int, default=100, show_default=True, help="The clearest, half in and half out.")
@click.option("--confidence", type=float, default=0.95, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--models", type=int, default=16, show_default=True, help="Shadow models of the membership attacks.")
@click.option("--skip", multiple=True, type=click.Choice(["one-run", "membership", "inversion"]), help="Leave one out.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def privacy(
    epsilon: float,
    delta: float,
    canaries: int,
    guesses: int,
    confidence: float,
    seed: int,
    models: int,
    skip: tuple[str, ...],
    as_json: bool,
) -> None:
    """Attack private training: canaries in one run, membership inference, gradient inversion.

    The training is that of `--dp local`, on constructed examples; noise is the operating system's. A lower bound above
    the claim refutes it, and the command then ends with exit code 2.
    """
    found: dict[str, Any] = {}
    if "one-run" not in skip:
        found["one_run"] = _one_run(epsilon, delta, canaries, guesses, confidence, seed)
    if "membership" not in skip:
        found["membership"] = _membership(epsilon, models, seed)
    if "inversion" not in skip:
        found["inversion"] = _inversion(epsilon, seed)
    if as_json:
        click.echo(json.dumps(found))
    else:
        _say(found)
    refuted = [r for r in found.get("one_run", {}).values() if r["lower_bound"] > (r["claimed"] or math.inf)]
    if refuted:
        raise RefutedClaimError(
            f"guesses prove epsilon {refuted[0]['lower_bound']:.2f}, more than the claimed {refuted[0]['claimed']:g}; "
            f"do not train with these settings"
        )


def _one_run(
    epsilon: float, delta: float, canaries: int, guesses: int, confidence: float, seed: int
) -> dict[str, dict[str, Any]]:
    from fedaffect.simulation.privacy_attacks.one_run import audit_one_run

    found = {}
    for name, claim in (("claimed", epsilon), ("without noise", math.inf)):
        result = audit_one_run(
            claim, delta=delta, canaries=canaries, guesses=guesses, confidence=confidence, seed=seed, noise="secure"
        )
        found[name] = {**asdict(result), "claimed": None if math.isinf(claim) else claim}
    return found


def _membership(epsilon: float, models: int, seed: int) -> dict[str, dict[str, Any]]:
    from fedaffect.simulation.privacy_attacks.membership import attack_membership, training

    ways = {"claimed": training(epsilon), "without privacy": training(None)}
    return {name: asdict(attack_membership(config, models=models, seed=seed)) for name, config in ways.items()}


def _inversion(epsilon: float, seed: int) -> dict[str, dict[str, Any]]:
    from fedaffect.client.privacy.settings import PrivacyConfig
    from fedaffect.simulation.privacy_attacks.inversion import invert_updates

    found = {}
    for name, settings in (("claimed", PrivacyConfig(epsilon=epsilon)), ("without privacy", None)):
        for tokens in (1, 4):
            found[f"{name}, {tokens} token{'s' * (tokens > 1)}"] = asdict(
                invert_updates(settings, tokens=tokens, seed=seed)
            )
    return found


def _say(found: dict[str, Any]) -> None:
    from rich.table import Table

    headings = {
        "one_run": ("Canaries in one run", ("claimed", "lower_bound", "right", "guesses", "confidence")),
        "membership": (
            "Membership inference",
            ("loss_tpr", "lira_tpr", "loss_auc", "lira_auc", "train_accuracy", "held_out_accuracy"),
        ),
        "inversion": ("Gradient inversion, one example", ("recovered", "chance", "cosine")),
    }
    for kind, rows in found.items():
        title, columns = headings[kind]
        table = Table(title=title, title_justify="left")
        table.add_column("training")
        for column in columns:
            table.add_column(column.replace("_", " "), justify="right")
        for name, row in rows.items():
            table.add_row(name, *(_cell(column, row[column]) for column in columns))
        stdout().print(table)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "none" if column == "claimed" else "–"
    return f"{value:.4g}"
