"""What each corpus is run with unless told otherwise: the settings that suit its size and layout."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fedaffect.edge.errors import ConfigError

# Holds for every corpus; a corpus's own line below overrides it.
GENERAL: Mapping[str, Any] = MappingProxyType(
    {
        "partition": "natural",
        "rounds": 30,
        "clients_per_round": 10,
        "local_epochs": 1,
        "batch_size": 16,
        "lr": 1e-3,
        "lr_schedule": "cosine",
        "optimizer": "adamw",
        "momentum": 0.0,
        "weight_decay": 0.01,
        "gradient_clip": 0.0,
        "loss": "cross-entropy",
        "modality_dropout": 0.1,
        "context": 0,
        "normalise": "none",
        "learned": "all",
        "eval_every": 1,
        "select_by": "uar",
    }
)

# Chosen on development splits; RESULTS.md has what they reach on test.
CORPUS_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "synthetic": {
            "modalities": ("text", "audio", "video"),
            "labels": "synthetic4",
            "rounds": 20,
            "clients_per_round": 8,
            "local_epochs": 2,
        },
        "dialogues": {"modalities": ("audio", "video"), "labels": "synthetic4", "modality_dropout": 0.0},
        "meld": {
            "modalities": ("text",),
            "labels": "meld7",
            "context": 6,
            "rounds": 40,
            "clients_per_round": 30,
            "lr": 5e-4,
            "eval_every": 2,
            "select_by": "weighted_f1",
        },
        "emorynlp": {
            "modalities": ("text",),
            "labels": "emorynlp7",
            "context": 6,
            "rounds": 40,
            "clients_per_round": 30,
            "lr": 5e-4,
            "eval_every": 2,
            "select_by": "weighted_f1",
        },
        "iemocap": {"modalities": ("text", "audio"), "labels": "iemocap4", "clients_per_round": 5},
        "ravdess": {
            "modalities": ("audio",),
            "labels": "ravdess8",
            "rounds": 30,
            "clients_per_round": 16,
            "local_epochs": 2,
            "eval_every": 2,
        },
        "ravdess_song": {"modalities": ("audio",), "labels": "song6"},
        "crema_d": {"modalities": ("audio",), "labels": "cremad6"},
        "urdu": {"modalities": ("audio",), "labels": "urdu4"},
        "shemo": {"modalities": ("text",), "labels": "shemo6"},
        "nemo": {"modalities": ("audio",), "labels": "nemo6"},
        "savee": {"modalities": ("audio",), "labels": "shared7"},
        "tess": {"modalities": ("audio",), "labels": "shared7"},
        "emovo": {"modalities": ("audio",), "labels": "shared7"},
        "enterface": {"modalities": ("audio", "video"), "labels": "enterface6"},
        "saudi": {"modalities": ("audio",), "labels": "shared4", "partition": "iid:5"},
        "fer2013": {"modalities": ("video",), "labels": "fer7", "partition": "dirichlet:0.5:100"},
        "ferplus": {
            "modalities": ("video",),
            "labels": "ferplus8",
            "partition": "dirichlet:0.5:100",
            "rounds": 60,
            "eval_every": 2,
            "select_by": "accuracy",
        },
        "affectnet": {"modalities": ("video",), "labels": "affectnet8", "partition": "dirichlet:0.5:100"},
        "mosaic": {"modalities": ("text", "audio", "video"), "labels": "shared7", "clients_per_round": 16},
        "meld_voiced": {
            "modalities": ("text", "audio"),
            "labels": "meld7",
            "rounds": 40,
            "clients_per_round": 30,
            "lr": 5e-4,
            "eval_every": 2,
            "select_by": "weighted_f1",
        },
        "emobank": {"modalities": ("text",), "labels": "polarity3"},
        "goemotions": {"modalities": ("text",), "labels": "shared7", "partition": "iid:20"},
        "xed": {"modalities": ("text",), "labels": "shared7", "partition": "iid:20"},
        "isear": {"modalities": ("text",), "labels": "shared7"},
        "dailydialog": {"modalities": ("text",), "labels": "shared7"},
        "folder": {},
        "mosi": {
            "modalities": ("text", "audio", "video"),
            "labels": "mosi2",
            "modality_dropout": 0.2,
            "rounds": 15,
            "select_by": "accuracy",
        },
    }
)

# What devices of a fleet hold; no corpus has that name.
OWN_EXAMPLES = "devices"
_OWN: Mapping[str, Any] = MappingProxyType(
    {"rounds": 5, "clients_per_round": 100, "local_epochs": 2, "lr": 5e-4, "learned": "adapters"}
)

# The bounds count epochs, not rounds, and one client holds all or each its own.
_MODE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "centralized": {"rounds": 12, "local_epochs": 1, "batch_size": 64},
        "local-only": {"rounds": 10, "local_epochs": 1},
        # Zhong, Shu and Zhao (arXiv 2601.14259, section 4.2).
        "fine-tuned": {
            "rounds": 80,
            "local_epochs": 1,
            "batch_size": 64,
            "lr": 1e-3,
            "lr_schedule": "linear",
            "optimizer": "adamw",
            "weight_decay": 0.01,
            "gradient_clip": 1.0,
            "context": 0,
            "normalise": "none",
            "eval_every": 1,
            "select_by": "weighted_f1",
            "patience": 5,
            "keep_checkpoints": "last",
        },
    }
)

# What an algorithm needs whatever the corpus.
_STRATEGY: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "scaffold": {"optimizer": "sgd", "lr": 0.05, "weight_decay": 0.0},
        # One for the head, one for the representation.
        "fedrep": {"local_epochs": 2},
    }
)

_ANY_CORPUS: Mapping[str, Any] = MappingProxyType({"modalities": ("text", "audio", "video"), "labels": "shared7"})


def run_defaults(dataset: str, strategy: str = "fedavg", mode: str = "federated") -> dict[str, Any]:
    """Settings a run takes where the user gave none.

    Parameters
    ----------
    dataset : str
        Name of the corpus. One from outside gets general settings, with the modalities and labels that it says.
    strategy : str
        Some strategies only work with a certain optimiser.
    mode : str
        ``federated``, ``centralized`` or ``local-only``.
    """
    if dataset == OWN_EXAMPLES:
        own: Mapping[str, Any] = _OWN
    else:
        own = CORPUS_DEFAULTS[dataset] if dataset in CORPUS_DEFAULTS else _outside(dataset)
    return {**GENERAL, **_ANY_CORPUS, **own, **_MODE.get(mode, {}), **_STRATEGY.get(strategy, {})}


def _outside(dataset: str) -> Mapping[str, Any]:
    """What a corpus from outside says of itself; nothing of one that is not there, whose run may still be read."""
    # Here, not above: settings of our own corpora need none of them imported.
    from fedaffect.client.corpora.registry import factory

    try:
        info = factory(dataset).info
    except ConfigError:
        return {}
    return {"modalities": info.modalities} | ({"labels": info.label_set} if info.label_set else {})
