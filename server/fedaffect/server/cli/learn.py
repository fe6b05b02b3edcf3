"""`fedaffect server learn`: the cloud learns from feedback whose senders allowed it."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, Final

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.server.cli.align import Corpus
from fedaffect.server.cli.registry_option import registry_option

if TYPE_CHECKING:
    from fedaffect.server.models.alignment.material import Material
    from fedaffect.server.registry import Registry
    from fedaffect.server.registry.models import Model

logger = logging.getLogger(__name__)

NOTHING_OFFERED: Final = 3
_ACTION: Final = "feedback.learned"
_LEARNED: Final = "-learned-"
# Feedback with features has some 50 KB.
_MOST: Final = 10_000
_ABOVE_0: Final = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True, slots=True)
class _Asked:
    """As the command was called."""

    source: str | None
    days: float
    guard_share: float
    least: int
    corpora: Mapping[str, Path]
    bundle: Path | None
    tolerance: float
    steps: int
    seed: int
    out: Path | None
    again: bool


@dataclass(slots=True)
class _Outcome:
    """What came of one look at the feedback."""

    base: str
    version: str | None = None
    why: str = ""
    trained_on: int = 0
    guard: int = 0
    unused: dict[str, int] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    corpora: dict[str, tuple[float, float]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For people."""
        said = [
            f"from version {self.base}: {self.trained_on} pieces of feedback to train on, {self.guard} as guard set"
        ]
        said += [f"not used: {count} {why}" for why, count in sorted(self.unused.items())]
        if self.before:
            said.append(f"guard set: UAR {self.before['uar']:.3f}, then {self.after['uar']:.3f}")
        said += [f"{name}: UAR {was:.3f}, then {now:.3f}" for name, (was, now) in self.corpora.items()]
        if self.version is None:
            return [*said, f"nothing is offered: {self.why}"]
        return [
            *said,
            f"{self.version} is registered; it gets requests with fedaffect server models share {self.version}=10",
        ]


@click.command()
@click.option("--from", "source", metavar="VERSION", help="Where to start.  [default: what most requests get]")
@click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True),
    default=90.0,
    show_default=True,
    help="Older feedback is not used.",
)
@click.option(
    "--guard-share", type=click.FloatRange(0.05, 0.9), default=0.3, show_default=True, help="Held out to measure with."
)
@click.option(
    "--least", type=click.IntRange(2), default=50, show_default=True, help="Pieces of feedback to begin with."
)
@click.option("--data", "corpora", type=Corpus(), multiple=True, help="Corpora to keep what they taught; repeatable.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Edge bundle that encodes --data.")
@click.option(
    "--tolerance", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="UAR a corpus may lose."
)
@click.option("--steps", type=click.IntRange(1), default=400, show_default=True, help="Batches of 32.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of draws.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the model folders.  [default: the data folder's]"
)
@click.option("--again", is_flag=True, help="Also where nothing was said since the last time.")
@click.option(
    "--every", "every_h", type=click.FloatRange(min=0, min_open=True), metavar="HOURS", help="Until interrupted."
)
@json_option
@registry_option
def learn(
    corpora: tuple[tuple[str, Path], ...], every_h: float | None, as_json: bool, registry_url: str | None, **flags: Any
) -> None:
    """Learn from feedback whose sender allowed it, and register a version if nobody is worse off with it.

    Adapters go on from the version that is served: one that takes features (profile edge-features) learns from what
    devices sent, one that takes media (--from, or where no other is served) from corrections of live answers. About a
    third of the feedback is the guard set, drawn by request and never trained on. The version is registered if the
    guard set is answered better, no caller loses more than one answer and 2 %, and no corpus of --data more than
    --tolerance.
    What was taken back, erased (fedaffect server registry erase) or is older than --days takes no part.

    Exit code 0: a version was registered. 3: none was, and the last line says why. 2: it could not be done.

    \b
      fedaffect server learn
      fedaffect server learn --every 24
      0 3 * * *  fedaffect server learn --data emorynlp=/data/emorynlp      as a line of a crontab
    """  # noqa: D301
    from fedaffect.server.registry import Registry

    asked = _Asked(corpora=dict(corpora), **flags)
    while True:
        try:
            with Registry.open(registry_url) as registry:
                outcome = _once(registry, asked)
            say(as_json, asdict(outcome), *outcome.lines())
        except FedAffectError as error:
            if every_h is None:
                raise
            logger.error("%s", error)
            click.echo(str(error), err=True)
        if every_h is None:
            break
        sleep(every_h * 3600)
    if outcome.version is None:
        sys.exit(NOTHING_OFFERED)


