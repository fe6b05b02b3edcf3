"""What keeps single clients' updates from the server, and the server from single clients' updates."""

from __future__ import annotations

from typing import Literal

from fedaffect.server.federation.settings.fields import Options, Section, options, setting


class Privacy(Section):
    """Differential privacy."""

    dp: Literal["local", "central"] | None = setting(
        "Differential privacy: of one utterance, or of one client.",
        default=None,
        metavar="local|central",
        common=True,
        otherwise="none",
    )
    epsilon: float | None = setting(
        "Budget of the whole run; smaller is more private.", default=None, metavar="E", common=True, gt=0
    )
    delta: float = setting("Chance that the budget does not hold.", default=1e-5, metavar="D", gt=0, lt=1)
    accountant: Literal["rdp", "prv"] = setting("How the budget is counted.", default="rdp", metavar="rdp|prv")
    clipping: Literal["flat", "per-layer", "ghost", "fixed", "adaptive"] | None = setting(
        "Local: flat, per-layer, ghost. Central: fixed, adaptive.",
        default=None,
        metavar="NAME",
        otherwise="the first",
    )
    clip_norm: float = setting(
        "Largest norm of a gradient or an update.", default=1.0, metavar="C", gt=0, allow_inf_nan=False
    )
    dp_engine: Literal["fast", "opacus"] = setting(
        "What sums example gradients.", default="fast", metavar="fast|opacus"
    )
    dp_noise: Literal["secure", "seeded"] = setting(
        "Seeded noise repeats, for tests, and protects nobody.", default="secure", metavar="secure|seeded"
    )
    dp_mechanism: Literal["gaussian", "ftrl"] = setting(
        "Central: fresh noise a round, or a tree of it.", default="gaussian", metavar="gaussian|ftrl"
    )
    dp_sampling: Literal["poisson", "in-turn"] | None = setting(
        "Central: who takes part.", default=None, metavar="poisson|in-turn", otherwise="suits the mechanism"
    )


class SecureAggregation(Section):
    """Secure aggregation."""

    secagg: bool = setting("The server sees sums over clients only.", default=False, common=True, off="--no-secagg")
    secagg_threshold: int | None = setting(
        "Shares that unmask a client.", default=None, metavar="T", otherwise="suits the round", ge=2
    )
    secagg_neighbours: int | None = setting(
        "Clients that each masks with.", default=None, metavar="K", otherwise="suits the round", ge=2
    )
    secagg_clip: float = setting("Largest change of a parameter in a round.", default=1.0, metavar="X")
    secagg_max_weight: int = setting(
        "Most examples a client counts for.", default=2048, metavar="N", unit="examples", ge=1
    )


class Robustness(Section):
    """Attacks, and bounds against them."""

    attack: str | None = setting(
        "sign-flip, scale, label-flip or backdoor: what malicious clients do.",
        default=None,
        metavar="NAME",
        otherwise="none",
    )
    attackers: float | None = setting(
        "Share of malicious clients.", default=None, metavar="P", unit="share of clients", otherwise="0.2", ge=0, lt=1
    )
    attack_options: Options = options("Such as factor=10; repeatable.")
    norm_bound: float = setting(
        "Largest L2 norm of an update; larger are rejected; 0 for none.", default=0.0, metavar="X", ge=0
    )
