"""What was known before a run: public data that keeps it, and on which it is measured."""

from __future__ import annotations

from typing import Literal

from fedaffect.server.federation.settings.fields import Names, Section, setting


class Retention(Section):
    """What was known: public data that keeps it, and on which it is measured."""

    replay: Names | None = setting(
        "Public corpora from which the server itself learns after each round, so that what was known stays.",
        default=None,
        metavar="[CORPUS=]DIR,…",
        otherwise="none; those in the folder public of a fleet",
    )
    replay_steps: int = setting("Steps on them after a round.", default=40, metavar="N", unit="steps", ge=1)
    replay_lr: float = setting(
        "Learning rate of these steps; it falls as the clients' does.",
        default=2e-4,
        metavar="X",
        usual="0.0002",
        gt=0,
        allow_inf_nan=False,
    )
    learned: Literal["all", "adapters"] = setting(
        "What of the model a run changes: all of it, or the adapters and not the trunk behind them.",
        metavar="all|adapters",
    )
    guard: Names | None = setting(
        "Public corpora: on some of their held-out people a run steps back, on others it is measured before and after.",
        default=None,
        metavar="[CORPUS=]DIR,…",
        otherwise="those of --replay",
    )
    guard_loss: float = setting(
        "Points of UAR that a run may lose on one of them; no bundle is made of one that loses more.",
        default=1.0,
        metavar="X",
        unit="points",
        ge=0,
        le=100,
    )
