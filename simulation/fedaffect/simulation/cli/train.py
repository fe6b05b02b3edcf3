"""``fedaffect train``: encoders that learn too, from raw media, in one place."""

from __future__ import annotations

from typing import Any, Final

import click

from fedaffect.simulation.cli.exclusive import refuse_pairs
from fedaffect.simulation.cli.options import FINE_TUNING, GroupedCommand, Seeds, group, help_all, setting_options

_folder, _many, _other = group("Run folder"), group("Several runs"), group("Other", common=False)

# Settings of a run that mean something here, beside those of fine-tuning.
_SHARED: Final = frozenset(
    {"dataset", "data_dir", "modalities", "labels", "targets", "missing_modality", "label_noise", "strict", "model"}
    | {"model_options", "rounds", "seed", "batch_size", "lr", "weight_decay", "gradient_clip", "loss"}
    | {"modality_dropout", "folds", "fold", "retrain_with_dev", "select_by", "patience", "ray_address", "out", "name"}
    | {"keep_checkpoints"}
)
_MEANT: Final = {
    "--epochs": "--rounds (an epoch is a round)",
    "--learning-rate": "--encoder-lr or --lr",
    "--audio": "--speech",
    "--video": "--vision",
    "--output": "--out",
}
_EPILOG: Final = """\b
Examples:
  fedaffect train --modalities text --rounds 2            MiniLM on constructed sentences, no downloads
  fedaffect train --dataset meld --data-dir MELD --text BERT
  fedaffect train --dataset ravdess --data-dir RAVDESS --speech WAV2VEC2 --folds 6
  fedaffect train --dataset iemocap --data-dir IEMOCAP --modalities text,audio --model cmt \\
      --text BERT --speech WAV2VEC2 --workers 2
  fedaffect server serve --model runs/NAME/model
  fedaffect bundle build --fusion runs/NAME
"""


def _wanted(flag: Any) -> bool:
    return bool(flag["section"] == FINE_TUNING or flag["name"] in _SHARED)


@click.command(cls=GroupedCommand, meant=_MEANT, epilog=_EPILOG)
@setting_options(_wanted)
@_folder("--overwrite", is_flag=True, help="Replace a run of that name.")
@_folder("--resume", metavar="RUN", help="Go on with a run, by name or folder, to the same arrays as uninterrupted.")
@_many("--sweep", multiple=True, metavar="KEY=A,B,C", help="Run each value of a setting; repeatable.")
@_many("--trials", type=click.IntRange(1), metavar="N", help="Search the sweep's values by Optuna; also LOW..HIGH.")
@_many("--seeds", type=Seeds(), metavar="0,1,2", help="Run with each seed and give mean ± std.")
@_other("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@help_all
def train(**flags: Any) -> None:
    """Train encoders end to end, or partly frozen, with a head or a fusion model behind them.

    One modality has a head of its own ([CLS] of words, the mean over a voice or over frames); several have a
    fusion, --model cmt unless another is named. The best epoch is chosen on the development split; it lies in
    runs/NAME/model, which server serve takes, with its encoders as transformers and server align take them.
    """
    from fedaffect.simulation.cli.simulating import Request, carry_out
    from fedaffect.simulation.sweep import Axis

    refuse_pairs(flags)
    own = {key: flags.pop(key) for key in ("overwrite", "resume", "quiet", "seeds", "trials")}
    axes = tuple(Axis.parse(text) for text in flags.pop("sweep"))
    flags["model_options"] = dict(flags["model_options"] or ()) or None
    settings = {key: value for key, value in flags.items() if value is not None}
    carry_out(Request({**settings, "mode": "fine-tuned"}, **own, axes=axes))
