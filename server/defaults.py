"""What each corpus is run with unless told otherwise: the settings that suit its size and layout."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# Holds for every corpus; a corpus's own line below overrides it.
GENERAL: Mapping[str, Any] = MappingProxyType(
    {
        "partition": "natural",
        "rounds": 30,
        "clients_per_round": 10,
        "local_epochs": 1,
        "batch_size": 16,
        "lr": 1e-3,
        "optimizer": "adamw",
        "momentum": 0.0,
        "weight_decay": 0.01,
        "gradient_clip": 0.0,
        "loss": "cross-entropy",
        "modality_dropout": 0.1,
        "context": 0,
        "normalise": "none",
    }
)

CORPUS_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "synthetic": {
            "modalities": ("text", "audio", "video"),
            "labels": "synthetic4",
            "rounds": 20,
            "clients_per_round": 8,
        },
        "meld": {"modalities": ("text",), "labels": "meld7", "rounds": 40, "clients_per_round": 20},
        "emorynlp": {"modalities": ("text",), "labels": "emorynlp7", "rounds": 40, "clients_per_round": 20},
        "iemocap": {"modalities": ("text", "audio"), "labels": "iemocap4", "clients_per_round": 5},
        "ravdess": {"modalities": ("audio",), "labels": "ravdess8", "rounds": 40, "clients_per_round": 8},
        "crema_d": {"modalities": ("audio",), "labels": "cremad6"},
        "urdu": {"modalities": ("audio",), "labels": "urdu4"},
        "shemo": {"modalities": ("text",), "labels": "shemo6"},
        "fer2013": {"modalities": ("video",), "labels": "fer7", "partition": "dirichlet:0.5:100"},
        "ferplus": {"modalities": ("video",), "labels": "ferplus8", "partition": "dirichlet:0.5:100"},
        "affectnet": {"modalities": ("video",), "labels": "affectnet8", "partition": "dirichlet:0.5:100"},
        "mosi": {"modalities": ("text", "audio", "video"), "labels": "mosi2", "modality_dropout": 0.2},
    }
)

# What an algorithm needs whatever the corpus.
_STRATEGY: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"scaffold": {"optimizer": "sgd", "lr": 0.05, "weight_decay": 0.0}}
)

_ANY_CORPUS: Mapping[str, Any] = MappingProxyType({"modalities": ("text", "audio", "video"), "labels": "shared7"})


def run_defaults(dataset: str, strategy: str = "fedavg") -> dict[str, Any]:
    """Settings a run takes where the user gave none.

    Parameters
    ----------
    dataset : str
        Name of the corpus. One that is not listed, such as a user's own, gets general settings.
    strategy : str
        Some strategies only work with a certain optimiser.
    """
    return {**GENERAL, **_ANY_CORPUS, **CORPUS_DEFAULTS.get(dataset, {}), **_STRATEGY.get(strategy, {})}
