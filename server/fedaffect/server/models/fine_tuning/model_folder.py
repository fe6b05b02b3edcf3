"""What was trained as a model folder: encoders as they were saved, the fusion behind them, a card that fits both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from fedaffect.edge.bundle import Source
from fedaffect.edge.labels import label_set
from fedaffect.server.models.bundling.fusion import FusionWeights, write_fusion
from fedaffect.server.models.bundling.recipe import BROUGHT
from fedaffect.server.models.fine_tuning.encoders import MediaEncoder
from fedaffect.server.models.fine_tuning.limits import Limits
from fedaffect.server.models.fine_tuning.opening import FLAGS
from fedaffect.server.models.fine_tuning.whole import Opened, Plan
from fedaffect.server.models.full_model.card import FUSION, ModelCard
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.loading import open_encoders
from fedaffect.server.models.reading import MEAN, ONE_A_CLIP, Reading

ENCODERS: Final = "encoders"
_PROFILE: Final = "cloud"


def folder_of(modality: str) -> str:
    """The folder of a modality's encoder in a model folder, named after the flag that takes it."""
    return f"{ENCODERS}/{FLAGS[modality].removeprefix('--')}"


def write_model(
    opened: Opened,
    plan: Plan,
    limits: Limits,
    folder: Path,
    *,
    labels: str,
    ratings: tuple[str, ...] = (),
    run: str,
    best_round: int,
) -> None:
    """Write a folder that ``server serve`` and ``bundle build`` take, and that answers as the network does.

    Parameters
    ----------
    opened : Opened
        With the parameters that are kept.
    plan : Plan
        What it was made by.
    limits : Limits
        How much of a clip it heard and saw.
    folder : Path
    labels : str
        Name of the label set.
    ratings : tuple of str
        What is answered besides.
    run : str
        Name of the run, and of the model's version.
    best_round : int
    """
    network = opened.network
    encoders = {modality: cast(MediaEncoder, encoder) for modality, encoder in network.encoders.items()}
    for modality, save in opened.saves.items():
        save(folder / folder_of(modality))
    fusion = FusionWeights(
        model=plan.model,
        options=plan.options,
        widths={modality: encoder.width for modality, encoder in encoders.items()},
        labels=label_set(labels),
        state={name: value.detach().cpu() for name, value in network.head.state_dict().items()},
        source=Source(run, f"round {best_round}", BROUGHT),
        lineage=({"run": run, "round": best_round, "from": "", "bundle": ""},),
        ratings=ratings,
    )
    write_fusion(fusion, folder / FUSION)
    card = ModelCard(
        version=run,
        profile=_PROFILE,
        label_set=labels,
        labels=fusion.labels.labels,
        model=fusion.model,
        options=fusion.options,
        widths=fusion.widths,
        sources={modality: folder_of(modality) for modality in encoders},
        ratings=ratings,
        readings={modality: _reading(modality, one.layers, limits, network.own) for modality, one in encoders.items()},
    )
    card.write(folder)
    served = open_encoders(ModelCard.read(folder).resolved_profile, Compute())
    replace(card, encoder_keys={modality: encoder.key for modality, encoder in served.items()}).write(folder)


def _reading(modality: str, layers: tuple[int, ...], limits: Limits, own: bool) -> Reading:
    if modality == "text":
        return Reading(layers=layers)
    if modality == "video":
        return Reading(max_frames=limits.max_frames)
    rate = ONE_A_CLIP if own else None
    return Reading(layers=layers, pooling=MEAN, tokens_per_second=rate, max_seconds=limits.max_seconds)
