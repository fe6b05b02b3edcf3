"""Settings of a run under which its privacy would not hold, each refused with the bound that breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedaffect.client.privacy.bounds import require_bounded_training, require_own_features, require_own_utterances
from fedaffect.client.privacy.clip_bounds import CLIPPINGS, FLAT
from fedaffect.client.privacy.settings import CENTRAL, LOCAL
from fedaffect.edge.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from fedaffect.server.federation.settings import RunSettings

FIXED, ADAPTIVE = "fixed", "adaptive"
CENTRAL_CLIPPINGS = (FIXED, ADAPTIVE)
GAUSSIAN, FTRL = "gaussian", "ftrl"
POISSON, IN_TURN = "poisson", "in-turn"

# Means by other weights, medians and choices: none has a sensitivity that falls with the number of clients.
_NO_MEANS = "is no mean with fixed weights, so the bound of one client's part in what it makes is not S / K"


def default_clipping(kind: str) -> str:
    """What is clipped how unless told otherwise."""
    return FLAT if kind == LOCAL else FIXED


def default_sampling(kind: str, mechanism: str) -> str:
    """Poisson sampling amplifies central privacy; everything else wants everybody in turn."""
    return POISSON if kind == CENTRAL and mechanism == GAUSSIAN else IN_TURN


def check_privacy(config: RunSettings) -> None:
    """Refuse what no privacy of a run covers.

    Raises
    ------
    ConfigError
        Naming the bound that would break, or the flag that is missing.
    """
    if config.privacy.dp is None:
        if config.privacy.epsilon is not None:
            raise ConfigError("--epsilon says how much privacy, not which; add --dp local or --dp central")
        return
    known = CLIPPINGS if config.privacy.dp == LOCAL else (*CENTRAL_CLIPPINGS, FLAT)
    if config.privacy.clipping is not None and config.privacy.clipping not in known:
        raise unknown_name(f"clipping of --dp {config.privacy.dp}", config.privacy.clipping, known)
    if config.privacy.epsilon is None:
        raise ConfigError("--dp needs --epsilon, such as 8 (inf clips and adds no noise, which protects nobody)")
    require_own_utterances(config.data.context, ())
    require_own_features(
        config.privacy.dp, config.data.normalise, config.data.partition in ("natural", "fedmultimodal")
    )
    if config.federation.mode == "local-only":
        raise ConfigError("with --local-only nothing leaves a client, so --dp has nothing to protect; leave one out")
    if config.evaluation.evaluate == "clients":
        raise ConfigError(
            "--evaluate clients sends each client's figures without noise: no budget covers them; use --evaluate server"
        )
    if config.privacy.dp == CENTRAL:
        _check_central(config)
    elif config.privacy.dp_mechanism != GAUSSIAN or config.privacy.dp_sampling == POISSON:
        raise ConfigError(
            "--dp local is DP-SGD on each client, whose own batches are Poisson samples; the server knows which "
            "clients take part, so drawing them amplifies nothing: leave --dp-mechanism and --dp-sampling out"
        )


def _check_central(config: RunSettings) -> None:
    if config.privacy.clipping == FLAT:
        raise ConfigError("--dp central clips whole updates: use --clipping fixed or adaptive")
    if config.federation.mode == "centralized":
        raise ConfigError("--dp central protects one client among many, and --centralized has one; use --dp local")
    if config.privacy.dp_mechanism == FTRL and config.privacy.dp_sampling == POISSON:
        raise ConfigError(
            "--dp-mechanism ftrl counts how often and how far apart a client takes part, which Poisson sampling does "
            "not bound; use --dp-sampling in-turn"
        )
    if config.privacy.dp_mechanism == FTRL and config.privacy.clipping == ADAPTIVE:
        raise ConfigError(
            "--dp-mechanism ftrl adds one deviation to all nodes of its tree: a bound that moves breaks it; "
            "use --clipping fixed"
        )


def check_strategy(config: RunSettings, needs_mean_only: bool, algorithm: str, keep_optimizer: bool) -> None:
    """Refuse a strategy that a run's privacy does not cover.

    Parameters
    ----------
    config : RunSettings
    needs_mean_only : bool
        Whether the strategy needs no more than the mean.
    algorithm : str
        Its local algorithm.
    keep_optimizer : bool

    Raises
    ------
    ConfigError
        Naming the bound that would break.
    """
    if config.privacy.dp is None:
        return
    require_bounded_training(config.privacy.dp, config.training.loss, algorithm, keep_optimizer)
    if config.privacy.dp == CENTRAL and not needs_mean_only:
        raise ConfigError(
            f"--strategy {config.federation.strategy} {_NO_MEANS}; use fedavg, fedavgm, fedadam, fedyogi or fedprox"
        )
