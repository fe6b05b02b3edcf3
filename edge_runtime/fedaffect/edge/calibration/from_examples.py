"""Predictions from what this device keeps: features that were answered, and what the user said was true."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.bundle.population import centred
from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.encoders.vision import FACES
from fedaffect.edge.errors import DataError
from fedaffect.edge.store import ExampleStore
from fedaffect.edge.subsets import subset_key

_NOTHING: Final[Mapping[str, NDArray[np.float32]]] = MappingProxyType({})


def predictions_of_examples(
    store: ExampleStore,
    bundle: Bundle,
    *,
    newer_than: int = 0,
    most: int | None = None,
    offsets: Mapping[str, NDArray[np.float32]] = _NOTHING,
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
    offsets : mapping of str to float32 array, shape (W,)
        Taken off the features, by modality.

    Raises
    ------
    BundleError
        If the bundle has no fusion.
    DataError
        If no example is left.
    """
    labels, fusion = bundle.label_set, bundle.fusion()
    keys = {modality: keys_of_encoder(bundle, modality) for modality in fusion.widths}
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
            logits.append(fusion(centred(tokens, offsets)).astype(np.float64))
            classes.append(place)
            subsets.append(subset_key(tokens))
    if not logits:
        raise DataError(
            "no example of this device can be used: it needs a label, consent, and features of this bundle's encoders; "
            "see fedaffect edge examples list, or give --predictions FILE"
        )
    return Predictions(np.stack(logits), np.asarray(classes, np.int64), tuple(subsets))


def keys_of_encoder(bundle: Bundle, modality: str) -> frozenset[str]:
    """Keys that this bundle's encoder of a modality may have had, however it was opened."""
    return _keys(bundle.path, bundle.version, modality)


@lru_cache(maxsize=16)
def _keys(path: Path, version: str, modality: str) -> frozenset[str]:
    # A key is that of the precision that is fastest here, so that networks are opened for it; once a bundle.
    bundle = Bundle.load(path, verify=False, trust=None)
    if modality == "video":
        return frozenset(bundle.encoder(modality, faces=faces).key for faces in FACES)
    return frozenset({bundle.encoder(modality).key})