def _once(registry: Registry, asked: _Asked) -> _Outcome:
    from fedaffect.server.models.alignment.consented import gather
    from fedaffect.server.models.full_model.card import ModelCard
    from fedaffect.server.registry import audit, feedback

    base = _base(registry, asked.source)
    since = datetime.now(UTC) - timedelta(days=asked.days)
    learned = gather(feedback.newest(registry, since=since, most=_MOST), ModelCard.read(base.path), asked.guard_share)
    guard = int(learned.guard.sum())
    outcome = _Outcome(base.version, guard=guard, trained_on=len(learned.keys) - guard, unused=dict(learned.unused))
    digest = learned.digest(base.sha256)
    if len(learned.keys) < asked.least or not (outcome.guard and outcome.trained_on):
        outcome.why = f"{len(learned.keys)} pieces of feedback are too few, and --least is {asked.least}; wait for more"
    elif not asked.again and _seen(registry, digest):
        outcome.why = "nothing was said since the last time (--again learns all the same)"
    else:
        _learn(registry, asked, base, learned, outcome)
        audit.write(
            registry,
            _ACTION,
            subject=outcome.version or base.version,
            actor="operator",
            digest=digest,
            base=base.version,
            trained_on=outcome.trained_on,
            guard=guard,
            why=outcome.why,
        )
    return outcome


def _learn(registry: Registry, asked: _Asked, base: Model, learned: Any, outcome: _Outcome) -> None:
    import torch

    from fedaffect.edge.system.folders import data_folder
    from fedaffect.server.models.alignment.learning import GENTLY, judge
    from fedaffect.server.models.alignment.learning import learn as fit_from
    from fedaffect.server.registry import models
    from fedaffect.server.registry.folder_hash import folder_sha256

    torch.set_num_threads(1)
    corpora = _materials(asked)
    version = f"{base.version.partition(_LEARNED)[0][:60]}{_LEARNED}{learned.digest(base.sha256)[:10]}-{asked.seed}"
    out = (asked.out or data_folder() / "models") / version
    if out.exists():
        raise ConfigError(f"{out} exists already; choose another --seed or --out")
    try:
        fit_from(base.path, learned, out, version, corpora, replace(GENTLY, steps=asked.steps, seed=asked.seed))
        verdict = judge(base.path, out, learned, corpora, asked.tolerance)
        outcome.before, outcome.after, outcome.corpora = verdict.before, verdict.after, verdict.corpora
        outcome.why = verdict.why_not
        if outcome.why:
            return
        models.add(
            registry,
            version=version,
            profile=base.profile,
            path=out,
            label_set=base.label_set,
            sha256=folder_sha256(out),
            metrics={"guard_uar": verdict.after["uar"], "guard_uar_before": verdict.before["uar"]},
            lineage={"from": base.version, "command": "server learn", "feedback": outcome.trained_on},
            data_statement=f"{outcome.trained_on} pieces of feedback whose senders allowed learning from them",
        )
        outcome.version = version
    finally:
        if outcome.version is None:
            shutil.rmtree(out, ignore_errors=True)


def _base(registry: Registry, source: str | None) -> Model:
    """The version to start from: of those served, one that devices' features go to, or else one that takes media."""
    from fedaffect.server.registry import deployments, models
    from fedaffect.server.registry.model_folder import FEATURES, kind_of

    if source is not None:
        return models.get(registry, source)
    current = deployments.current(registry)
    shares = current.shares if current else {}
    served = [m for m in models.every(registry) if shares.get(m.version, 0) > 0]
    if not served:
        raise ConfigError("no registered version is served; register one: fedaffect server models add FOLDER")
    return max(served, key=lambda model: (kind_of(model.profile) == FEATURES, shares[model.version]))


def _materials(asked: _Asked) -> list[Material]:
    from fedaffect.edge.bundle import Bundle, default_bundle_path
    from fedaffect.server.models.alignment.material import CORPORA, read_material, without_repeats

    bundle = Bundle.load(asked.bundle or default_bundle_path()) if asked.corpora else None
    return without_repeats(
        [
            read_material(name, folder, [bundle.encoder(CORPORA.get(name, name), faces="whole")])
            for name, folder in asked.corpora.items()
            if bundle is not None
        ]
    )


def _seen(registry: Registry, digest: str) -> bool:
    from fedaffect.server.registry import audit

    return any(digest in entry.details for entry in audit.entries(registry, action=_ACTION, limit=1))
