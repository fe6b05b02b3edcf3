"""Examples as one file that numpy opens, for the person whose they are."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.store.examples import Example, ExampleStore
from fedaffect.edge.system.files import write_chosen


def example_facts(example: Example) -> dict[str, Any]:
    """What is known of an example, as JSON values; no features."""
    return asdict(example) | {"encoder_keys": dict(example.encoder_keys)}


def export_examples(store: ExampleStore, target: Path) -> int:
    """Write all examples to an ``.npz`` that appears whole or not at all, for its owner only.

    It holds ``examples`` (JSON, one object an example, in order) and for each modality ``MODALITY.tokens``, float16
    of shape (S, W), and ``MODALITY.offsets``, int64 of shape (N + 1,): rows ``offsets[i]`` to ``offsets[i + 1]`` are
    example i's. Where encoders of several widths made a modality's features, ``MODALITY.W.tokens`` stand side by side.
    Media, where any are kept, are ``MODALITY.media.ID``, uint8.

    Parameters
    ----------
    store : ExampleStore
    target : Path

    Returns
    -------
    int
        How many examples.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    examples = store.examples()
    features = [store.features(example.id) for example in examples]
    arrays: dict[str, Any] = {"examples": np.array(json.dumps([example_facts(example) for example in examples]))}
    for modality in MODALITIES:
        widths = sorted({f[modality].shape[1] for f in features if modality in f})
        for width in widths:
            name = modality if len(widths) == 1 else f"{modality}.{width}"
            own = [f[modality] if modality in f and f[modality].shape[1] == width else None for f in features]
            lengths = [0 if values is None else len(values) for values in own]
            arrays[f"{name}.tokens"] = np.concatenate([values for values in own if values is not None])
            arrays[f"{name}.offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    for example in examples:
        if example.has_media:
            for modality, content in store.media(example.id).items():
                arrays[f"{modality}.media.{example.id}"] = np.frombuffer(content, np.uint8)
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    write_chosen(target, file.getvalue(), private=True)
    return len(examples)
