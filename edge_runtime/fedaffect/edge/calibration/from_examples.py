"""Predictions from what this device keeps: features that were answered, and what the user said was true."""

from __future__ import annotations

import numpy as np

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.encoders.vision import FACES
from fedaffect.edge.errors import DataError
from fedaffect.edge.store import ExampleStore
from fedaffect.edge.subsets import subset_key


def predictions_of_examples(
    store: ExampleStore, bundle: Bundle, *, newer_than: int = 0, most: int | None = None
) -> Predictions:
    """Score the examples that the user labelled and lets be learned from.

    Features of another encoder than the bundle's are left out, as are labels that the bundle does not know. What the
    cloud answered is not kept, so there are no ``cloud_logits``.

    Parameters
    ----------
    store : ExampleStore
        This device's.
    bundle : Bundle
        With a fusion.
    newer_than : int
        Only examples with ids above it.
    most : int, optional
        Only so many, the newest.

    Raises
    ------
    BundleError
        If the bundle has no fusion.
    DataError
        If no example is left.
    """
    labels, fusion = bundle.label_set, bundle.fusion()
    keys = {modality: _keys(bundle, modality) for modality in fusion.widths}
    logits, classes, subsets = [], [], []
    learnable = [e for e in store.examples() if e.label and e.consent and e.id > newer_than]
    for example in learnable[-most:] if most else learnable:
        place = labels.index(str(example.label))
        fitting = [m for m, key in example.encoder_keys.items() if key in keys.get(m, ())]
        if place is None or not fitting:
            continue
        features = store.features(example.id)
        tokens = {m: features[m].astype(np.float32) for m in fitting if len(features[m])}
        if tokens:
            logits.append(fusion(tokens).astype(np.float64))
            classes.append(place)
            subsets.append(subset_key(tokens))
    if not logits:
        raise DataError(
            "no example of this device can be used: it needs a label, consent, and features of this bundle's encoders; "
            "see fedaffect edge examples list, or give --predictions FILE"
        )
    return Predictions(np.stack(logits), np.asarray(classes, np.int64), tuple(subsets))


def _keys(bundle: Bundle, modality: str) -> set[str]:
    """Keys that this bundle's encoder of a modality may have had, however it was opened."""
    if modality == "video":
        return {bundle.encoder(modality, faces=faces).key for faces in FACES}
    return {bundle.encoder(modality).key}
