"""Settings of one client's local training, as they travel in a round's message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fedaffect.client.algorithms.registry import algorithm
from fedaffect.client.loss_names import RATING_LOSS_NAMES, checked_loss
from fedaffect.client.privacy.bounds import require_bounded_training
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.edge.errors import ConfigError, unknown_name

OPTIMIZERS = ("sgd", "adamw")
_NESTED = ("options", "privacy")
# What a strategy sends for its local algorithm: keys of our own strategies, and of others any with this beginning.
_OWN_OPTIONS, OPTION = ("proximal-mu", "fedrs-alpha"), "option."


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Local training.

    Parameters
    ----------
    local_epochs : int
        Passes over the client's examples.
    batch_size : int
        Examples a step.
    lr : float
        Learning rate.
    optimizer : str
        ``sgd`` or ``adamw``.
    momentum, weight_decay : float
        Momentum is sgd's.
    loss : str
        A name of :data:`fedaffect.client.losses.LOSSES`.
    rating_loss : str
        A name of :data:`fedaffect.client.losses.RATING_LOSSES`; with local privacy, squared errors in any case.
    algorithm : str
        A name of :data:`fedaffect.client.algorithms.registry.ALGORITHMS`.
    modality_dropout : float
        Probability that a sample loses a modality for one step; it never loses all.
    gradient_clip : float
        Largest norm of a step's gradient; 0 for no bound.
    keep_optimizer : bool
        Whether the optimiser's state waits on the client for its next round.
    max_steps : int
        Most steps a round; 0 for no bound.
    options : mapping of str to float
        The algorithm's own settings, such as ``proximal-mu``.
    privacy : PrivacyConfig, optional
        Differential privacy; None for none.
    """

    local_epochs: int = 1
    batch_size: int = 16
    lr: float = 0.05
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    loss: str = "cross-entropy"
    rating_loss: str = "ccc"
    algorithm: str = "fedavg"
    modality_dropout: float = 0.0
    gradient_clip: float = 0.0
    keep_optimizer: bool = False
    max_steps: int = 0
    options: Mapping[str, float] = field(default_factory=dict)
    privacy: PrivacyConfig | None = None

    def __post_init__(self) -> None:
        if self.local_epochs < 1 or self.batch_size < 1 or self.max_steps < 0:
            raise ConfigError("local epochs and batch size are at least 1, max steps at least 0")
        if not self.lr > 0:
            raise ConfigError(f"a learning rate of {self.lr} does not learn; give --lr a number above 0")
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)
        if not 0 <= self.modality_dropout < 1:
            raise ConfigError("modality dropout is a probability in [0, 1)")
        checked_loss(self.loss)
        if self.rating_loss not in RATING_LOSS_NAMES:
            raise unknown_name("rating loss", self.rating_loss, RATING_LOSS_NAMES)
        algorithm(self.algorithm)
        if self.algorithm == "scaffold" and (self.optimizer != "sgd" or self.momentum or self.weight_decay):
            raise ConfigError("scaffold corrects plain SGD steps; use --optimizer sgd without momentum or weight decay")
        if self.privacy is not None:
            require_bounded_training(self.privacy.kind, self.loss, self.algorithm, self.keep_optimizer)

    def to_record(self) -> dict[str, int | float | str | bool]:
        """Flat kebab-case settings for a Flower ConfigRecord."""
        flat = {f.name.replace("_", "-"): getattr(self, f.name) for f in fields(self) if f.name not in _NESTED}
        return {**flat, **self.options, **(self.privacy.to_record() if self.privacy else {})}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainConfig:
        """Read settings back; keys of others are left alone."""
        known = {f.name.replace("_", "-"): f.name for f in fields(cls) if f.name not in _NESTED}
        given = {known[key]: value for key, value in record.items() if key in known}
        options = {key: float(record[key]) for key in record if key in _OWN_OPTIONS or key.startswith(OPTION)}
        return cls(**given, options=options, privacy=PrivacyConfig.from_record(record))
