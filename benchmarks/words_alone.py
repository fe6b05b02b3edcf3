"""How far a bundle gets with words alone, on each corpus of words; one command measures and prints all of it.

    python -m benchmarks.words_alone --data-dir DATA [--bundle FOLDER]

Every line of the splits named is answered as a device answers it: by the bundle's encoder, its fusion and its
temperature. GoEmotions' votes count as the most voted emotion. ISEAR has no split, so all its lines are asked about;
what a bundle learned from stands in its card.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.corpora.registry import folder_of
from fedaffect.client.metrics import per_class
from fedaffect.edge.bundle import Bundle, usual_bundle_path
from fedaffect.edge.calibration.temperature import expected_calibration_error
from fedaffect.edge.runtime.opened import OpenBundle
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.models.alignment.answers import confusion, figures
from fedaffect.server.models.alignment.material import Material, read_material
from fedaffect.simulation.shared_emotions.sentences import SENTENCES

_ASKED: Final = (
    ("goemotions", "dev"),
    ("meld", "dev"),
    ("meld", "test"),
    ("emorynlp", "dev"),
    ("emorynlp", "test"),
    ("dailydialog", "test"),
    ("isear", ""),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    arguments = parser.parse_args()
    opened = OpenBundle(Bundle.load(arguments.bundle or usual_bundle_path()))
    encoder, names = opened.encoders["text"], opened.bundle.label_set.labels
    materials: dict[str, Material] = {}
    print(f"| corpus | split | lines | UAR of 7 | among its own | weighted F1 | ECE | {' | '.join(names)} |")
    print("|---|---|---:|---:|---:|---:|---:|" + "---:|" * len(names))
    for corpus, split in _ASKED:
        if corpus not in materials:
            folder = folder_of(corpus, arguments.data_dir)
            materials[corpus] = read_material(corpus, folder, [encoder], True, cache_folder())
        material = materials[corpus]
        rows = material.of_split(split) if split else np.flatnonzero(material.splits != "")
        print(_row(corpus, split or "all", _shares(opened, material, rows), material.labels[rows], names))
    recall = {emotion: _recall(opened, texts, names.index(emotion)) for emotion, texts in SENTENCES.items()}
    told = ", ".join(f"{emotion} {share:.2f}" for emotion, share in recall.items())
    print(f"constructed sentences, recall: {told}; mean {np.mean(list(recall.values())):.3f}")


def _shares(opened: OpenBundle, material: Material, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities of some lines, (N, C)."""
    table = material.tables[0]
    tokens = (table.tokens[table.offsets[row] : table.offsets[row + 1]].astype(np.float32) for row in rows)
    return np.stack([opened.answer({"text": values})[0] for values in tokens])


def _recall(opened: OpenBundle, texts: tuple[str, ...], label: int) -> float:
    encoder = opened.encoders["text"]
    made = encoder.encode([encoder.prepare(text) for text in texts])
    return float(np.mean([int(opened.answer({"text": values})[0].argmax()) == label for values in made]))


def _row(
    corpus: str, split: str, shares: NDArray[np.float64], labels: NDArray[np.int64], names: tuple[str, ...]
) -> str:
    scores = np.log(shares).astype(np.float32)
    occurring = np.unique(labels).tolist()
    found, among = figures(scores, labels), figures(scores, labels, occurring)
    each = per_class(confusion(scores, labels), names)
    recall = [f"{each[name]['recall']:.2f}" if place in occurring else "" for place, name in enumerate(names)]
    cells = [
        corpus,
        split,
        f"{len(labels):,}",
        f"{found['uar']:.3f}",
        f"{among['uar']:.3f} of {len(occurring)}",
        f"{found['weighted_f1']:.3f}",
        f"{expected_calibration_error(shares, labels):.3f}",
        *recall,
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
