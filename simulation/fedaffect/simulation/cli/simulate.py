"""``fedaffect simulate``: a federation of simulated clients, from a corpus to a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.sample import MODALITIES
from fedaffect.simulation.cli.options import GroupedCommand, KeyValue, Seeds, group

if TYPE_CHECKING:
    from fedaffect.simulation.cli.simulating import Request

_corpus = group("Corpus: what is learned from")
_clients = group("Clients: who holds what")
_model = group("Model")
_federation = group("Federation")
_local = group("Local training")
_protected = group("Protection of updates")
_timed = group("Time: stragglers, dropouts, no rounds at all")
_attacked = group("Attacks")
_bounds = group("Bounds and validation")
_many = group("Several runs")
_folder = group("Run folder")
_machine = group("Machine")

_EPILOG = """\b
Examples:
  fedaffect simulate                                      synthetic corpus, no downloads
  fedaffect simulate --dataset meld --data-dir MELD       MELD's text, speakers as clients
  fedaffect simulate --dataset meld --data-dir MELD --labels meld4 \\
      --partition fedmultimodal --context 3 --seeds 0,1,2,3,4
  fedaffect simulate --dataset ravdess --data-dir RAVDESS --folds 6 --normalise client
  fedaffect simulate --dataset meld --data-dir MELD --centralized --name meld-upper
  fedaffect simulate --sweep strategy=fedavg,fedprox,scaffold --seeds 0,1,2 --name which
  fedaffect runs compare meld-natural meld-upper
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@_corpus("--dataset", metavar="NAME", help="Corpus; 'fedaffect data list' shows all.  [default: synthetic]")
@_corpus("--data-dir", type=Path, metavar="DIR", help="Its folder, in its official layout.")
@_corpus("--modalities", metavar="LIST", help=f"Some of {','.join(MODALITIES)}.  [default: suits the corpus]")
@_corpus("--labels", metavar="SET", help="Label set, such as meld7, meld4, shared7.  [default: the corpus's own]")
@_corpus("--context", type=int, metavar="N", help="Past utterances the model also reads.")
@_corpus("--normalise", metavar="none|client", help="Standardise features by each owner's own unlabelled clips.")
@_corpus("--bundle", metavar="DIR", help="Encoders.  [default: the edge bundle, built when missing]")
@_clients("--partition", metavar="SPEC", help="natural, fedmultimodal, iid:N, dirichlet:A:N, quantity:A:N, shards:S:N.")
@_clients("--missing-modality", type=float, metavar="P", help="Rate at which a client lacks a modality.")
@_clients("--label-noise", type=float, metavar="P", help="Rate of wrong training labels.")
@_clients("--label-noise-matrix", type=Path, metavar="CSV", help="Where wrong labels go; uniform if not given.")
@_model("--model", metavar="NAME", help="Fusion model.  [default: cmt]")
@_model("--model-option", "model_options", type=KeyValue(), multiple=True, help="Such as width=128; repeatable.")
@_federation("--strategy", metavar="NAME", help="fedavg, fedprox, fedadam, scaffold, fedrs, krum, …  [default: fedavg]")
@_federation("--strategy-option", "strategy_options", type=KeyValue(), multiple=True, help="Such as server-lr=0.1.")
@_federation("--rounds", type=int, metavar="N", help="Rounds; epochs where --centralized.")
@_federation("--clients-per-round", type=int, metavar="K", help="Clients drawn each round.")
@_federation("--seed", type=int, metavar="S", help="Decides everything that is drawn.  [default: 0]")
@_local("--local-epochs", type=int, metavar="E", help="Passes over a client's data in a round.")
@_local("--batch-size", type=int, metavar="B", help="Samples a step.")
@_local("--max-steps", type=int, metavar="N", help="Most steps of one client update.")
@_local("--lr", type=float, metavar="X", help="Learning rate.")
@_local("--lr-schedule", metavar="constant|cosine", help="How it falls over rounds.  [default: cosine]")
@_local("--optimizer", metavar="sgd|adamw", help="Optimiser of the clients.")
@_local("--momentum", type=float, metavar="X", help="Momentum of sgd.")
@_local("--weight-decay", type=float, metavar="X", help="Weight decay.")
@_local("--gradient-clip", type=float, metavar="X", help="Largest norm of a step's gradient; 0 for none.")
@_local("--loss", metavar="NAME", help="cross-entropy, weighted, balanced, focal, …")
@_local("--modality-dropout", type=float, metavar="P", help="Rate at which training hides a modality.")
@_local("--keep-optimizer/--fresh-optimizer", default=None, help="Whether clients keep optimiser state between rounds.")
@_protected("--secagg/--no-secagg", default=None, help="Secure aggregation: the server sees sums over clients only.")
@_protected("--secagg-threshold", type=int, metavar="T", help="Shares that unmask.  [default: suits the round]")
@_protected("--secagg-neighbours", type=int, metavar="K", help="Clients that each masks with.  [default: as above]")
@_protected("--compression", metavar="HOW", help="Of updates: fp16, int8 or top-k:0.01.  [default: none]")
@_protected("--secagg-clip", type=float, metavar="X", help="Largest change of a parameter in a round.  [default: 1]")
@_protected("--secagg-max-weight", type=int, metavar="N", help="Most examples a client counts for.  [default: 2048]")
@_timed("--mode", metavar="MODE", help="federated (rounds) or async (FedBuff).  [default: federated]")
@_timed("--buffer-size", type=int, metavar="K", help="Updates that make a version of --mode async.  [default: 10]")
@_timed("--concurrency", type=int, metavar="N", help="Clients that train at once.  [default: those of a round]")
@_timed("--over-selection", type=float, metavar="X", help="Ask X times as many as a round needs.  [default: 1]")
@_timed("--deadline-s", type=float, metavar="X", help="Seconds after which a round goes on without the late.")
@_timed("--trace", metavar="devices|FILE.csv", help="How long devices take: simulated, not waited for.")
@_timed("--trace-option", "trace_options", type=KeyValue(), multiple=True, help="Such as dropout=0.1; repeatable.")
@_attacked("--attack", metavar="NAME", help="sign-flip, scale, label-flip or backdoor: what malicious clients do.")
@_attacked("--attackers", type=float, metavar="P", help="Share of malicious clients.  [default: 0.2]")
@_attacked("--attack-option", "attack_options", type=KeyValue(), multiple=True, help="Such as factor=10; repeatable.")
@_protected("--norm-bound", type=float, metavar="X", help="Largest L2 norm of an update; larger are rejected.")
@_protected("--dp", metavar="local|central", help="Differential privacy: of one utterance, or of one client.")
@_protected("--epsilon", type=float, metavar="E", help="Budget of the whole run; smaller is more private.")
@_protected("--delta", type=float, metavar="D", help="Chance that the budget does not hold.  [default: 1e-5]")
@_protected("--clipping", metavar="NAME", help="Local: flat, per-layer, ghost. Central: fixed, adaptive.")
@_protected("--clip-norm", type=float, metavar="C", help="Largest norm of a gradient or an update.  [default: 1]")
@_protected("--accountant", metavar="rdp|prv", help="How the budget is counted.  [default: rdp]")
@_protected("--dp-engine", metavar="fast|opacus", help="What sums example gradients.  [default: fast]")
@_protected("--dp-noise", metavar="secure|seeded", help="Seeded noise repeats, for tests, and protects nobody.")
@_protected("--dp-mechanism", metavar="gaussian|ftrl", help="Central: fresh noise a round, or a tree of it.")
@_protected("--dp-sampling", metavar="poisson|in-turn", help="Central: who takes part.  [default: poisson]")
@_bounds("--centralized", is_flag=True, help="Upper bound: the same model on all clients' data pooled.")
@_bounds("--local-only", is_flag=True, help="Lower bound: each client alone, from the same initial weights.")
@_bounds("--folds", type=int, metavar="N", help="Cross-validate over N groups of owners (speakers, actors, …).")
@_bounds("--fold", type=int, metavar="K", help="Run only this one of the folds, counted from 1.")
@_bounds("--retrain-with-dev/--no-retrain-with-dev", default=None, help="Train anew with dev for the chosen rounds.")
@_bounds("--eval-every", type=int, metavar="N", help="Rounds between evaluations on dev.")
@_bounds("--select-by", metavar="FIGURE", help="Figure on dev that picks the best round: uar, weighted_f1, accuracy.")
@_bounds("--evaluate", metavar="server|clients", help="Who evaluates on dev.  [default: server]")
@_many("--sweep", multiple=True, metavar="KEY=A,B,C", help="Run each value of a setting; repeatable.")
@_many("--seeds", type=Seeds(), metavar="0,1,2", help="Run with each seed and give mean ± std.")
@_folder("--config", type=Path, metavar="FILE.toml", help="Settings by the same names; flags go before it.")
@_folder("--out", type=Path, metavar="DIR", help="Where run folders lie.  [default: runs]")
@_folder("--name", metavar="NAME", help="Name of the run folder.  [default: made from the settings]")
@_folder("--overwrite", is_flag=True, help="Replace a run of that name.")
@_folder("--resume", type=Path, metavar="RUN_DIR", help="Go on with a run, to the same arrays as uninterrupted.")
@_folder("--keep-checkpoints", metavar="all|last", help="'last' keeps only the newest and the best.")
@_machine("--engine", metavar="ray|flower", help="Resident Ray actors, or Flower's own engine.  [default: ray]")
@_machine("--actors", type=int, metavar="N", help="Ray actors.  [default: one a core]")
@_machine(
    "--gpus-per-actor", type=float, metavar="X", help="Share of a GPU for each actor of --engine ray.  [default: 0]"
)
@_machine(
    "--cohort-size", type=int, metavar="N", help="Clients that an actor trains at once.  [default: 64 on a GPU, else 1]"
)
@_machine("--ray-address", metavar="ADDRESS", help="A Ray cluster instead of this machine.")
@_machine("--round-timeout-s", type=float, metavar="X", help="How long a round waits for its clients.")
@_machine("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
def simulate(**flags: Any) -> None:
    """Let simulated clients learn together from a corpus, each from its own samples.

    Without any flag it runs on synthetic data, drawn from a seed. Every setting left out takes a value that
    suits the corpus; the run folder's config.toml says which. Best rounds are chosen on the development
    split, and the test split is looked at once.
    """
    from fedaffect.simulation.cli.simulating import carry_out

    carry_out(_request(flags))


def _request(flags: dict[str, Any]) -> Request:
    """What was asked for, checked for contradictions."""
    from fedaffect.server.federation.settings import RunSettings
    from fedaffect.simulation.cli.simulating import Request
    from fedaffect.simulation.sweep import Axis

    _refuse_pairs(flags)
    centralized, local_only = flags.pop("centralized"), flags.pop("local_only")
    own = {key: flags.pop(key) for key in ("config", "overwrite", "resume", "quiet", "sweep", "seeds")}
    for table in ("model_options", "strategy_options", "attack_options", "trace_options"):
        flags[table] = dict(flags[table] or ()) or None
    typed = {key: value for key, value in flags.items() if value is not None}
    if centralized or local_only:
        typed["mode"] = "centralized" if centralized else "local-only"
    settings = _merged(_from_file(own["config"]), typed) if own["config"] else typed
    if not own["resume"]:
        try:
            # A wrong name in the file should name the file.
            RunSettings.of(settings)
        except ConfigError as error:
            raise ConfigError(f"{own['config']}: {error}" if own["config"] else str(error)) from error
    return Request(
        settings=settings,
        axes=tuple(Axis.parse(text) for text in own["sweep"]),
        seeds=own["seeds"],
        resume=own["resume"],
        overwrite=own["overwrite"],
        quiet=own["quiet"],
    )


def _from_file(path: Path) -> dict[str, Any]:
    from fedaffect.server.federation.settings import settings_in

    if not path.is_file():
        raise ConfigError(f"--config {path} is not a file; give the path of a TOML file")
    settings = settings_in(path)
    # Flags of their own on the command line; a run folder's config.toml says mode instead.
    bounds = {name: settings.pop(name) for name in ("centralized", "local_only") if name in settings}
    for name, value in bounds.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{path}: --{name.replace('_', '-')} takes true or false, not {value!r}")
    _refuse_pairs(bounds)
    if chosen := [name.replace("_", "-") for name, value in bounds.items() if value]:
        settings["mode"] = chosen[0]
    return settings


def _merged(file: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    merged = {**file, **typed}
    for table in ("model_options", "strategy_options", "attack_options", "trace_options"):
        if table in file and table in typed:
            merged[table] = {**file[table], **typed[table]}
    return merged


_EXCLUSIVE = (
    ("centralized", "local_only", "one is the upper bound and the other the lower; run them one after the other"),
    ("seed", "seeds", "give one seed or several"),
    ("resume", "overwrite", "one keeps the old run and the other deletes it"),
    ("resume", "name", "a resumed run keeps its name"),
    ("resume", "out", "a resumed run stays where it is"),
    ("resume", "sweep", "run the same sweep command again with the same --name: finished members are skipped"),
    ("resume", "seeds", "run the same command again with the same --name: finished members are skipped"),
)


def _refuse_pairs(flags: dict[str, Any]) -> None:
    for first, second, remedy in _EXCLUSIVE:
        if flags.get(first) not in (None, False, ()) and flags.get(second) not in (None, False, ()):
            names = (f"--{name.replace('_', '-')}" for name in (first, second))
            raise ConfigError(f"{' and '.join(names)} exclude each other: {remedy}")
