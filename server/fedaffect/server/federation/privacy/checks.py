"""Settings of a run under which its promise would not hold, each refused with the bound that breaks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fedaffect.client.privacy.accounting import ACCOUNTANTS
from fedaffect.client.privacy.bounds import require_bounded_training, require_own_features, require_own_utterances
from fedaffect.client.privacy.clipping import CLIPPINGS, FLAT
from fedaffect.client.privacy.settings import CENTRAL, ENGINES, KINDS, LOCAL, NOISES
from fedaffect.edge.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from fedaffect.server.federation.run_config import RunConfig

FIXED, ADAPTIVE = "fixed", "adaptive"
CENTRAL_CLIPPINGS = (FIXED, ADAPTIVE)
GAUSSIAN, FTRL = "gaussian", "ftrl"
MECHANISMS = (GAUSSIAN, FTRL)
POISSON, IN_TURN = "poisson", "in-turn"
SAMPLINGS = (POISSON, IN_TURN)

# Means by other weights, medians and choices: none has a sensitivity that falls with the number of clients.
_NO_MEANS = "is no mean with fixed weights, so the bound of one client's part in what it makes is not S / K"


def default_clipping(kind: str) -> str:
    """What is clipped how unless told otherwise."""
    return FLAT if kind == LOCAL else FIXED


def default_sampling(kind: str, mechanism: str) -> str:
    """Poisson sampling amplifies central privacy; everything else wants everybody in turn."""
    return POISSON if kind == CENTRAL and mechanism == GAUSSIAN else IN_TURN


def check_privacy(config: RunConfig) -> None:
    """Refuse what a run cannot promise.

    Raises
    ------
    ConfigError
        Naming the bound that would break, or the flag that is missing.
    """
    if config.dp is None:
        if config.epsilon is not None:
            raise ConfigError("--epsilon says how much privacy, not which; add --dp local or --dp central")
        return
    _check_choices(config)
    if config.epsilon is None:
        raise ConfigError("--dp needs --epsilon, such as 8 (inf clips and adds no noise, which protects nobody)")
    if not config.epsilon > 0 or not 0 < config.delta < 1:
        raise ConfigError("--epsilon is above 0 and --delta between 0 and 1, such as 8 and 1e-5")
    if not (math.isfinite(config.clip_norm) and config.clip_norm > 0):
        raise ConfigError(f"--clip-norm must be above 0, not {config.clip_norm}; 1 is usual")
    require_own_utterances(config.context, ())
    require_own_features(config.dp, config.normalise, config.partition in ("natural", "fedmultimodal"))
    if config.mode == "local-only":
        raise ConfigError("with --local-only nothing leaves a client, so --dp has nothing to protect; leave one out")
    if config.evaluate == "clients":
        raise ConfigError(
            "--evaluate clients sends each client's figures without noise: no budget covers them; use --evaluate server"
        )
    if config.dp == CENTRAL:
        _check_central(config)
    elif config.dp_mechanism != GAUSSIAN or config.dp_sampling == POISSON:
        raise ConfigError(
            "--dp local is DP-SGD on each client, whose own batches are Poisson samples; the server knows which "
            "clients take part, so drawing them amplifies nothing: leave --dp-mechanism and --dp-sampling out"
        )


def _check_choices(config: RunConfig) -> None:
    kind = str(config.dp)
    for name, value, known in (
        ("kind of privacy", kind, KINDS),
        ("accountant", config.accountant, ACCOUNTANTS),
        ("dp engine", config.dp_engine, ENGINES),
        ("dp noise", config.dp_noise, NOISES),
        ("dp mechanism", config.dp_mechanism, MECHANISMS),
        ("dp sampling", config.dp_sampling or IN_TURN, SAMPLINGS),
        (
            f"clipping of --dp {kind}",
            config.clipping or FLAT,
            CLIPPINGS if kind == LOCAL else (*CENTRAL_CLIPPINGS, FLAT),
        ),
    ):
        if value not in known:
            raise unknown_name(name, value, known)


def _check_central(config: RunConfig) -> None:
    if config.clipping == FLAT:
        raise ConfigError("--dp central clips whole updates: use --clipping fixed or adaptive")
    if config.mode == "centralized":
        raise ConfigError("--dp central protects one client among many, and --centralized has one; use --dp local")
    if config.dp_mechanism == FTRL and config.dp_sampling == POISSON:
        raise ConfigError(
            "--dp-mechanism ftrl counts how often and how far apart a client takes part, which Poisson sampling does "
            "not bound; use --dp-sampling in-turn"
        )
    if config.dp_mechanism == FTRL and config.clipping == ADAPTIVE:
        raise ConfigError(
            "--dp-mechanism ftrl adds one deviation to all nodes of its tree: a bound that moves breaks it; "
            "use --clipping fixed"
        )


def check_strategy(config: RunConfig, foldable: bool, algorithm: str, keep_optimizer: bool) -> None:
    """Refuse a strategy that a run's privacy does not cover.

    Parameters
    ----------
    config : RunConfig
    foldable : bool
        Whether the strategy needs no more than the mean.
    algorithm : str
        Its local algorithm.
    keep_optimizer : bool

    Raises
    ------
    ConfigError
        Naming the bound that would break.
    """
    if config.dp is None:
        return
    require_bounded_training(config.dp, config.loss, algorithm, keep_optimizer)
    if config.dp == CENTRAL and not foldable:
        raise ConfigError(f"--strategy {config.strategy} {_NO_MEANS}; use fedavg, fedavgm, fedadam, fedyogi or fedprox")
