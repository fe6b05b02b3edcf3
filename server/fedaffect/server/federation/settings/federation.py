"""The model, and who aggregates its updates how."""

from __future__ import annotations

from typing import Literal

from fedaffect.server.federation.settings.fields import KeywordOptions, Options, Section, Text, options, setting
from fedaffect.server.federation.settings.fine_tuning import FINE_TUNED

ASYNC = "async"
# One client holds what all clients hold.
POOLED = ("centralized", FINE_TUNED)


class Model(Section):
    """Model."""

    model: str = setting(
        "Fusion model: cmt, cmt-paper, early, late, mmbt, avafn, avt, …", default="cmt", metavar="NAME", common=True
    )
    model_options: KeywordOptions = options("Such as width=128; repeatable.")
    start_from: Text | None = setting(
        "Weights of the first round: of a bundle, an earlier run or a file, or the shipped ones (default); several for "
        "a model of their streams together.",
        default=None,
        metavar="BUNDLE|RUN|FILE|default,…",
        otherwise="fresh ones",
    )


class Federation(Section):
    """Federation: rounds, clients and how their updates become one model."""

    strategy: str = setting(
        "fedavg, fedprox, fedadam, scaffold, fedrs, fedper, fedrep, ditto, krum, …",
        default="fedavg",
        metavar="NAME",
        common=True,
    )
    strategy_options: Options = options("Such as server-lr=0.1; repeatable.")
    mode: Literal["federated", "async", "centralized", "local-only", "fine-tuned"] = setting(
        "Rounds (federated), FedBuff (async), the upper bound (centralized), the lower bound (local-only); "
        "fine-tuned is fedaffect train.",
        default="federated",
        metavar="MODE",
    )
    rounds: int = setting("Rounds; epochs where --centralized.", metavar="N", common=True, ge=1)
    clients_per_round: int | None = setting(
        "Clients drawn each round.", default=None, metavar="K", common=True, otherwise="suits the corpus", ge=1
    )
    seed: int = setting("Decides everything that is drawn.", default=0, metavar="S", common=True, ge=0)
    compression: str = setting("Compression of updates: none, fp16, int8 or top-k:0.01.", default="none", metavar="HOW")
