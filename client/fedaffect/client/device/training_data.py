"""What a device learns from: its own example store, or, on the server's machine, a partition of a cohort."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

from flwr.app import Context

from fedaffect.client.cohort import Cohort
from fedaffect.client.device.engine import ONNX, WITH_TORCH, engine_of
from fedaffect.client.device.errors import MisfitError
from fedaffect.client.device.folder import DeviceSettings
from fedaffect.client.flower_messages import CohortPartition, TrainingData
from fedaffect.client.local_examples import local_cohort
from fedaffect.client.local_task import LocalTask
from fedaffect.client.onnx_engine.graph import StepGraph
from fedaffect.client.onnx_engine.task import ALGORITHMS, OnnxTask
from fedaffect.client.privacy.accounting import PRV
from fedaffect.client.privacy.settings import PREFIX
from fedaffect.client.wire import ALGORITHM, ENCODERS, LABELS, LAYOUT, task_key
from fedaffect.edge.bundle import Bundle, BundleStore, usual_bundle_path
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import LabelSet
from fedaffect.edge.store import Database, ExampleStore

logger = logging.getLogger(__name__)

_ACCOUNTANT: Final = f"{PREFIX}accountant"


@dataclass(frozen=True, slots=True)
class Learner:
    """What makes a task of a device's examples.

    Parameters
    ----------
    engine : {"torch", "onnx"}
    step : Path, optional
        The bundle's training step; None where it carries none.
    """

    engine: str
    step: Path | None

    @property
    def problem(self) -> str | None:
        """Why nothing at all can be learned; None where something can."""
        if self.engine == ONNX and self.step is None:
            return (
                "this bundle carries no training step, and this device learns without torch; have the fleet roll out "
                f"a newer one, or: {WITH_TORCH}"
            )
        return None

    def task(self, cohort: Cohort, config: Mapping[str, Any]) -> LocalTask:
        """The task of a message's config.

        Raises
        ------
        MisfitError
            If the message asks for what only torch learns, and the engine is not torch.
        """
        # Never the folder that the message names: it is the server's.
        _, model, options = task_key(config)
        if self.engine != ONNX:
            import torch

            from fedaffect.client.task import ClientTask

            torch.set_num_threads(1)
            return ClientTask(cohort, model, json.loads(options))
        if self.step is None:
            raise MisfitError(str(self.problem))
        step = _step(self.step, self.step.stat().st_mtime_ns)
        if (model, json.loads(options)) != (step.about.model, step.about.options):
            raise MisfitError(
                "the round learns another model than the training step of this device's bundle; have the fleet roll "
                f"out its bundle, or: {WITH_TORCH}"
            )
        asked = str(config.get(ALGORITHM, "") or ALGORITHMS[0])
        if asked not in ALGORITHMS:
            raise MisfitError(f"{asked} is learned with torch alone, and this device learns without: {WITH_TORCH}")
        if config.get(_ACCOUNTANT) == PRV:
            raise MisfitError(f"--accountant prv needs Opacus; run the fleet with rdp, or: {WITH_TORCH}")
        return OnnxTask(cohort, step)


def learner_of(settings: DeviceSettings, bundle: Bundle) -> Learner:
    """What a device learns with, by its settings and its bundle."""
    fusion = bundle.manifest.fusion
    step = None if fusion is None or fusion.step is None else bundle.path / fusion.step.file
    return Learner(engine_of(settings.engine), step)


@lru_cache(maxsize=1)
def _step(path: Path, written: int) -> StepGraph:
    # Opening a graph takes longer than a step of it.
    return StepGraph.load(path)


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
    learner : Learner
    lacking : str
        Why there is nothing to learn from.
    """

    def __init__(
        self,
        cohort: Cohort | None,
        labels: LabelSet,
        encoder_keys: Mapping[str, str],
        learner: Learner,
        lacking: str = "",
    ) -> None:
        self.learner = learner
        self.lacking = lacking
        self._cohort = cohort
        self.labels = labels
        self.encoder_keys = encoder_keys

    def opened(self, config: Mapping[str, Any], context: Context) -> tuple[LocalTask, int]:
        """A task over the device's examples; its only client.

        Raises
        ------
        MisfitError
            If the server predicts other labels than the device's bundle (two that are as many would be taken for each
            other), learns on features of other encoders, or has a model of another shape; or if only torch learns it,
            which this device lacks.
        DataError
            If there is nothing to learn from, which a secure sum that began with examples may come to.
        """
        asked = str(config.get(LABELS, ""))
        if asked != self.labels.name:
            raise MisfitError(
                f"the round learns label set {asked or 'of no name'!r} and this device's bundle predicts "
                f"{self.labels.name!r}; have the fleet roll out a bundle of that label set"
            )
        self._require_encoders(json.loads(str(config.get(ENCODERS, "{}"))))
        if self._cohort is None:
            raise DataError(self.lacking)
        task = self.learner.task(self._cohort, config)
        if (layout := config.get(LAYOUT)) is not None and layout != task.layout.digest():
            raise MisfitError(
                "the round's model has other shapes than this device's examples make; run the fleet without --dataset"
            )
        return task, 0

    def _require_encoders(self, known: Mapping[str, Any]) -> None:
        for modality, key in self.encoder_keys.items():
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
        if engine_of(settings.engine) == ONNX:
            raise MisfitError(f"a partition of the server's cohort is learned with torch alone: {WITH_TORCH}")
        return CohortPartition(), None
    bundle = installed_bundle(settings.profile)
    labels = cast(LabelSet, bundle.manifest.label_set)
    fusion = bundle.manifest.fusion
    if fusion is None or labels is None:
        raise ConfigError("this device's bundle has encoders only and predicts nothing; have the fleet roll out one")
    widths = dict(fusion.widths)
    learner = learner_of(settings, bundle)
    keys = _keys(bundle.path, bundle.version, tuple(sorted(widths)))
    with Database(Path(settings.store) if settings.store else None) as database:
        store = ExampleStore(database)
        store.retain()
        try:
            cohort = local_cohort(store, labels=labels, encoder_keys=keys, widths=widths)
        except DataError as error:
            logger.info("%s", error)
            return OwnExamples(None, labels, keys, learner, str(error)), 0
        return OwnExamples(cohort, labels, keys, learner), len(cohort.labels)


@lru_cache(maxsize=2)
def _keys(path: Path, version: str, modalities: tuple[str, ...]) -> Mapping[str, str]:
    # A key is that of the precision that is fastest here, which may have to be measured.
    bundle = Bundle.load(path, verify=False, trust=None)
    return {modality: bundle.encoder_key(modality) for modality in modalities}


def installed_bundle(profile: str) -> Bundle:
    """The bundle that a device runs."""
    return BundleStore.default(profile).current() or Bundle.load(usual_bundle_path(profile))
