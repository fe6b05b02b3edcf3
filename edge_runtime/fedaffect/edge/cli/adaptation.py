"""`fedaffect edge adaptation`: how apps are told to answer to a person, and what was learned to help."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, closing
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import click
from rich.table import Table

from fedaffect.edge.cli.asking import policy_option
from fedaffect.edge.cli.facts import json_option, say
from fedaffect.edge.cli.output import stdout
from fedaffect.edge.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fedaffect.edge.adaptation import Policy
    from fedaffect.edge.adaptation.learning import Learner


@click.group()
def adaptation() -> None:
    """Show or copy the policy by which apps answer to what a person shows, and see what was learned to help you.

    A policy says theme, tone, pace and what to say. With --adapt-learns, `predict` and `watch` now and then try another
    response that the policy allows; what you say of them, here or in an app, stays on this device.
    """


@adaptation.command()
@click.argument("target", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
def policy(target: Path | None) -> None:
    """Print the policy file, or write a copy of it to FILE, to be changed and given to --adapt.

    \b
      fedaffect edge adaptation policy mine.toml
      fedaffect edge adaptation check mine.toml
      fedaffect edge watch --adapt mine.toml
    """  # noqa: D301
    from fedaffect.edge.system.files import write_chosen

    text = (files("fedaffect.edge.adaptation") / "policy.toml").read_bytes()
    if target is None:
        click.echo(text.decode("utf-8"), nl=False)
        return
    if target.exists():
        raise ConfigError(f"{target} exists; choose another name, or remove it")
    write_chosen(target, text)
    click.echo(f"{target} holds the policy; check what you change with: fedaffect edge adaptation check {target}")


@adaptation.command()
@click.argument("path", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--language", default="en", show_default=True, help="Of what is said.")
def check(path: Path | None, language: str) -> None:
    """Check a policy file, or the project's own, and show what it answers to what."""
    from fedaffect.edge.adaptation import Adapter, Policy
    from fedaffect.edge.adaptation.policy import words

    made = Adapter(Policy.read(path), language).policy
    said = words(language)
    table = Table(title=f"Policy {made.version}", title_justify="left")
    for column in ("where a person is", "by", "the app is", "colours", "tone", "pace", "and says"):
        table.add_column(column)
    for name, state in made.states.items():
        response = made.responses[state.response]
        by = ", ".join(state.emotions) + (", stress" if state.stress else "")
        says = " ".join(said.cues[cue] for cue in response.cues)
        table.add_row(name, by, state.response, response.theme, response.tone, response.pace, says)
    stdout().print(table)


@adaptation.command()
@click.argument("decision", metavar="[DECISION]", required=False)
@click.option("--last", is_flag=True, help="Of the newest response, in place of DECISION.")
@click.option("--helped/--no-help", default=None, help="Whether it helped.")
@click.option("--completed/--gave-up", default=None, help="Whether the task was completed.")
@click.option("--dwell", type=click.FloatRange(0, 1), help="How long you stayed, as a share of what was hoped for.")
@policy_option
def reward(
    decision: str | None,
    last: bool,
    helped: bool | None,
    completed: bool | None,
    dwell: float | None,
    adapt: bool | Policy,
) -> None:
    """Say what came of a response that was taken with --adapt-learns.

    \b
      fedaffect edge predict --text "I give up." --adapt-learns
      fedaffect edge adaptation reward --last --helped
    """  # noqa: D301
    said = {"helped": helped, "completed": completed, "dwell": dwell}
    given = {kind: float(value) for kind, value in said.items() if value is not None}
    if not given:
        raise ConfigError("say what came of it: --helped or --no-help, --completed or --gave-up, or --dwell")
    if last == (decision is not None):
        raise ConfigError("give DECISION or --last, one of the two")
    with _learner(adapt) as learner:
        logged = learner.decisions()
        if decision is None:
            if not logged:
                raise DataError("no response was logged; ask with: fedaffect edge predict --adapt-learns")
            decision = logged[-1].id
        for kind, value in given.items():
            learner.reward(decision, kind, value)
    count = len({one.id for one in logged if one.rewards} | {decision})
    click.echo(f"noted; {count} responses have a reward")


