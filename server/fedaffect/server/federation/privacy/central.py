"""Client-level privacy: a noisy sum of clipped updates over a fixed denominator (McMahan et al. 2018, algorithm 1).

Clients clip, every one weighs the same, and the sum is divided by the number expected, not by the number that came:
one client then changes what is released by at most S / K. The server sees the sum before it adds the noise, alone or,
under secure aggregation, not a single update: this protects clients from those who see models, not from the server.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from flwr.app import Message, MessageType, MetricRecord, RecordDict
from torch import Tensor

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.privacy.accounting import ACCOUNTANTS
from fedaffect.client.privacy.noise import NoiseSource, SecureNoise, SeededNoise, add_noise, grid
from fedaffect.client.privacy.settings import CENTRAL, SEEDED, PrivacyConfig
from fedaffect.client.wire import ARRAYS, METRICS, NUM_EXAMPLES, from_record, to_record
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.privacy.central_accountant import CentralAccountant
from fedaffect.server.federation.privacy.checks import ADAPTIVE, FTRL
from fedaffect.server.federation.privacy.mechanism import described, finite
from fedaffect.server.federation.privacy.tree import TreeNoise, noise_key
from fedaffect.server.federation.selection import choose_in_turn, choose_poisson
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.strategies.scaffold import NUM_CLIENTS

# Andrew et al. 2021, section 3: half of all updates within the bound, steps of 0.2 in its logarithm, and noise of a
# twentieth of a round's clients on the count.
_QUANTILE, _STEP, _COUNT_SHARE = 0.5, 0.2, 20
_KEY_FILE = "noise.key"
# What seeded randomness is drawn for.
_SAMPLE, _UPDATE, _COUNT = range(3)


class CentralPrivacy:
    """The mechanism of a run: it draws the round's clients, adds the noise and moves the bound.

    Parameters
    ----------
    config : RunSettings
    layout : ArrayLayout
    clients, clients_a_round : int
        N and K; under Poisson sampling K is what a round expects.
    folder : Path
        The run's; tree aggregation keeps its key there until the run is over.
    chosen_by_server : bool
        As in :class:`~fedaffect.server.federation.privacy.central_accountant.CentralAccountant`.
    """

    uniform = True
    hides_figures = True

    def __init__(
        self,
        config: RunSettings,
        layout: ArrayLayout,
        clients: int,
        clients_a_round: int,
        folder: Path,
        chosen_by_server: bool = True,
    ) -> None:
        self.config = config
        self.clip_norm = config.privacy.clip_norm
        self.accountant = CentralAccountant(config, clients, clients_a_round, chosen_by_server)
        self.noise_multiplier = self.accountant.noise_multiplier
        self._layout = layout
        self._clients, self._expected = clients, clients_a_round
        self._key_path = folder / _KEY_FILE
        self._secure = SecureNoise()

    def _source(self, number: int, use: int) -> NoiseSource:
        """The system's generator; in tests one by round and use, so that a resumed run repeats an unbroken one."""
        if self.config.privacy.dp_noise != SEEDED:
            return self._secure
        seed = np.random.SeedSequence([self.config.federation.seed, number, use]).generate_state(1, np.uint32)[0]
        return SeededNoise(int(seed))

    @property
    def sampling(self) -> Callable[[int], tuple[int, ...]]:
        """Each client by itself with probability K / N, which may be nobody; or all in turn."""
        return self._sample

    def _sample(self, number: int) -> tuple[int, ...]:
        if self.accountant.poisson:
            # From the system's generator: those who could repeat the draws would know who took part, and sampling would
            # amplify nothing.
            return choose_poisson(self._source(number, _SAMPLE).uniforms(self._clients), self.accountant.rate)
        return choose_in_turn(self._clients, self._expected, self.config.federation.seed, number)

    def client_settings(self) -> PrivacyConfig:
        """The bound of this round."""
        return PrivacyConfig(kind=CENTRAL, clip_norm=self.clip_norm, noise=self.config.privacy.dp_noise)

    def update_norm(self) -> float:
        """The norm that the noise is made for."""
        return self.clip_norm

    def aggregate(self, number: int, received: RoundReplies, current: Tensor) -> list[Message]:
        """The round's one reply for the strategy: current + (sum of clipped updates + noise) / K.

        Parameters
        ----------
        number : int
        received : RoundReplies
            Uniformly weighted; nobody at all is a round too, of noise alone.
        current : Tensor of float32, shape (P,)
        """
        total = torch.zeros_like(current)
        if received.clients:
            message = received.for_strategy(current)[0]
            # Weights are all one, so the mean is the sum over as many as came.
            total = (from_record(self._layout, message.content.array_records[ARRAYS]) - current) * received.clients
        else:
            message = Message(RecordDict(), 1, MessageType.TRAIN)
        within = self._within(received)
        self.add_noise(number, total)
        metrics: Mapping[str, Any] = {NUM_EXAMPLES: self._expected, NUM_CLIENTS: self._expected, "train_loss": 0.0}
        noisy = current + total / self._expected
        message.content = RecordDict({ARRAYS: to_record(self._layout, noisy), METRICS: MetricRecord(dict(metrics))})
        if self.config.privacy.clipping == ADAPTIVE:
            self._adapt(number, within)
        return [message]

    def add_noise(self, number: int, total: Tensor) -> None:
        """Noise for a round's sum of clipped updates, in place, shape (P,)."""
        z = self.noise_multiplier
        if z == 0:
            return
        if self.config.privacy.dp_mechanism == FTRL:
            g = grid(z, self.clip_norm, total.numel())
            seed = self.config.federation.seed if self.config.privacy.dp_noise == SEEDED else None
            increment = TreeNoise(noise_key(self._key_path), seed).increment(number, total.numel(), g)
            total.mul_(1.0 / g.unit).round_().add_(increment).mul_(g.unit)
            return
        if self.config.privacy.clipping == ADAPTIVE:
            # The count's noise takes its share of the budget: z^-2 = z_update^-2 + (2 sigma_count)^-2.
            z = (z**-2 - (2 * self._count_deviation) ** -2) ** -0.5
        add_noise(total, z, self.clip_norm, self._source(number, _UPDATE))

    @property
    def _count_deviation(self) -> float:
        # More where the budget is so small that this share of it would not leave anything for the update.
        return max(self._expected / _COUNT_SHARE, self.noise_multiplier)

    def _within(self, received: RoundReplies) -> float:
        """How many updates were within the bound, each counted from one half."""
        return received.within_clip - received.clients / 2

    def _adapt(self, number: int, within: float) -> None:
        """S <- S exp(-step (noisy share within - quantile)), equation of Andrew et al. 2021, section 2.1."""
        noise = torch.zeros(1)
        if self.noise_multiplier:
            self._source(number, _COUNT).gaussians(noise, self._count_deviation)
        share = (within + float(noise)) / self._expected + 0.5
        self.clip_norm *= math.exp(-_STEP * (min(1.0, max(0.0, share)) - _QUANTILE))

    def round_metrics(self, rounds: int) -> Mapping[str, float | None]:
        """What a round's line of metrics says; the bound in it is where a resumed run goes on."""
        return {
            "epsilon": finite(self.accountant.epsilon(rounds, "rdp")),
            "delta": self.config.privacy.delta,
            "noise_multiplier": self.noise_multiplier,
            "clip_norm": self.clip_norm,
        }

    def restore(self, metrics: Mapping[str, Any] | None) -> None:
        """Go on after a round whose line had these."""
        if metrics and metrics.get("clip_norm"):
            self.clip_norm = float(metrics["clip_norm"])

    def finish(self) -> None:
        """Forget what could take the noise off again."""
        self._key_path.unlink(missing_ok=True)

    def summary(self, rounds: int) -> dict[str, Any]:
        """The ``privacy`` part of ``summary.json``."""
        c, accountant = self.config, self.accountant
        said = described(c, "client", accountant.epsilon(rounds, c.privacy.accountant))
        about = {
            **said,
            "clipping": {**cast("dict[str, Any]", said["clipping"]), "norm_at_end": self.clip_norm},
            "epsilon_by": {name: finite(accountant.epsilon(rounds, name)) for name in ACCOUNTANTS},
            "noise_multiplier": self.noise_multiplier,
            "mechanism": c.privacy.dp_mechanism,
            "sampling": f"Poisson, rate {accountant.rate:.4g}" if accountant.poisson else "none that amplifies",
            "expected_clients": self._expected,
            "noise_added_by": "the server, after secure aggregation" if c.secagg.secagg else "the server",
            "protects_from": "those who see the model, not the server",
        }
        return {"privacy": about}
