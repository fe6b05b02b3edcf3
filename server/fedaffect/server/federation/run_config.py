"""Everything that decides a run, in one object: the flags of ``fedaffect simulate``, checked once."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from fedaffect.client.compression.soundness import require_sound
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError, at, unknown_name
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.federation.corpus_defaults import run_defaults
from fedaffect.server.federation.privacy.checks import check_privacy

# Stands for "what suits the corpus"; replaced when a RunConfig is built, so nobody who reads one meets it.
CORPUS_DEFAULT: Any = None

ASYNC = "async"
MODES = ("federated", ASYNC, "centralized", "local-only")
ENGINES = ("ray", "flower")
METRICS_TO_SELECT_BY = ("uar", "accuracy", "macro_f1", "weighted_f1")

# Where and how fast a run happens, which must not change what it learns.
_WITHOUT_EFFECT = frozenset(
    {"data_dir", "out", "name", "engine", "actors", "gpus_per_actor", "ray_address", "keep_checkpoints"}
    | {"round_timeout_s"}
)
_PATHS = frozenset({"data_dir", "out", "label_noise_matrix"})
_OPTIONS = frozenset({"model_options", "strategy_options", "attack_options", "trace_options"})


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of one run. Fields left out take what suits the corpus (``corpus_defaults``).

    Parameters
    ----------
    dataset, data_dir
        Corpus and the folder that holds it in its official layout.
    modalities, labels, partition, context, normalise, missing_modality, label_noise, label_noise_matrix, bundle
        How the corpus becomes clients: see ``prepare``. ``context`` counts past utterances.
    model, model_options
        Name in the model registry and its options.
    strategy, strategy_options
        Name in the strategy registry and its options, such as ``server-lr``.
    mode : {"federated", "async", "centralized", "local-only"}
        Rounds, or FedBuff (``asynchronous``); the last two are the upper and the lower bound of these.
    buffer_size, concurrency : int
        Of ``async``: updates that make a version, and clients that train at once (those of a round if not given).
    over_selection, deadline_s
        How many times the clients that a round needs are asked, and after how long it goes on without the late.
    trace, trace_options
        Trace of devices by which time is simulated, and its options (``traces``).
    rounds, clients_per_round
        ``clients_per_round`` None takes the corpus's default, or all clients where there are fewer.
    local_epochs, batch_size, lr, optimizer, momentum, weight_decay, gradient_clip, loss, modality_dropout
        Local training, as ``train_config`` says.
    max_steps, keep_optimizer
        Bound on the steps of one client update; whether optimiser state waits on the client for its next round.
    lr_schedule : {"constant", "cosine"}
        How the learning rate that the server sends falls over rounds.
    folds, fold
        Number of folds of cross-validation (0: the official split), and the fold of this run, counted from 1.
    retrain_with_dev : bool
        After choosing the number of rounds on the development set, train anew with it included.
    secagg : bool
        Whether the server gets sums over clients only (``secagg``).
    secagg_threshold, secagg_neighbours : int, optional
        Shares that unmask a client, and clients that each masks with; chosen from the clients of a round if not
        given (``fedaffect.server.federation.secagg.graph``).
    secagg_clip, secagg_max_weight
        Largest change of one parameter, and most examples that one client may count for: a sum has room for these.
    compression : str
        Of updates on their way up: ``"none"``, ``"fp16"``, ``"int8"`` or ``"top-k:0.01"`` (``compression``).
    attack, attackers, attack_options
        Name of an attack, the share of clients that carry it out (0.2 if not given), and its options
        (``attacks``).
    norm_bound : float
        Largest L2 norm of one client's update; a larger one is rejected. 0 for none (``robustness``).
    dp : {"local", "central"}, optional
        Differential privacy: each client adds noise to every step, or the server to the sum (``privacy``).
        Past utterances and normalisation by client are then off unless asked for.
    epsilon, delta, accountant
        The budget over the whole run, and how it is counted.
    clipping, clip_norm
        ``flat``, ``per-layer`` or ``ghost`` for example gradients, ``fixed`` or ``adaptive`` for client updates;
        None takes the first.
    dp_engine, dp_noise, dp_mechanism, dp_sampling
        What sums example gradients; whether noise may be repeated (then it protects nobody); how the centre adds it;
        and who takes part, None for what suits.
    eval_every, select_by, evaluate
        Rounds between evaluations, the development metric that picks the best round, and whether the
        ``"server"`` evaluates or the ``"clients"`` do.
    engine, actors, gpus_per_actor, cohort_size, ray_address
        What runs the clients; None actors is one a core. ``cohort_size`` clients train at once in an actor, None for
        what suits the machine: on a CPU one after the other.
    round_timeout_s : float
        How long a round waits for replies; clients that have not answered by then count as failed.
    keep_checkpoints : {"all", "last"}
        ``"last"`` drops every checkpoint but the newest and the best.
    """

    dataset: str = "synthetic"
    data_dir: Path | None = None
    modalities: tuple[str, ...] = CORPUS_DEFAULT
    labels: str = CORPUS_DEFAULT
    partition: str = CORPUS_DEFAULT
    context: int = CORPUS_DEFAULT
    normalise: str = CORPUS_DEFAULT
    missing_modality: float = 0.0
    label_noise: float = 0.0
    label_noise_matrix: Path | None = None
    bundle: str | None = None
    model: str = "cmt"
    model_options: Mapping[str, Any] = field(default_factory=dict)
    strategy: str = "fedavg"
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "federated"
    rounds: int = CORPUS_DEFAULT
    clients_per_round: int | None = None
    local_epochs: int = CORPUS_DEFAULT
    batch_size: int = CORPUS_DEFAULT
    lr: float = CORPUS_DEFAULT
    lr_schedule: str = CORPUS_DEFAULT
    optimizer: str = CORPUS_DEFAULT
    keep_optimizer: bool = False
    momentum: float = CORPUS_DEFAULT
    weight_decay: float = CORPUS_DEFAULT
    gradient_clip: float = CORPUS_DEFAULT
    loss: str = CORPUS_DEFAULT
    modality_dropout: float = CORPUS_DEFAULT
    max_steps: int | None = None
    seed: int = 0
    folds: int = 0
    fold: int | None = None
    retrain_with_dev: bool = False
    secagg: bool = False
    secagg_threshold: int | None = None
    secagg_neighbours: int | None = None
    secagg_clip: float = 1.0
    secagg_max_weight: int = 2048
    compression: str = "none"
    buffer_size: int = 10
    concurrency: int | None = None
    over_selection: float = 1.0
    deadline_s: float | None = None
    trace: str | None = None
    trace_options: Mapping[str, Any] = field(default_factory=dict)
    attack: str | None = None
    attackers: float | None = None
    attack_options: Mapping[str, Any] = field(default_factory=dict)
    norm_bound: float = 0.0
    dp: str | None = None
    epsilon: float | None = None
    delta: float = 1e-5
    accountant: str = "rdp"
    clipping: str | None = None
    clip_norm: float = 1.0
    dp_engine: str = "fast"
    dp_noise: str = "secure"
    dp_mechanism: str = "gaussian"
    dp_sampling: str | None = None
    eval_every: int = CORPUS_DEFAULT
    select_by: str = CORPUS_DEFAULT
    evaluate: str = "server"
    round_timeout_s: float = 3600.0
    out: Path = Path("runs")
    name: str | None = None
    keep_checkpoints: str = "all"
    engine: str = "ray"
    actors: int | None = None
    gpus_per_actor: float = 0.0
    cohort_size: int | None = None
    ray_address: str | None = None

    def __post_init__(self) -> None:
        defaults = run_defaults(self.dataset, self.strategy, self.mode)
        if self.dp is not None:
            defaults |= {"context": 0, "normalise": "none"}
        for name in FIELDS:
            value = getattr(self, name)
            if value is CORPUS_DEFAULT and name in defaults and name != "clients_per_round":
                value = defaults[name]
            object.__setattr__(self, name, _coerce(name, value))
        self._check_choices()
        self._check_ranges()
        self._check_combinations()
        check_privacy(self)

    def _check_choices(self) -> None:
        _check_choice("mode", self.mode, MODES)
        _check_choice("engine", self.engine, ENGINES)
        _check_choice("select-by", self.select_by, METRICS_TO_SELECT_BY)
        _check_choice("evaluate", self.evaluate, ("server", "clients"))
        _check_choice("normalise", self.normalise, ("none", "client"))
        _check_choice("lr-schedule", self.lr_schedule, ("constant", "cosine"))
        _check_choice("keep-checkpoints", self.keep_checkpoints, ("all", "last"))
        label_set(self.labels)
        if not self.modalities:
            raise ConfigError(f"no modality is left; give --modalities some of {','.join(MODALITIES)}")
        for modality in self.modalities:
            _check_choice("modality", modality, MODALITIES)

    def _check_ranges(self) -> None:
        for name in ("rounds", "local_epochs", "batch_size", "eval_every", "secagg_max_weight"):
            _check_at_least(name, getattr(self, name), 1)
        for name in ("clients_per_round", "max_steps", "actors", "cohort_size"):
            if getattr(self, name) is not None:
                _check_at_least(name, getattr(self, name), 1)
        for name in ("secagg_threshold", "secagg_neighbours"):
            if getattr(self, name) is not None:
                _check_at_least(name, getattr(self, name), 2)
        for name in ("context", "seed", "folds", "momentum", "weight_decay", "gradient_clip", "gpus_per_actor"):
            _check_at_least(name, getattr(self, name), 0)
        _check_at_least("norm_bound", self.norm_bound, 0)
        for name in ("missing_modality", "label_noise", "modality_dropout"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"{_flag(name)} is a rate between 0 and 1, not {value}")
        if not self.round_timeout_s > 0:
            raise ConfigError(
                f"--round-timeout-s must be above 0, not {self.round_timeout_s}; leave it out for an hour"
            )
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"--lr must be above 0, not {self.lr}; try 0.001")

    def _check_combinations(self) -> None:
        if self.folds == 1:
            raise ConfigError("--folds 1 leaves nothing to train on; use 2 or more, or 0 for the official split")
        if self.fold is not None and not self.folds:
            raise ConfigError("--fold needs to know how many folds there are; add --folds, such as --folds 5")
        if self.fold is not None and not 1 <= self.fold <= self.folds:
            raise ConfigError(f"--fold {self.fold} does not exist; --folds {self.folds} has folds 1 to {self.folds}")
        if self.secagg and (self.mode != "federated" or self.evaluate == "clients"):
            what = f"--{self.mode}" if self.mode != "federated" else "--evaluate clients"
            raise ConfigError(f"--secagg hides single clients from the server, and {what} shows them; leave one out")
        self._check_time()
        if self.attackers is not None and not 0 <= self.attackers < 1:
            raise ConfigError(f"--attackers is a share of clients from 0 to below 1, not {self.attackers}; try 0.2")
        if self.attack is None and (self.attackers is not None or self.attack_options):
            raise ConfigError("--attackers and --attack-option say how to attack; add --attack, such as sign-flip")
        if self.attack is not None and self.mode in ("centralized", "local-only"):
            raise ConfigError(f"--attack is on a federation, and --{self.mode} is none; leave one out")
        if self.secagg and self.norm_bound:
            raise ConfigError(
                "--norm-bound measures single updates, and --secagg hides them from the server; leave one out "
                "(--secagg-clip bounds what honest clients send)"
            )
        require_sound(self.compression, dp=self.dp, secagg=self.secagg, algorithm="")
        if self.engine == "flower" and self.gpus_per_actor:
            raise ConfigError("--gpus-per-actor needs --engine ray: with --engine flower clients compute on the CPU")
        if self.engine == "flower" and (self.cohort_size or 1) > 1:
            raise ConfigError("--cohort-size needs --engine ray: with --engine flower clients train one by one")
        if self.name is not None and (not self.name or Path(self.name).name != self.name):
            raise ConfigError(f"--name {self.name!r} is not a folder name; choose the place with --out")

    def _check_time(self) -> None:
        """What concerns late clients and time."""
        _check_at_least("buffer_size", self.buffer_size, 1)
        if self.concurrency is not None:
            _check_at_least("concurrency", self.concurrency, 1)
        if not 1 <= self.over_selection <= 10:
            raise ConfigError(f"--over-selection is from 1 to 10, not {self.over_selection}; 1.3 is usual")
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise ConfigError(f"--deadline-s must be above 0, not {self.deadline_s}; leave it out for none")
        late = self.over_selection > 1 or self.deadline_s is not None
        if self.mode in ("centralized", "local-only") and (late or self.trace is not None):
            raise ConfigError(f"--{self.mode} waits for nobody; leave --over-selection, --deadline-s and --trace out")
        if self.mode == ASYNC and (self.over_selection > 1 or self.dp is not None or self.secagg):
            other = "--over-selection" if self.over_selection > 1 else "--dp" if self.dp is not None else "--secagg"
            raise ConfigError(f"{other} needs rounds, and --mode async has none; leave one out")
        if self.mode != ASYNC and self.concurrency is not None:
            raise ConfigError("--concurrency is of --mode async; rounds have --clients-per-round")
        if self.secagg and (late or self.trace is not None):
            raise ConfigError("--secagg recovers those who are late itself; leave out what plans rounds without them")
        if self.dp is not None and (late or self.trace is not None):
            raise ConfigError(
                "--dp is accounted for clients that are sampled, and --over-selection, --deadline-s and --trace let "
                "their speed decide who counts; leave one out"
            )

    @property
    def run_name(self) -> str:
        """Name of the run's folder: ``name``, or one made from the settings that tell runs apart."""
        if self.name is not None:
            return self.name
        middle = self.strategy if self.mode == "federated" else self.mode
        fold = f"-fold{self.fold}" if self.fold is not None else ""
        attack = f"-{self.attack}" if self.attack is not None else ""
        return f"{self.dataset}-{middle}{attack}{fold}-seed{self.seed}"

    def clients_a_round(self, known: int) -> int:
        """How many clients take part in a round.

        Parameters
        ----------
        known : int
            Clients of the federation.

        Raises
        ------
        ConfigError
            If more were asked for than there are.
        """
        if self.mode == "centralized":
            return 1
        if self.clients_per_round is None:
            return min(self._wanted_clients, known)
        if self.clients_per_round > known:
            raise ConfigError(
                f"--clients-per-round {self.clients_per_round} is more than the {known} clients that "
                f"{self.partition} gives; use --clients-per-round {known} or fewer"
            )
        return self.clients_per_round

    @property
    def _wanted_clients(self) -> int:
        """Clients a round as given, or else what suits the corpus."""
        if self.clients_per_round is not None:
            return self.clients_per_round
        return int(run_defaults(self.dataset, self.strategy)["clients_per_round"])

    def lr_at(self, round_number: int) -> float:
        """Learning rate of a round, counted from 1."""
        if self.lr_schedule == "constant":
            return self.lr
        return 0.5 * self.lr * (1 + math.cos(math.pi * (round_number - 1) / self.rounds))

    def training(self, **changes: Any) -> TrainConfig:
        """Settings of one client's local training.

        Parameters
        ----------
        **changes
            Settings of `TrainConfig` that are not a run's own, such as the strategy's local algorithm.
        """
        own: dict[str, Any] = {
            "local_epochs": self.local_epochs,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "optimizer": self.optimizer,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "loss": self.loss,
            "modality_dropout": self.modality_dropout,
            "gradient_clip": self.gradient_clip,
            "keep_optimizer": self.keep_optimizer,
            "max_steps": self.max_steps or 0,
        }
        return TrainConfig(**(own | changes))

    def differences(self, other: RunConfig) -> list[str]:
        """What stands in the way of one of these runs going on as the other.

        Settings of place and speed may differ, and so may ``rounds`` where no schedule depends on it. The corpus's
        number of clients a round is the same number whether or not it was spelled out.

        Returns
        -------
        list of str
            One ``--flag: mine, theirs`` each; empty where they agree.
        """
        free = _WITHOUT_EFFECT | ({"rounds"} if self.lr_schedule == "constant" else set())
        if self._wanted_clients == other._wanted_clients:
            free |= {"clients_per_round"}
        return [
            f"{_flag(name)}: {_shown(getattr(self, name))}, {_shown(getattr(other, name))}"
            for name in FIELDS
            if name not in free and getattr(self, name) != getattr(other, name)
        ]

    def to_dict(self) -> dict[str, Any]:
        """All settings by kebab-case name, as JSON values; those that are None are left out."""
        plain = {name.replace("_", "-"): getattr(self, name) for name in FIELDS}
        return {name: _plain(value) for name, value in plain.items() if value is not None}

    def to_toml(self) -> str:
        """All settings as TOML, which ``from_toml`` reads back equal."""
        settings = self.to_dict()
        lines = [f"{k} = {_toml(v)}" for k, v in settings.items() if not isinstance(v, dict)]
        for table in (k for k, v in settings.items() if isinstance(v, dict) and v):
            lines += ["", f"[{table}]"] + [f"{_toml_key(k)} = {_toml(v)}" for k, v in settings[table].items()]
        return "\n".join(lines) + "\n"

    def to_flwr(self) -> dict[str, str | int | float | bool]:
        """All settings as a Flower run config: one flat level, options as ``strategy-options.<name>``."""
        flat: dict[str, str | int | float | bool] = {}
        for key, value in self.to_dict().items():
            if isinstance(value, dict):
                flat.update(
                    {f"{key}.{k}": v if isinstance(v, str | int | float) else json.dumps(v) for k, v in value.items()}
                )
            else:
                flat[key] = ",".join(value) if isinstance(value, list) else value
        return flat

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> RunConfig:
        """A config from names in kebab-case or snake_case.

        Raises
        ------
        ConfigError
            For a name that is no setting, listing those that are, or a value that does not fit.
        """
        given = {str(key).replace("-", "_"): value for key, value in settings.items()}
        for name in given:
            if name not in FIELDS:
                raise unknown_name("setting", name.replace("_", "-"), (f.replace("_", "-") for f in FIELDS))
        return cls(**given)

    @classmethod
    def from_toml(cls, path: Path) -> RunConfig:
        """A config from a file of the same keys as the flags.

        Raises
        ------
        ConfigError
            If the file cannot be read, is not TOML, or holds something else.
        """
        return cls.from_dict(read_toml(path))

    @classmethod
    def from_flwr(cls, run_config: Mapping[str, Any]) -> RunConfig:
        """A config from what ``flwr run`` hands over; empty strings stand for settings left out."""
        settings: dict[str, Any] = {}
        for key, value in run_config.items():
            if value == "":
                continue
            table, dot, option = key.partition(".")
            if dot:
                settings.setdefault(table, {})[option] = value
            else:
                settings[key] = value
        return cls.from_dict(settings)


