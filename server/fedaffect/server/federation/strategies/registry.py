"""Strategies by name: how each is built, what it needs from the replies, and what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy

from fedaffect.client.algorithms.fedrep import head_epochs
from fedaffect.client.algorithms.registry import algorithm
from fedaffect.client.plugins import Plugins
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.system.own_code import raised_in
from fedaffect.server.federation.settings import ASYNC, RunSettings
from fedaffect.server.federation.strategies.centred_clipping import CentredClipping
from fedaffect.server.federation.strategies.fedrs import FedRS
from fedaffect.server.federation.strategies.flower import EVERYBODY, quiet_flower
from fedaffect.server.federation.strategies.personal import Personal
from fedaffect.server.federation.strategies.scaffold import Scaffold

GROUP = "fedaffect.strategies"

Options: TypeAlias = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StrategyEntry:
    """One strategy of the registry. Packages add theirs under the entry-point group ``fedaffect.strategies``.

    Parameters
    ----------
    build : callable
        ``(options, config, clients) -> Strategy``; ``options`` are complete, ``clients`` is N.
    needs_mean_only : bool
        Whether it only needs the weighted mean of all replies, so that they can be summed as they come.
    algorithm : str
        The local algorithm that clients run (``fedaffect.client.algorithms``).
    options : mapping of str to float
        Its options, kebab-case, with their defaults; a whole number here takes only whole numbers.
    state : tuple of str
        Attributes that carry memory from round to round.
    client_state : bool
        Whether clients keep something from round to round too.
    """

    build: Callable[[Options, RunSettings, int], Strategy]
    needs_mean_only: bool = True
    algorithm: str = "fedavg"
    options: Options = field(default_factory=dict)
    state: tuple[str, ...] = ()
    client_state: bool = False


def _flower(kind: Callable[..., Strategy], **renamed: str) -> Callable[[Options, RunSettings, int], Strategy]:
    """Build one of Flower's with our option names put into its own words."""

    def build(options: Options, config: RunSettings, clients: int) -> Strategy:
        named = {renamed.get(k.replace("-", "_"), k.replace("-", "_")): v for k, v in options.items()}
        return kind(**EVERYBODY, **named)

    return build


def _qfedavg(options: Options, config: RunSettings, clients: int) -> Strategy:
    return flower.QFedAvg(client_learning_rate=config.training.lr, q=options["q"], **EVERYBODY)


def _scaffold(options: Options, config: RunSettings, clients: int) -> Strategy:
    return Scaffold(clients, server_lr=options["server-lr"], **EVERYBODY)


def _fedrs(options: Options, config: RunSettings, clients: int) -> Strategy:
    return FedRS(alpha=options["alpha"], **EVERYBODY)


def _fedrep(options: Options, config: RunSettings, clients: int) -> Strategy:
    head_epochs(config.training.local_epochs, int(options["representation-epochs"]))
    return _personal(options, config, clients)


def _personal(options: Options, config: RunSettings, clients: int) -> Strategy:
    return Personal(options, **EVERYBODY)


def _centred_clipping(options: Options, config: RunSettings, clients: int) -> Strategy:
    iterations, bucket = int(options["iterations"]), int(options["bucket"])
    if options["drop"] >= 0.5:
        raise ConfigError(f"strategy option drop leaves out less than half of the updates, not {options['drop']}")
    return CentredClipping(
        radius=options["radius"],
        iterations=iterations,
        drop=options["drop"],
        bucket=bucket,
        seed=config.federation.seed,
        **EVERYBODY,
    )


def _bulyan(options: Options, config: RunSettings, clients: int) -> Strategy:
    malicious = int(options["malicious"])
    needed = 4 * malicious + 3
    if (taking_part := config.clients_a_round(clients)) < needed:
        raise ConfigError(
            f"bulyan against {malicious} malicious clients needs {needed} a round, not {taking_part}; "
            f"raise --clients-per-round"
        )
    return flower.Bulyan(num_malicious_nodes=malicious, **EVERYBODY)


_ADAPTIVE = {"server-lr": 0.01, "beta-1": 0.9, "beta-2": 0.99, "tau": 1e-3}
_MOMENTS = ("m_t", "v_t")

