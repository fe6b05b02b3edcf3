"""Run folders as a finished run leaves them, made of given answers: no training needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.metrics import per_class, spread, summarise
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

LABELS = ("anger", "joy", "neutral", "sadness")


def recorded_run(
    out: Path,
    name: str,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    *,
    owners: int = 12,
    **settings: object,
) -> Path:
    """A run of four classes whose test samples belong to ``owners`` people in turn."""
    config = RunSettings.of(out=out, name=name, **settings)
    folder = RunFolder.create(config)
    groups = np.arange(len(labels)) % owners
    confusions = {f"speaker {g}": _confusion(labels[groups == g], predicted[groups == g]) for g in range(owners)}
    confusion = _confusion(labels, predicted)
    for number in range(1, 5):
        dev = {"uar": 0.3 + 0.1 * min(number, 3), "accuracy": 0.5, "loss": 1.0 / number}
        folder.append_metrics({"round": number, "clients": 8, "failures": 0, "train_loss": 2.0 / number, "dev": dev})
    folder.write_predictions(
        {
            "rows": np.arange(len(labels)),
            "labels": labels,
            "predictions": predicted,
            "groups": groups,
            "group_names": np.array([f"speaker {g}" for g in range(owners)]),
            "label_names": np.array(LABELS),
        }
    )
    folder.write_summary(
        {
            **{key: config[key] for key in ("dataset", "labels", "partition", "model", "strategy", "mode", "seed")},
            "label_names": list(LABELS),
            "modalities": list(config.data.modalities),
            "clients": 20,
            "rounds": 4,
            "test": {
                **summarise(confusion),
                "loss": 0.5,
                "confusion": confusion.tolist(),
                "per_class": per_class(confusion, LABELS),
                "owners": spread(confusions),
            },
            "best_round": 3,
            "best_round_rule": "highest uar on the development split",
            "client_updates_per_second": 12.5,
        }
    )
    return folder.path


def answers(samples: int, right: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True classes, the same for every call of one size, and answers of which a share is right."""
    labels = np.random.default_rng(0).integers(0, len(LABELS), samples)
    generator = np.random.default_rng([seed, 1])
    return labels, np.where(generator.random(samples) < right, labels, (labels + 1) % len(LABELS))


def _confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    classes = len(LABELS)
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