FIELDS: tuple[str, ...] = tuple(f.name for f in fields(RunConfig))


def read_toml(path: Path) -> dict[str, Any]:
    """Settings from a TOML file, unchecked, for merging with flags.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{at(path)} cannot be read ({error.strerror}); check --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{at(path)} is not TOML: {error}") from error


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown(value: Any) -> str:
    return "unset" if value is None else str(_plain(value))


def _check_choice(kind: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise unknown_name(kind, value, known)


def _check_at_least(name: str, value: float, least: int) -> None:
    if not value >= least:
        raise ConfigError(f"{_flag(name)} must be {least} or more, not {value}")


def _coerce(name: str, value: Any) -> Any:
    """The value in its field's type, from what TOML, a flag or Flower may hold instead."""
    if value is None:
        return None
    if name == "modalities":
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))
    if name in _OPTIONS:
        return _read_options(name, value)
    if name in _PATHS:
        return Path(value).expanduser()
    wanted = str(RunConfig.__annotations__[name]).removesuffix(" | None")
    if wanted == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted == "str" and isinstance(value, Path):
        return str(value)
    if type(value).__name__ != wanted:
        kind = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}[wanted]
        raise ConfigError(f"{_flag(name)} takes {kind}, not {value!r}")
    return value


def _read_options(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{_flag(name)} is not JSON: {error}") from error
    if not isinstance(value, Mapping):
        raise ConfigError(f"{_flag(name)} takes a table of options, not {value!r}")
    # A model's options become keyword arguments; a strategy's stay as they are written everywhere else.
    old, new = ("-", "_") if name == "model_options" else ("_", "-")
    return {str(key).replace(old, new): option for key, option in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(option) for key, option in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _toml_key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else json.dumps(key)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return json.dumps(value, ensure_ascii=False)
