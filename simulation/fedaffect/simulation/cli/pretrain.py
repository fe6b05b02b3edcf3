"""``fedaffect pretrain``: a model's streams learned from clips alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.simulation.cli.options import GroupedCommand, group, help_all, setting_options

if TYPE_CHECKING:
    from torch import Tensor

    from fedaffect.simulation.pretraining.training import Epoch

_folder, _other = group("Run folder"), group("Other")

# Settings of a run that mean something here.
_SHARED: Final = frozenset(
    {"dataset", "data_dir", "modalities", "normalise", "bundle", "audio_features", "video_features"}
    | {"model", "model_options", "rounds", "seed", "batch_size", "lr", "weight_decay", "patience", "out", "name"}
)
_MEANT: Final = {"--epochs": "--rounds (an epoch is a round)", "--labels": "no labels: they are not looked at"}
_EPILOG: Final = """\b
Examples:
  fedaffect pretrain --dataset voxceleb2 --data-dir VOX --name vox
  fedaffect simulate --dataset ravdess --data-dir RAVDESS --start-from vox.safetensors
"""


@click.command(cls=GroupedCommand, meant=_MEANT, epilog=_EPILOG)
@setting_options(lambda flag: flag["name"] in _SHARED)
@_folder("--overwrite", is_flag=True, help="Replace a file of that name.")
@_other("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@json_option
@help_all
def pretrain(as_json: bool, **flags: Any) -> None:
    """Learn a model's streams from clips alone: masked auto-encoders, which give hidden tokens back.

    No labels are looked at, so corpora without any serve too (voxceleb2, lrs2). --model avt unless another is
    named; late has such streams too. Test rows take no part; the best epoch is chosen on development clips, of
    which every tenth owner's serve where the authors give none. It lies in runs/NAME.safetensors, whole at any
    time, and simulate --start-from takes it.
    """
    from rich.console import Console

    from fedaffect.edge.errors import RunError
    from fedaffect.server.federation.settings import RunSettings
    from fedaffect.server.pretrained_streams import PretrainedStreams, write_streams
    from fedaffect.simulation.edge_bundle import build_edge_bundle
    from fedaffect.simulation.pretraining.clips import read_clips
    from fedaffect.simulation.pretraining.training import pretrain as learn

    overwrite, quiet = flags.pop("overwrite"), flags.pop("quiet")
    flags["model_options"] = dict(flags["model_options"] or ()) or None
    given = {name: value for name, value in flags.items() if value is not None}
    config = RunSettings.of({"model": "avt", "mode": "centralized", **given})
    path = config.output.out / f"{flags['name'] or f'{config.data.dataset}-streams'}.safetensors"
    if path.exists() and not overwrite:
        raise RunError(f"{path} exists already; replace it (--overwrite), or choose another --name")
    console = Console(stderr=True)
    clips = read_clips(config, lambda: build_edge_bundle(console, quiet), not quiet)
    path.parent.mkdir(parents=True, exist_ok=True)

    shown = 0.0

    def told(epoch: Epoch, state: Mapping[str, Tensor]) -> None:
        nonlocal shown
        if epoch.best:
            shown = epoch.dev
            streams = PretrainedStreams(
                name=str(path),
                model=config.model.model,
                options=config.model.model_options,
                widths=clips.widths,
                state=state,
                encoder_keys=clips.encoder_keys,
                normalise=config.data.normalise,
                dataset=config.data.dataset,
                loss=epoch.dev,
            )
            write_streams(streams, path)
        if not quiet:
            mark = ", the best so far" if epoch.best else ""
            line = f"epoch {epoch.number} of {config.federation.rounds}: {epoch.train:.4f}, development {epoch.dev:.4f}"
            console.print(f"{line}{mark}", highlight=False)

    learn(config, clips, told)
    facts = {"path": str(path), "loss": shown, "clips": len(clips.train), "unusable": clips.unusable}
    left = f", {clips.unusable:,} that could not be read left out" if clips.unusable else ""
    say(
        as_json,
        facts,
        f"{path}: of what is hidden {1 - shown:.1%} is given back, from {len(clips.train):,} clips{left}\n"
        f"start from it: fedaffect simulate --dataset CORPUS --start-from {path}",
    )
