"""How answers to the windows of a long recording are best put together; one command measures and prints all of it.

    python -m benchmarks.long_media --data-dir DATA [--bundle FOLDER] [--actors 17,18,19,20]

Constructed: three clips of one actor and emotion of RAVDESS (``DATA/ravdess``) stand for the windows. Printed are the
mean recall over emotions, and the mean confidence beside the accuracy.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.offload.pooling import weighed
from fedaffect.edge.runtime.judging import Judgement, judge
from fedaffect.edge.runtime.opened import OpenBundle
from fedaffect.edge.sample import Sample

# The third part of RAVDESS's names; calm, 02, is none of the seven.
_EMOTIONS: Final = {
    "01": "neutral",
    "03": "joy",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
_WINDOWS: Final = 3

Shares = NDArray[np.float64]
Rule = Callable[[Shares, NDArray[np.float64]], Shares]


def _sum_of_logits(shares: Shares, weights: NDArray[np.float64]) -> Shares:
    powers = np.prod(np.maximum(shares, 1e-4), axis=0)
    return np.asarray(powers / powers.sum())


RULES: Final[dict[str, Rule]] = {
    "mean of logits, weighted by seconds of voice": lambda shares, weights: weighed(list(shares), list(weights)),
    "mean of logits": lambda shares, weights: weighed(list(shares), [1.0] * len(shares)),
    "sum of logits": _sum_of_logits,
    "mean of probabilities, weighted": lambda shares, weights: weights @ shares / weights.sum(),
    "mean of probabilities": lambda shares, weights: shares.mean(axis=0),
    "the surest window": lambda shares, weights: shares[int(shares.max(axis=1).argmax())],
    "the first window": lambda shares, weights: shares[0],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--actors", default="17,18,19,20")
    arguments = parser.parse_args()
    opened = OpenBundle(arguments.bundle)
    clips: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in sorted((arguments.data_dir / "ravdess").rglob("03-01-*.flac")):
        parts = path.stem.split("-")
        if parts[6] in arguments.actors.split(",") and parts[2] in _EMOTIONS:
            clips[parts[6], _EMOTIONS[parts[2]]].append(path)
    draw = random.Random(0)
    groups: list[tuple[str, list[Judgement]]] = []
    for (_, emotion), paths in clips.items():
        draw.shuffle(paths)
        made = [judge(Sample(audio=path), opened) for path in paths]
        groups += [(emotion, made[at : at + _WINDOWS]) for at in range(0, len(made) - _WINDOWS + 1, _WINDOWS)]
    print(f"{len(groups)} groups of {_WINDOWS} windows\n")
    print("| rule | mean recall | confidence | accuracy |\n|---|---|---|---|")
    for name, rule in RULES.items():
        print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in _figures(groups, rule, opened.labels)) + " |")


def _figures(groups: list[tuple[str, list[Judgement]]], rule: Rule, labels: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """Mean recall, mean confidence, accuracy."""
    right: dict[str, list[bool]] = defaultdict(list)
    sure = []
    for emotion, windows in groups:
        shares = np.stack([window.probabilities for window in windows])
        pooled = rule(shares, np.array([window.intake.evidence_s for window in windows]))
        right[emotion].append(labels[int(pooled.argmax())] == emotion)
        sure.append(pooled.max())
    recall = np.mean([np.mean(each) for each in right.values()])
    return recall, np.mean(sure), np.mean([one for each in right.values() for one in each])


if __name__ == "__main__":
    main()