_OWN: Mapping[str, StrategyEntry] = MappingProxyType(
    {
        "fedavg": StrategyEntry(_flower(flower.FedAvg)),
        "fedavgm": StrategyEntry(
            _flower(flower.FedAvgM, server_lr="server_learning_rate", momentum="server_momentum"),
            options={"server-lr": 1.0, "momentum": 0.9},
            state=("current_arrays", "momentum_vector"),
        ),
        "fedprox": StrategyEntry(_flower(flower.FedProx, mu="proximal_mu"), algorithm="fedprox", options={"mu": 0.01}),
        "fedadam": StrategyEntry(_flower(flower.FedAdam, server_lr="eta"), options=_ADAPTIVE, state=_MOMENTS),
        "fedadagrad": StrategyEntry(
            _flower(flower.FedAdagrad, server_lr="eta"), options={"server-lr": 0.01, "tau": 1e-3}, state=_MOMENTS
        ),
        "fedyogi": StrategyEntry(_flower(flower.FedYogi, server_lr="eta"), options=_ADAPTIVE, state=_MOMENTS),
        "qfedavg": StrategyEntry(_qfedavg, needs_mean_only=False, options={"q": 0.1}),
        "fedmedian": StrategyEntry(_flower(flower.FedMedian), needs_mean_only=False),
        "fedtrimmedavg": StrategyEntry(
            _flower(flower.FedTrimmedAvg, trim="beta"), needs_mean_only=False, options={"trim": 0.2}
        ),
        "krum": StrategyEntry(
            _flower(flower.Krum, malicious="num_malicious_nodes"), needs_mean_only=False, options={"malicious": 0}
        ),
        "multikrum": StrategyEntry(
            _flower(flower.MultiKrum, malicious="num_malicious_nodes", select="num_nodes_to_select"),
            needs_mean_only=False,
            options={"malicious": 0, "select": 3},
        ),
        "centred-clipping": StrategyEntry(
            _centred_clipping, needs_mean_only=False, options={"radius": 0.0, "iterations": 3, "drop": 0.3, "bucket": 1}
        ),
        "bulyan": StrategyEntry(_bulyan, needs_mean_only=False, options={"malicious": 0}),
        "scaffold": StrategyEntry(
            _scaffold, algorithm="scaffold", options={"server-lr": 1.0}, state=("control",), client_state=True
        ),
        "fedrs": StrategyEntry(_fedrs, algorithm="fedrs", options={"alpha": 0.5}),
        "fedper": StrategyEntry(_personal, algorithm="fedper", client_state=True),
        "fedrep": StrategyEntry(_fedrep, algorithm="fedrep", options={"representation-epochs": 1}, client_state=True),
        "ditto": StrategyEntry(
            _personal, algorithm="ditto", options={"lambda": 0.1, "personal-epochs": 1}, client_state=True
        ),
    }
)


PLUGINS: Plugins[StrategyEntry] = Plugins(
    "strategy", GROUP, _OWN, lambda found: isinstance(found, StrategyEntry), "a StrategyEntry"
)


def strategy_entry(name: str) -> StrategyEntry:
    """The registry's entry of that name.

    Raises
    ------
    ConfigError
        If there is none, listing those that exist.
    """
    return PLUGINS.find(name)


def complete_options(entry: StrategyEntry, given: Mapping[str, Any]) -> dict[str, float]:
    """A strategy's options, checked, with defaults for those not given.

    Raises
    ------
    ConfigError
        On an unknown option, listing those known, or a value that is no number.
    """
    options = dict(entry.options)
    for name, value in given.items():
        if name not in options:
            raise unknown_name("strategy option", name, options)
        whole = isinstance(options[name], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value < 0:
            raise ConfigError(
                f"strategy option {name} takes a {'whole ' if whole else ''}number of 0 or more, not {value!r}"
            )
        options[name] = value if whole else float(value)
    return options


def require_suited(config: RunSettings, entry: StrategyEntry) -> None:
    """Refuse a strategy that needs what the run's other settings take away.

    Raises
    ------
    ConfigError
        If it compares single updates, which secure aggregation hides, needs rounds, which ``async`` has not, or gives
        each client a model of its own where there is one client.
    """
    if config.federation.mode == "centralized" and algorithm(entry.algorithm).unseen_rule:
        raise ConfigError(
            f"{config.federation.strategy} gives each client a model of its own, and --centralized has one client; "
            f"use --strategy fedavg"
        )
    if config.secagg.secagg and not entry.needs_mean_only:
        raise ConfigError(
            f"{config.federation.strategy} compares single updates, and --secagg hides them; "
            f"use a strategy of averages, such as fedavg or fedadam, or leave --secagg out"
        )
    if config.engine.regions is not None and not entry.needs_mean_only:
        raise ConfigError(
            f"{config.federation.strategy} compares single updates, and --regions pass up sums; use a strategy of "
            f"averages, such as fedavg or fedadam, or leave --regions out"
        )
    rounds = not entry.needs_mean_only or entry.state or entry.client_state or config.training.keep_optimizer
    if config.federation.mode == ASYNC and rounds:
        what = "--keep-optimizer" if config.training.keep_optimizer else f"--strategy {config.federation.strategy}"
        raise ConfigError(f"--mode async averages updates of any age, and {what} needs rounds; use fedavg or fedprox")


def build_strategy(config: RunSettings, clients: int) -> tuple[Strategy, StrategyEntry]:
    """The strategy of a run.

    Parameters
    ----------
    config : RunSettings
    clients : int
        N, all clients of the federation.

    Raises
    ------
    ConfigError
        On an unknown strategy or option, or one out of range.
    """
    name = config.federation.strategy
    entry = strategy_entry(name)
    options = complete_options(entry, config.federation.strategy_options)
    try:
        with quiet_flower():
            strategy = entry.build(options, config, clients)
    except ValueError as error:
        place = f" ({found})" if (found := raised_in(error)) else ""
        raise ConfigError(f"strategy {name} refuses its options: {error}{place}") from error
    if not isinstance(strategy, Strategy):
        raise ConfigError(f"strategy {name} builds a {type(strategy).__name__}, not a flwr.serverapp.strategy.Strategy")
    if missing := [name for name in entry.state if not hasattr(strategy, name)]:
        raise ConfigError(
            f"strategy {name} says that it remembers {', '.join(missing)} and has no such attribute; set it in __init__"
        )
    return strategy, entry
