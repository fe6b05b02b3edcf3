"""The workload on which simulation engines are compared, on constructed data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.constructed_cohort import constructed_cohort

if TYPE_CHECKING:
    from fedaffect.server.federation.settings import RunSettings

# Tokens of each stream, by tokens of a sample: one a modality, and as many as words, frames and windows give.
TOKENS = {3: {"text": 1, "audio": 1, "video": 1}, 50: {"text": 17, "audio": 17, "video": 16}}


@dataclass(frozen=True)
class Workload:
    """FedAvg on the cross-modal transformer of 1.1 M parameters, two SGD steps a client.

    Parameters
    ----------
    tokens : int
        Tokens of a sample, all modalities together: 3 or 50.
    clients, examples, clients_a_round : int
        Registered clients, training examples of each, clients of a round.
    batch_size : int
    lr : float
    model_options : mapping
    """

    tokens: int = 3
    clients: int = 500
    examples: int = 32
    clients_a_round: int = 100
    batch_size: int = 16
    lr: float = 0.05
    width: int = 256
    classes: int = 4
    model_options: Mapping[str, Any] = field(default_factory=lambda: {"width": 256, "feedforward": 720})

    def write_cohort(self, folder: Path, rows: int | None = None) -> Path:
        """Constructed data for it."""
        return constructed_cohort(
            folder,
            clients=self.clients,
            examples=self.examples,
            tokens=TOKENS[self.tokens],
            width=self.width,
            classes=self.classes,
            rows=rows,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def run_config(self, rounds: int, cores: int, out: Path, engine: str = "ray") -> RunSettings:
        """Settings of a federation on this workload, evaluated on development data only at its end."""
        # pfl-research's environment, which also reads this file, has no server.
        from fedaffect.server.federation.settings import RunSettings

        return RunSettings.of(
            dataset="synthetic",
            model_options=self.model_options,
            rounds=rounds,
            clients_per_round=self.clients_a_round,
            local_epochs=1,
            batch_size=self.batch_size,
            lr=self.lr,
            optimizer="sgd",
            weight_decay=0.0,
            loss="cross-entropy",
            modality_dropout=0.0,
            eval_every=rounds,
            keep_checkpoints="last",
            engine=engine,
            actors=cores,
            out=out,
        )
