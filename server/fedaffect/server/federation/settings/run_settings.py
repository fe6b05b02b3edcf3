"""Everything that decides a run, in one frozen object of sections, built from flat names and checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from fedaffect.client.corpora.folder import Folder
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.server.federation.settings.combinations import check_combinations
from fedaffect.server.federation.settings.corpus_defaults import run_defaults
from fedaffect.server.federation.settings.data import Data
from fedaffect.server.federation.settings.evaluation import Evaluation
from fedaffect.server.federation.settings.federation import POOLED, Federation, Model
from fedaffect.server.federation.settings.fields import Section, parts
from fedaffect.server.federation.settings.fine_tuning import FINE_TUNED, OWN_HEAD, FineTuning
from fedaffect.server.federation.settings.naming import differences, run_name
from fedaffect.server.federation.settings.place import Engine, Output, Time
from fedaffect.server.federation.settings.protection import Privacy, Robustness, SecureAggregation
from fedaffect.server.federation.settings.refusals import flag_of, refusal, shown
from fedaffect.server.federation.settings.retention import Retention
from fedaffect.server.federation.settings.training import Training

# Where and how fast a run happens, which must not change what it learns.
_WITHOUT_EFFECT = frozenset(
    {"data_dir", "out", "name", "engine", "actors", "gpus_per_actor", "ray_address", "keep_checkpoints"}
    | {"round_timeout_s", "max_failed_share", "guard", "guard_loss"}
)


class RunSettings(Section):
    """Settings of one run: a section each for what they concern.

    ``RunSettings.of(dataset="meld", rounds=10, lr=0.1)`` builds one from flat names, which are the flags of
    ``fedaffect simulate``; what is left out takes what suits the corpus.
    """

    data: Data
    model: Model
    federation: Federation
    training: Training
    evaluation: Evaluation
    fine_tuning: FineTuning
    retention: Retention
    privacy: Privacy
    secagg: SecureAggregation
    robustness: Robustness
    time: Time
    engine: Engine
    output: Output

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None = None, /, **more: Any) -> RunSettings:
        """Settings from flat names in kebab-case or snake_case; None stands for a setting left out.

        Parameters
        ----------
        settings : mapping, optional
            By name.
        **more
            The same, by keyword; these win.

        Raises
        ------
        ConfigError
            For a name that is no setting, a value that does not fit, or settings that contradict one another.
        """
        given = {snake_case(name): value for name, value in {**(settings or {}), **more}.items() if value is not None}
        sections: dict[str, dict[str, Any]] = {section: {} for section in cls.model_fields}
        for name, value in {**_defaults(given), **given}.items():
            sections[section_of(name)][name] = value
        try:
            config = cls(**sections)  # type: ignore[arg-type]
        except ValidationError as error:
            raise refusal(error, fields_by_name()) from error
        check_combinations(config)
        return config

    def changed(self, **changes: Any) -> RunSettings:
        """These settings with some of them changed, by flat name in snake_case."""
        return RunSettings.of({**self.flat(), **changes})

    def flat(self) -> dict[str, Any]:
        """All settings by flat name in snake_case."""
        return {name: self[name] for name in sections_by_name()}

    def __getitem__(self, name: str) -> Any:
        """A setting by its flat name in snake_case."""
        return getattr(getattr(self, section_of(name)), name)

    @property
    def run_name(self) -> str:
        """Name of the run's folder: ``name``, or one made from what differs from the corpus's defaults."""
        if self.output.name is not None:
            return self.output.name
        return run_name(*self._named_by())

    @property
    def chosen(self) -> list[str]:
        """What the run differs in from the corpus's defaults, as its name would say it."""
        return differences(*self._named_by())

    def _named_by(self) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """Settings that have an effect, and their defaults."""
        settings = {name: value for name, value in self.flat().items() if name not in _WITHOUT_EFFECT}
        return settings, default_settings(settings)

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
        wanted = self.federation.clients_per_round
        if self.federation.mode in POOLED:
            return 1
        if wanted is None:
            return min(self._wanted_clients, known)
        if wanted > known:
            raise ConfigError(
                f"--clients-per-round {wanted} is more than the {known} clients that {self.data.partition} gives; "
                f"use --clients-per-round {known} or fewer"
            )
        return wanted

    @property
    def _wanted_clients(self) -> int:
        """Clients a round as given, or else what suits the corpus."""
        if self.federation.clients_per_round is not None:
            return self.federation.clients_per_round
        return int(run_defaults(self.data.dataset, self.federation.strategy)["clients_per_round"])

    def lr_at(self, round_number: int) -> float:
        """Learning rate of a round, counted from 1."""
        lr = self.training.lr
        done = (round_number - 1) / self.federation.rounds
        if self.training.lr_schedule == "cosine":
            return 0.5 * lr * (1 + math.cos(math.pi * done))
        return lr if self.training.lr_schedule == "constant" else lr * (1 - done)

    def differences(self, other: RunSettings) -> list[str]:
        """What stands in the way of one of these runs going on as the other.

        Settings of place and speed may differ, and so may ``rounds`` where no schedule depends on it. The corpus's
        number of clients a round is the same number whether or not it was spelled out.

        Returns
        -------
        list of str
            One ``--flag: mine, theirs`` each; empty where they agree.
        """
        free = _WITHOUT_EFFECT | ({"rounds"} if self.training.lr_schedule == "constant" else set())
        if self._wanted_clients == other._wanted_clients:
            free |= {"clients_per_round"}
        return [
            f"{flag_of(name)}: {shown(self[name])}, {shown(other[name])}"
            for name in sections_by_name()
            if name not in free and self[name] != other[name]
        ]

    def to_dict(self) -> dict[str, Any]:
        """All settings by flat name in kebab-case, as JSON values; those that are None are left out."""
        plain = {name.replace("_", "-"): value for name, value in self.flat().items()}
        return {name: _plain(value) for name, value in plain.items() if value is not None}


