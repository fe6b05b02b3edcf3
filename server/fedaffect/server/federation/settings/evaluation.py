"""How a run is measured."""

from __future__ import annotations

from typing import Literal

from fedaffect.server.federation.settings.fields import Section, setting


class Evaluation(Section):
    """Evaluation: folds, and what chooses the best round."""

    folds: int = setting(
        "Cross-validate over N groups of owners (speakers, actors, …); 0 for the official split.",
        default=0,
        metavar="N",
        common=True,
        ge=0,
    )
    fold: int | None = setting(
        "Run only this one of the folds, counted from 1.", default=None, metavar="K", otherwise="all"
    )
    folds_over: Literal["owners", "samples"] = setting(
        "What is divided into folds: owners with all their samples, or single samples.",
        default="owners",
        metavar="owners|samples",
    )
    retrain_with_dev: bool = setting(
        "Train again with dev for the chosen number of rounds.", default=False, off="--no-retrain-with-dev"
    )
    eval_every: int = setting("Rounds between evaluations on dev.", metavar="N", unit="rounds", ge=1)
    select_by: Literal["uar", "accuracy", "macro_f1", "weighted_f1", "ccc"] = setting(
        "Figure on dev that picks the best round: uar, accuracy, macro_f1, weighted_f1; ccc of ratings.",
        metavar="FIGURE",
    )
    patience: int = setting(
        "Rounds without a better figure on dev after which the run ends; 0 for all rounds.",
        default=0,
        metavar="N",
        unit="rounds",
        ge=0,
    )
    evaluate: Literal["server", "clients"] = setting(
        "Who evaluates on dev.", default="server", metavar="server|clients"
    )
