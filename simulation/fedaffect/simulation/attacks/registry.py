"""Attacks by name, and who carries them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.attacks.backdoor import plant_backdoor
from fedaffect.simulation.attacks.labels import flip_all_labels
from fedaffect.simulation.attacks.updates import boost, flip_sign

Options: TypeAlias = Mapping[str, float]

# Sets this draw apart from others that a run derives from the same seed.
_STREAM = 0xBAD
_DEFAULT_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack: on the data that its clients learn from, on the updates that they send, or on both.

    Parameters
    ----------
    poison : callable, optional
        ``(cohort, malicious clients, options, seed) -> cohort``, of other examples for these clients.
    tamper : callable, optional
        ``(start, trained, options) -> sent``, vectors (P,): parameters as they came, as this client trained them, and
        as it sends them.
    options : mapping of str to float
        Its options, kebab-case, with their defaults.
    """

    poison: Callable[[Cohort, tuple[int, ...], Options, int], Cohort] | None = None
    tamper: Callable[[Tensor, Tensor, Options], Tensor] | None = None
    options: Options = field(default_factory=dict)


_ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        "sign-flip": Attack(tamper=flip_sign, options={"factor": 4.0}),
        "scale": Attack(tamper=boost, options={"factor": 20.0}),
        "label-flip": Attack(poison=flip_all_labels),
        "backdoor": Attack(
            poison=plant_backdoor, tamper=boost, options={"target": 0.0, "share": 0.5, "strength": 4.0, "factor": 1.0}
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Campaign:
    """An attack as one run has it.

    Parameters
    ----------
    name : str
    attack : Attack
    options : mapping of str to float
        Complete.
    share : float
        Of all clients, how many are malicious, in [0, 1).
    seed : int
    """

    name: str
    attack: Attack
    options: Options
    share: float
    seed: int

    @classmethod
    def of(cls, config: RunSettings) -> Campaign | None:
        """The attack that a run's settings ask for; None where they do not.

        Raises
        ------
        ConfigError
            On an unknown attack or option, or where updates are hidden that the attack would change.
        """
        name, wanted = config.robustness.attack, config.robustness
        if name is None:
            return None
        if name not in _ATTACKS:
            raise unknown_name("attack", name, _ATTACKS)
        attack = _ATTACKS[name]
        options = _complete(attack, wanted.attack_options)
        tampers = attack.tamper is not None and options["factor"] != 1
        if tampers and config.secagg.secagg:
            raise ConfigError(
                f"--attack {name} changes updates on their way, and with --secagg they leave their client "
                f"masked; use --attack label-flip, or leave --secagg out"
            )
        if tampers and config.federation.compression != "none":
            raise ConfigError(
                f"--attack {name} changes updates on their way, and with --compression they are encoded by "
                f"then; leave one out"
            )
        share = _DEFAULT_SHARE if wanted.attackers is None else wanted.attackers
        return cls(name, attack, options, share, config.federation.seed)

    def malicious(self, clients: int) -> tuple[int, ...]:
        """Partition ids of the malicious among so many clients, ascending; by nothing but the seed."""
        count = round(self.share * clients)
        drawn = np.random.default_rng([_STREAM, self.seed]).choice(clients, size=count, replace=False)
        return tuple(sorted(int(client) for client in drawn))

    def describe(self, cohort: Cohort) -> dict[str, Any]:
        """What a summary says about it."""
        malicious = self.malicious(cohort.num_clients)
        return {
            "name": self.name,
            "attackers": self.share,
            "options": dict(self.options),
            "clients": list(malicious),
            "client_names": [cohort.client_names[client] for client in malicious],
        }


def _complete(attack: Attack, given: Mapping[str, Any]) -> dict[str, float]:
    options = dict(attack.options)
    for name, value in given.items():
        if name not in options:
            raise unknown_name("attack option", name, options)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ConfigError(f"attack option {name} takes a number of 0 or more, not {value!r}")
        options[name] = float(value)
    if not options.get("share", 0.0) <= 1:
        raise ConfigError(f"attack option share is a rate between 0 and 1, not {options['share']}")
    return options