def default_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """What every setting would be had nobody given it, beside those on which the defaults of others depend.

    Parameters
    ----------
    given : mapping
        Settings by flat name in snake_case.
    """
    own = {name: field.get_default(call_default_factory=True) for name, field in fields_by_name().items()}
    return own | _defaults({name: value for name, value in given.items() if value is not None})


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """What suits the corpus, for settings that must have a value."""
    taken = {name: str(given.get(name, default)) for name, default in _DECIDING.items()}
    defaults = run_defaults(taken["dataset"], taken["strategy"], taken["mode"])
    del defaults["clients_per_round"]
    if taken["dataset"] == Folder.info.name and given.get("data_dir") and "modalities" not in given:
        # Which somebody's own clips have, only they tell.
        defaults |= {"modalities": Folder(Path(str(given["data_dir"])).expanduser()).info.modalities}
    if given.get("partition") == "fedmultimodal":
        defaults |= {"labels": "meld4"}
    if "dp" in given:
        defaults |= {"context": 0, "normalise": "none"}
    if taken["mode"] == FINE_TUNED and len(parts(given.get("modalities", defaults["modalities"]))) == 1:
        defaults |= {"model": OWN_HEAD}
    return defaults


# Settings on which the defaults of others depend.
_DECIDING: Mapping[str, str] = {"dataset": "synthetic", "strategy": "fedavg", "mode": "federated"}


@cache
def fields_by_name() -> dict[str, FieldInfo]:
    """How each setting is declared, by flat name in snake_case."""
    return {name: field for section in _sections().values() for name, field in section.model_fields.items()}


@cache
def sections_by_name() -> dict[str, str]:
    """Each setting's section, by flat name in snake_case."""
    return {name: key for key, section in _sections().items() for name in section.model_fields}


def _sections() -> dict[str, type[Section]]:
    return {key: field.annotation for key, field in RunSettings.model_fields.items()}  # type: ignore[misc]


def section_of(name: str) -> str:
    """The section of a setting.

    Parameters
    ----------
    name : str
        In snake_case.

    Raises
    ------
    ConfigError
        If no setting has that name, with the nearest that does.
    """
    by_name = sections_by_name()
    if name not in by_name:
        raise unknown_name("setting", name.replace("_", "-"), (known.replace("_", "-") for known in by_name))
    return by_name[name]


def snake_case(name: str) -> str:
    """A setting's name as code writes it."""
    return str(name).replace("-", "_")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(option) for key, option in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