@adaptation.command()
@json_option
@policy_option
def learned(as_json: bool, adapt: bool | Policy) -> None:
    """Show which responses were tried, what came of them, and whether what was learned is followed."""
    from fedaffect.edge.adaptation.learning.learner import FIRST, reward_of

    with _learner(adapt) as learner:
        decisions, verdict, policy = learner.decisions(), learner.verdict, learner.policy
    tried: dict[tuple[str, str], list[float]] = {}
    for one in decisions:
        tried.setdefault((one.state, one.response), []).extend([reward_of(one)] if one.rewards else [])
    if as_json:
        facts = {
            "decisions": len(decisions),
            "rewarded": sum(1 for one in decisions if one.rewards),
            "followed": verdict.followed is not None,
            "advantage": None if verdict.advantage is None else asdict(verdict.advantage),
            "responses": [
                {
                    "state": state,
                    "response": name,
                    "rewarded": len(rewards),
                    "mean": fmean(rewards) if rewards else None,
                }
                for (state, name), rewards in sorted(tried.items())
            ],
        }
        say(as_json, facts)
        return
    table = Table(title=f"{len(decisions)} responses", title_justify="left")
    for column in ("where you were", "the app was", "with a reward", "mean", ""):
        table.add_column(column)
    for (state, name), rewards in sorted(tried.items()):
        own = state in policy.states and policy.states[state].response == name
        mean = f"{fmean(rewards):.2f}" if rewards else ""
        table.add_row(state, name, str(len(rewards)), mean, "the policy's own" if own else "")
    stdout().print(table)
    if verdict.advantage is None:
        click.echo(f"the policy is followed; from {FIRST} rewards on it is judged whether what was learned is better")
        return
    earned = verdict.advantage
    does = "is followed" if verdict.followed is not None else "is not followed, as that is not surely more"
    click.echo(
        f"by {verdict.rewarded} rewards what was learned earns {earned.value:+.2f} ({earned.low:+.2f} to "
        f"{earned.high:+.2f}) to the policy; it {does}"
    )


@adaptation.command()
@click.argument("path", metavar="POLICY.toml", type=click.Path(path_type=Path))
@json_option
@policy_option
def judge(path: Path, as_json: bool, adapt: bool | Policy) -> None:
    """Say what another policy would have earned on the newer half of what was logged, with 95 % intervals."""
    from fedaffect.edge.adaptation import Policy

    other = Policy.read(path)
    with _learner(adapt) as learner:
        found = learner.judged(other)
    say(
        as_json,
        {name: asdict(made) for name, made in found.items()},
        *(
            f"{name}: {made.value:.2f} ({made.low:.2f} to {made.high:.2f}), worth {made.effective:.0f} decisions"
            for name, made in found.items()
        ),
    )


@adaptation.command()
@click.argument("target", metavar="FILE.json", type=click.Path(path_type=Path, dir_okay=False))
def export(target: Path) -> None:
    """Write all responses with their probabilities and rewards to FILE.json, readable by you only."""
    from fedaffect.edge.system.files import write_chosen

    with _learner() as learner:
        decisions = [asdict(one) for one in learner.decisions()]
    write_chosen(target, json.dumps(decisions, indent=2).encode(), private=True)
    click.echo(f"{len(decisions)} responses in {target}")


@adaptation.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Erase all responses and rewards for good, and follow the policy as everybody does."""
    if not yes:
        click.confirm("What was learned so far is erased. Go on?", abort=True)
    with _learner() as learner:
        count = learner.erase()
    click.echo(f"{count} responses are erased; the policy is followed")


def _learner(adapt: bool | Policy = True) -> AbstractContextManager[Learner]:
    from fedaffect.edge.adaptation import Policy
    from fedaffect.edge.adaptation.learning.learner import open_learner

    if adapt is False:
        raise ConfigError("nothing is learned without a policy; leave --adapt off out")
    return closing(open_learner(Policy.read() if adapt is True else adapt))
