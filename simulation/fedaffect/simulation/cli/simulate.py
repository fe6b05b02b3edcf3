"""``fedaffect simulate``: a federation of simulated clients, from a corpus to a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.cli.exclusive import refuse_pairs
from fedaffect.simulation.cli.options import FINE_TUNING, GroupedCommand, Seeds, group, help_all, setting_options

if TYPE_CHECKING:
    from fedaffect.simulation.cli.simulating import Request

_bounds = group("Bounds: what the federation is compared with")
_many, _search = group("Several runs"), group("Several runs", common=False)
_folder, _rarer = group("Run folder"), group("Run folder", common=False)
_other = group("Other", common=False)

# Flags that people try and that have another name here.
_MEANT = {
    "--clients": "--clients-per-round 50 (drawn each round) or --partition iid:50 (clients in all)",
    "--epochs": "--local-epochs (of a client in a round) or --rounds",
    "--learning-rate": "--lr",
    "--output": "--out",
}

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


@click.command(cls=GroupedCommand, meant=_MEANT, epilog=_EPILOG)
@setting_options(lambda flag: flag["section"] != FINE_TUNING)
@_rarer("--config", type=Path, metavar="FILE.toml", help="Settings by the same names; flags go before it.")
@_rarer("--overwrite", is_flag=True, help="Replace a run of that name.")
@_folder("--resume", metavar="RUN", help="Go on with a run, by name or folder, to the same arrays as uninterrupted.")
@_bounds("--centralized", is_flag=True, help="Upper bound: the same model on all clients' data pooled.")
@_bounds("--local-only", is_flag=True, help="Lower bound: each client alone, from the same initial weights.")
@_many("--sweep", multiple=True, metavar="KEY=A,B,C", help="Run each value of a setting; repeatable.")
@_search("--trials", type=click.IntRange(1), metavar="N", help="Search the sweep's values by Optuna; also LOW..HIGH.")
@_many("--seeds", type=Seeds(), metavar="0,1,2", help="Run with each seed and give mean ± std.")
@_other("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@help_all
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
    from fedaffect.server.starting_point import with_start
    from fedaffect.simulation.cli.simulating import Request
    from fedaffect.simulation.sweep import Axis

    refuse_pairs(flags)
    centralized, local_only = flags.pop("centralized"), flags.pop("local_only")
    own = {key: flags.pop(key) for key in ("config", "overwrite", "resume", "quiet", "sweep", "seeds", "trials")}
    for table in ("model_options", "strategy_options", "attack_options", "trace_options"):
        flags[table] = dict(flags[table] or ()) or None
    typed = {key: value for key, value in flags.items() if value is not None}
    if centralized or local_only:
        typed["mode"] = "centralized" if centralized else "local-only"
    settings = _merged(_from_file(own["config"]), typed) if own["config"] else typed
    if not own["resume"]:
        settings = with_start(settings)
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
        trials=own["trials"],
    )


# Flags of their own on the command line, and so in its files; a run folder's config.toml says mode instead.
_MODE_FLAGS = ("centralized", "local_only")


def _from_file(path: Path) -> dict[str, Any]:
    from fedaffect.server.federation.settings import settings_in

    if not path.is_file():
        raise ConfigError(f"--config {path} is not a file; give the path of a TOML file")
    settings = settings_in(path, also=_MODE_FLAGS)
    bounds: dict[str, Any] = {name: settings.pop(name) for name in _MODE_FLAGS if name in settings}
    for name, value in bounds.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{path}: --{name.replace('_', '-')} takes true or false, not {value!r}")
    refuse_pairs(bounds)
    if chosen := [name.replace("_", "-") for name, value in bounds.items() if value]:
        settings["mode"] = chosen[0]
    return settings


def _merged(file: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    merged = {**file, **typed}
    for table in ("model_options", "strategy_options", "attack_options", "trace_options"):
        if table in file and table in typed:
            merged[table] = {**file[table], **typed[table]}
    return merged
