"""What a device's user labelled and let be learned from, as a federation's cohort of one client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import LabelSet
from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.store import Example, ExampleStore

_CLIENT: Final = "device"
# Of the hash's 32 bits.
_HASH_RANGE: Final = 2**32


def local_cohort(
    store: ExampleStore,
    *,
    labels: LabelSet,
    encoder_keys: Mapping[str, str],
    widths: Mapping[str, int],
    dev_share: float = 0.2,
) -> Cohort:
    """What this device may learn from as a cohort of one client, in memory alone.

    No copy is ever on a disk, where it would outlive what the user forgets if this process is killed.

    Taken are examples with a label that the label set has a place for, the user's consent, and features of the very
    encoders that the fusion layer is fed by; features of other encoders are left out modality by modality. Whether an
    example is of the development split is read off a hash of its request id, so that it stays on its side when others
    come or go.

    Parameters
    ----------
    store : ExampleStore
    labels : LabelSet
        Of the bundle that the device runs.
    encoder_keys : mapping of str to str
        By modality, of that bundle.
    widths : mapping of str to int
        Of the features of those encoders.
    dev_share : float
        In [0, 1); about this share of the examples is not trained with.

    Raises
    ------
    DataError
        If there is nothing to train with, or examples of one class alone; or features have another width than their
        encoder's key promises.
    ConfigError
        If the share is none, or the modalities of keys and widths differ.
    """
    if not 0.0 <= dev_share < 1.0:
        raise ConfigError(f"the development share is {dev_share}; give a number from 0 up to, not including, 1")
    if not widths or set(widths) != set(encoder_keys) or not set(widths) <= set(MODALITIES):
        raise ConfigError(
            f"encoder keys {sorted(encoder_keys)} and widths {sorted(widths)} must name the same modalities"
        )
    chosen = [example for example in store.examples() if _usable(example, labels, encoder_keys)]
    held_out = np.array([_place(example.request_id) < dev_share for example in chosen], dtype=bool)
    if not chosen or held_out.all():
        raise DataError(
            f"{len(chosen)} of the device's examples can be learned from, which is too few; "
            "they need a label of the bundle's set, consent, and features of its encoders"
        )
    classes = np.array([labels.index(example.label or "") for example in chosen], dtype=np.int64)
    if len(shown := {labels.labels[place] for place in classes[~held_out]}) == 1:
        # It would learn to answer that whatever it hears.
        raise DataError(f"all examples to learn from are labelled {shown.pop()}; label some of another emotion too")
    tables, present = _tables(store, chosen, encoder_keys, widths)
    train = np.flatnonzero(~held_out).astype(np.int64)
    return Cohort(
        tables=tables,
        present=present,
        labels=classes,
        train_labels=classes.copy(),
        client_offsets=np.array([0, len(train)], dtype=np.int64),
        client_rows=train,
        # Nothing is set aside to be tested on: what a device reports of itself is its development split.
        splits={"dev": np.flatnonzero(held_out).astype(np.int64), "test": np.zeros(0, np.int64)},
        groups=np.zeros(len(chosen), np.int64),
        group_names=(_CLIENT,),
        client_names=(_CLIENT,),
        label_names=labels.labels,
        about={
            "dataset": "local",
            "label_set": labels.name,
            "encoder_keys": dict(encoder_keys),
            "dev_share": dev_share,
        },
    )


def left_out(examples: Iterable[Example], labels: LabelSet, encoder_keys: Mapping[str, str]) -> tuple[int, int]:
    """Of the labelled examples with consent: how many have a label without a place, and how many other encoders."""
    offered = [example for example in examples if example.label is not None and example.consent]
    placed = [example for example in offered if labels.index(str(example.label)) is not None]
    return len(offered) - len(placed), sum(not _usable(example, labels, encoder_keys) for example in placed)


def _usable(example: Example, labels: LabelSet, encoder_keys: Mapping[str, str]) -> bool:
    return (
        example.label is not None
        and example.consent
        and labels.index(example.label) is not None
        and any(example.encoder_keys.get(modality) == key for modality, key in encoder_keys.items())
    )


def _place(request_id: str) -> float:
    """Where an example falls in [0, 1); the same on every device and in every version."""
    return int.from_bytes(sha256(request_id.encode()).digest()[:4], "big") / _HASH_RANGE


def _tables(
    store: ExampleStore, chosen: list[Example], encoder_keys: Mapping[str, str], widths: Mapping[str, int]
) -> tuple[dict[str, TokenTable], dict[str, NDArray[np.bool_]]]:
    blocks: dict[str, list[NDArray[np.float16]]] = {modality: [] for modality in MODALITIES if modality in widths}
    for example in chosen:
        features = store.features(example.id)
        for modality, own in blocks.items():
            nothing = np.zeros((0, widths[modality]), np.float16)
            fits = example.encoder_keys.get(modality) == encoder_keys[modality]
            values = features[modality] if fits else nothing
            if values.shape[1] != widths[modality]:
                raise DataError(
                    f"example {example.id} has {modality} features of width {values.shape[1]}, not {widths[modality]}; "
                    f"forget it: fedaffect edge examples forget {example.id}"
                )
            own.append(values)
    tables, present = {}, {}
    for modality, own in blocks.items():
        lengths = np.array([len(values) for values in own], dtype=np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        tables[modality] = TokenTable(np.concatenate(own), offsets)
        present[modality] = lengths > 0
    return tables, present
