"""What a device learns from: its own example store, or, on the server's machine, a partition of a cohort."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from flwr.app import Context

from fedaffect.client.cohort import Cohort
from fedaffect.client.device.errors import MisfitError
from fedaffect.client.device.folder import DeviceSettings
from fedaffect.client.flower_messages import CohortPartition, TrainingData
from fedaffect.client.local_examples import local_cohort
from fedaffect.client.task import ClientTask
from fedaffect.client.wire import ENCODERS, LABELS, LAYOUT, task_key
from fedaffect.edge.bundle import Bundle, BundleStore, usual_bundle_path
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import LabelSet
from fedaffect.edge.store import Database, ExampleStore

logger = logging.getLogger(__name__)


class OwnExamples:
    """A device's examples as a cohort of one client.

    Parameters
    ----------
    cohort : Cohort, optional
        None where there is nothing to learn from.
    labels : LabelSet
        What the device's bundle predicts.
    encoder_keys : mapping of str to str
        Of the device's bundle, by modality.
    """

    def __init__(self, cohort: Cohort | None, labels: LabelSet, encoder_keys: Mapping[str, str]) -> None:
        self._cohort = cohort
        self._labels = labels
        self._encoder_keys = encoder_keys

    def opened(self, config: Mapping[str, Any], context: Context) -> tuple[ClientTask, int]:
        """A task over the device's examples; its only client.

        Raises
        ------
        MisfitError
            If the server predicts other labels than the device's bundle (two that are as many would be taken for each
            other), learns on features of other encoders, or has a model of another shape.
        DataError
            If there is nothing to learn from, which a secure sum that began with examples may come to.
        """
        asked = str(config.get(LABELS, ""))
        if asked != self._labels.name:
            raise MisfitError(
                f"the round learns label set {asked or 'of no name'!r} and this device's bundle predicts "
                f"{self._labels.name!r}; have the fleet roll out a bundle of that label set"
            )
        self._require_encoders(json.loads(str(config.get(ENCODERS, "{}"))))
        if self._cohort is None:
            raise DataError("none of the device's examples can be learned from; label some: fedaffect edge feedback")
        torch.set_num_threads(1)
        # Never the folder that the message names: it is the server's.
        _, model, options = task_key(config)
        task = ClientTask(self._cohort, model, json.loads(options))
        if (layout := config.get(LAYOUT)) is not None and layout != task.layout.digest():
            raise MisfitError(
                "the round's model has other shapes than this device's examples make; run the fleet without --dataset"
            )
        return task, 0

    def _require_encoders(self, known: Mapping[str, Any]) -> None:
        for modality, key in self._encoder_keys.items():
            if known and key not in known.get(modality, ()):
                raise MisfitError(
                    f"the round learns on other {modality} encoders than those of this device's bundle; "
                    "have the fleet roll out its bundle first"
                )


def training_data_of(settings: DeviceSettings) -> tuple[TrainingData, int | None]:
    """What a device learns from now, and how many examples that are; None where the server's cohort says it.

    Raises
    ------
    BundleError
        If the device has no bundle with a fusion, or it is damaged.
    """
    if settings.partition >= 0:
        return CohortPartition(), None
    bundle = installed_bundle(settings.profile)
    labels = cast(LabelSet, bundle.manifest.label_set)
    fusion = bundle.manifest.fusion
    if fusion is None or labels is None:
        raise ConfigError("this device's bundle has encoders only and predicts nothing; have the fleet roll out one")
    widths = dict(fusion.widths)
    keys = _keys(bundle.path, bundle.version, tuple(sorted(widths)))
    with Database(Path(settings.store) if settings.store else None) as database:
        store = ExampleStore(database)
        store.retain()
        try:
            cohort = local_cohort(store, labels=labels, encoder_keys=keys, widths=widths)
        except DataError as error:
            logger.info("%s", error)
            return OwnExamples(None, labels, keys), 0
        return OwnExamples(cohort, labels, keys), len(cohort.labels)


@lru_cache(maxsize=2)
def _keys(path: Path, version: str, modalities: tuple[str, ...]) -> Mapping[str, str]:
    # A key is that of the precision that is fastest here, so the encoders are opened once for each bundle.
    bundle = Bundle.load(path, verify=False, trust=None)
    return {modality: bundle.encoder(modality).key for modality in modalities}


def installed_bundle(profile: str) -> Bundle:
    """The bundle that a device runs."""
    return BundleStore.default(profile).current() or Bundle.load(usual_bundle_path(profile))
